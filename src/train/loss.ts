/** Losses and the stop-gradient that objectives and evaluation share. */
import type { Tensor, Tf } from '../energy/tfjs/backend.js'
import { fused } from '../energy/tfjs/fused.js'
import type { Network } from '../energy/tfjs/network.js'
import type { Inputs } from './objectives/objective.js'

/**
 * Mean cross-entropy, in nats, of logits [B, N, V] at `targets` [B, N], weighted by `weights` [B, N]
 * over `count` positions. The gradient, (softmax - onehot) weights / count, is given in closed form.
 */
export function crossEntropy(
  tf: Tf,
  logits: Tensor,
  targets: Tensor,
  weights: Tensor,
  count: number,
): Tensor {
  const vocab = logits.shape[2] as number
  const known = fused(tf, 'BasinCrossEntropy', { logits, targets })
  if (known) return tf.div(tf.neg(tf.sum(tf.mul(known, weights))), count)
  const op = tf.customGrad((...args) => {
    const [z, save] = args as unknown as [Tensor, (tensors: Tensor[]) => void]
    const logProbs = tf.logSoftmax(z)
    save([logProbs])
    const picked = tf.sum(tf.mul(logProbs, tf.oneHot(targets, vocab)), 2)
    const value = tf.div(tf.neg(tf.sum(tf.mul(picked, weights))), count)
    const gradFunc = (dy: Tensor, saved: Tensor[]): Tensor => {
      const scale = tf.expandDims(tf.mul(weights, tf.div(dy, count)), 2)
      return tf.mul(tf.sub(tf.exp(saved[0] as Tensor), tf.oneHot(targets, vocab)), scale)
    }
    return { value, gradFunc }
  })
  return op(logits)
}

/** Runs `compute` without recording it on the gradient tape; its result is a constant for gradients. */
export function withoutGradient(tf: Tf, compute: () => Tensor): Tensor {
  const op = tf.customGrad(() => ({ value: compute(), gradFunc: () => tf.scalar(0) }))
  return op(tf.scalar(0))
}

/** The cross-entropy of every answer in nats, summed over its moving positions, [B, M]. */
export function answerNats({ tf, config }: Network, inputs: Inputs, logits: Tensor): Tensor {
  const { rows, answers } = inputs.batch
  const { targets } = inputs
  const picked =
    fused(tf, 'BasinCrossEntropy', { logits, targets }) ??
    tf.sum(tf.mul(tf.logSoftmax(logits), tf.oneHot(targets, config.vocab_size)), 2)
  const byPosition = tf.mul(picked, inputs.weights)
  return tf.neg(tf.sum(tf.reshape(byPosition, [rows, answers, config.answer.block]), 2))
}
