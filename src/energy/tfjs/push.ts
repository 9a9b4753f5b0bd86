/**
 * What rows add to the energy, as gradients by the state. The chain rule from the read-out to the state:
 * docs/mathematics.md, "Composed energies". Shapes: B rows, K positions, W = V or D.
 */
import { stateWidth } from '../../model/config.js'
import type { DescendRow } from '../engine.js'
import { isPushed } from '../row-checks.js'
import type { Tensor } from './backend.js'
import { constant } from './numbers.js'
import type { Network } from './network.js'
import type { Slot } from './slots.js'

/** [B, K, W], zero at clamped positions and for rows without a push; null where no row has one. */
export function pushOf(
  network: Network,
  rows: readonly DescendRow[],
  slots: readonly Slot[],
): Tensor | null {
  const { config, tf } = network
  if (!rows.some(isPushed)) return null
  const { block } = config.answer
  const all = rows.map(({ push }, i) => {
    const slot = slots[i] as Slot
    const parts: Tensor[] = []
    if (push?.logits) {
      const logits = tf.tensor3d(push.logits.slice(), [1, block, config.vocab_size])
      parts.push(byLogits(network, logits))
    }
    if (push?.points) {
      const points = tf.tensor3d(push.points.slice(), [1, block, config.dim])
      parts.push(byPoints(network, points, slot))
    }
    const none = tf.zeros([1, block, stateWidth(config)])
    const sum = parts.reduce((total, part) => tf.add(total, part), none)
    const moving = Float32Array.from({ length: block }, (_, k) =>
      (slot.clamped?.[k] ?? -1) < 0 ? 1 : 0,
    )
    return tf.mul(sum, tf.tensor3d(moving, [1, block, 1]))
  })
  return tf.concat(all)
}

/** The state of vocab space is the logits; in latent space they are y U^T. */
function byLogits(network: Network, logits: Tensor): Tensor {
  const { config, tf } = network
  if (config.answer.space === 'vocab') return logits
  const flat = tf.reshape(logits, [config.answer.block, config.vocab_size])
  return tf.expandDims(tf.matMul(flat, network.weight('answer.readout.weight')), 0)
}

/** The points of latent space are the state; in vocab space they are the expected embeddings W softmax(z). */
function byPoints(network: Network, points: Tensor, { state }: Slot): Tensor {
  const { config, tf } = network
  if (config.answer.space === 'latent') return points
  const along = (z: Tensor): Tensor =>
    tf.sum(tf.mul(network.vocabInput(constant(tf.softmax(z))).value, points))
  return tf.grad(along)(state)
}

/** One row for each token, [tokens, D]. */
export function vectorsOf(network: Network, tokens: readonly number[]): Tensor {
  const { config, tf } = network
  const ids = tf.tensor1d([...tokens], 'int32')
  if (config.answer.space === 'latent')
    return tf.gather(network.weight('answer.readout.weight'), ids)
  if (config.answer.embed === 'embeddings')
    return tf.gather(network.weight('embeddings.weight'), ids)
  return tf.transpose(tf.gather(network.weight('vocab_to_embed.weight'), ids, 1))
}
