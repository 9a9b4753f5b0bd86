/**
 * Noise at the starting points of `equilibrium`, row by row: of a deviation of its own, or none, and
 * leaning towards the truth.
 *
 *     y_0 <- y_0 + sigma (n + s u),   n ~ N(0, 1),   sigma ~ U(least, most) or 0,   s ~ U(0, lean)
 *
 * where u [N, D] is, for each position, the unit vector along R_t - mean_v R_v, the direction in which
 * the read-out R tells the true token t from the others. Where the context leaves several answers
 * possible, cross-entropy from a start that knows nothing is least at their mean. A start that leans is
 * what one would get by taking, of exp(N s^2 / 2) starts or so, the one nearest to the truth: from it the
 * way the state leans is evidence, and what is learned is to follow it. At inference s is 0, and noise
 * alone decides which of the answers a descent tries.
 */
import type { Tensor } from '../../energy/tfjs/backend.js'
import type { Network } from '../../energy/tfjs/network.js'
import type { Draw, Inputs } from './objective.js'
import { noiseFor } from './start.js'

export interface StartNoise {
  /** Largest standard deviation; every row has it where `least` is absent. */
  noise: number
  /** Smallest: each row draws its own between the two. */
  leastNoise?: number
  /** Share of rows that start without noise. */
  still?: number
  /** Largest lean, in deviations. */
  lean?: number
}

/** [B, N, D] */
export function startNoise(
  network: Network,
  inputs: Inputs,
  options: StartNoise,
  draw: Draw,
): Tensor {
  const { noise: most, leastNoise: least = most, still = 0, lean = 0 } = options
  if (least === most && still === 0 && lean === 0) return noiseFor(network, inputs, most, draw)
  const { tf } = network
  const rows = inputs.targets.shape[0]
  const byRow = (of: () => number): Tensor =>
    tf.tensor3d(Array.from({ length: rows }, of), [rows, 1, 1])
  const deviations = byRow(() => {
    const none = draw() < still
    const deviation = least + (most - least) * draw()
    return none ? 0 : deviation
  })
  const unit = noiseFor(network, inputs, 1, draw)
  if (lean === 0) return tf.mul(unit, deviations)
  const leaning = tf.mul(
    towards(network, inputs.targets),
    byRow(() => lean * draw()),
  )
  return tf.mul(tf.add(unit, leaning), deviations)
}

/** u, the unit vectors in which the read-out tells `tokens` [B, N] from the other ones: [B, N, D]. */
export function towards(network: Network, tokens: Tensor): Tensor {
  const { tf } = network
  const readout = network.weight('answer.readout.weight')
  const apart = tf.sub(readout, tf.mean(readout, 0, true))
  return tf.gather(tf.div(apart, tf.norm(apart, 'euclidean', 1, true)), tokens)
}
