/** Which rows of a batch are solved, and a loss that leaves out those of most loss. */
import type { Tensor } from '../../energy/tfjs/backend.js'
import type { Network } from '../../energy/tfjs/network.js'
import { scoped } from '../loss.js'
import type { Inputs } from './objective.js'

/** [B]: 1 where every moving position of a row reads as it should in `answer` [B, N, D]. */
export function solvedRows(network: Network, inputs: Inputs, answer: Tensor): ArrayLike<number> {
  const { tf } = network
  return tf.tidy(() => {
    const missed = tf.notEqual(tf.argMax(network.readout(answer), 2), inputs.targets)
    const counts = tf.sum(tf.mul(tf.cast(missed, 'float32'), inputs.weights), 1)
    return tf.cast(tf.equal(counts, 0), 'float32').dataSync()
  })
}

/**
 * The mean over steps and moving positions of nats given by answer [B, M], without the share `trim` of
 * rows that have most a position. Boards that are beyond a network teach it to rest undecided, and that
 * is what it does with others then: what is left out are those.
 */
export function trimmedLoss(
  { tf }: Network,
  inputs: Inputs,
  byAnswer: readonly Tensor[],
  trim: number,
): Tensor {
  const byRow = tf.sum(tf.div(tf.addN([...byAnswer]), byAnswer.length), 1)
  const kept = scoped(tf, () => {
    const counts = tf.sum(inputs.weights, 1).dataSync()
    const nats = byRow.dataSync()
    const each = Array.from(counts, (count, row) => (nats[row] as number) / Math.max(count, 1))
    const order = each
      .map((_, row) => row)
      .sort((a, b) => (each[a] as number) - (each[b] as number))
    const mask = new Float32Array(each.length)
    for (const row of order.slice(0, each.length - Math.floor(each.length * trim))) mask[row] = 1
    return { mask, count: mask.reduce((sum, keep, row) => sum + keep * (counts[row] as number), 0) }
  })
  return tf.div(tf.sum(tf.mul(byRow, tf.tensor1d(kept.mask))), Math.max(kept.count, 1))
}
