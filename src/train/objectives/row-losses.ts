/** Which rows of a batch are solved, and a loss that leaves out those of most loss. */
import type { Tensor, Tf } from '../../energy/tfjs/backend.js'
import type { Network } from '../../energy/tfjs/network.js'
import { withoutGradient } from '../loss.js'
import type { Inputs } from './objective.js'

/** [B]: 1 where every moving position of a row reads as it should in `answer` [B, N, D]. */
export function solvedRows(network: Network, inputs: Inputs, answer: Tensor): Tensor {
  const { tf } = network
  return tf.tidy(() => {
    const missed = tf.notEqual(tf.argMax(network.readout(answer), 2), inputs.targets)
    const counts = tf.sum(tf.mul(tf.cast(missed, 'float32'), inputs.weights), 1)
    return tf.cast(tf.equal(counts, 0), 'float32')
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
  const counts = tf.sum(inputs.weights, 1)
  const { rows } = inputs.batch
  const kept = withoutGradient(tf, () => {
    const rank = ranks(tf, tf.div(byRow, tf.maximum(counts, 1)))
    return tf.cast(tf.less(rank, rows - Math.floor(rows * trim)), 'float32')
  })
  const count = tf.maximum(tf.sum(tf.mul(kept, counts)), 1)
  return tf.div(tf.sum(tf.mul(byRow, kept)), count)
}

/** The place of each of x [B] in rising order, from 0; of equal ones the first comes first. */
function ranks(tf: Tf, x: Tensor): Tensor {
  const n = x.size
  const [own, other] = [tf.reshape(x, [n, 1]), tf.reshape(x, [1, n])]
  const places = tf.range(0, n)
  const flag = (condition: Tensor): Tensor => tf.cast(condition, 'float32')
  const earlier = flag(tf.less(tf.reshape(places, [1, n]), tf.reshape(places, [n, 1])))
  const lower = flag(tf.less(other, own))
  const equal = tf.mul(flag(tf.equal(other, own)), earlier)
  return tf.sum(tf.add(lower, equal), 1)
}
