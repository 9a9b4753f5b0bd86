/**
 * How the states of `equilibrium` move to and between the steps with a loss: where they start, what a step
 * makes of them, and which of several descents is gone on from. Nothing here is differentiated but a step.
 */
import type { Tensor } from '../../energy/tfjs/backend.js'
import type { Landscape } from '../../energy/tfjs/landscape.js'
import { constant } from '../../energy/tfjs/numbers.js'
import type { Network } from '../../energy/tfjs/network.js'
import { draftsFromContext } from '../../model/config.js'
import { answerNats } from '../loss.js'
import { landscapesOf, startOf, type Draw, type Inputs } from './objective.js'
import { noiseFor, seedFrom, type Replayed } from './start.js'
import { startNoise, type StartNoise } from './start-noise.js'

export interface PathOptions extends StartNoise {
  /** Steps with a loss, after those without. */
  lossSteps: number
  /** Kept of the state in every step: y <- F + damping (y - F). */
  damping?: number
  /** Standard deviation of noise added in every step. */
  pathNoise?: number
  /** M: of so many descents to the first loss, each row goes on from the one nearest to its truth. */
  bestOf?: number
}

/** The state after a step from `y`, where the network's opinion is `opinion`. */
export type Follow = (y: Tensor, opinion: Tensor, step: number) => Tensor

/**
 * F, or with a damped step and noise F + damping (y - F) + sigma n. The noise of an update is drawn once
 * and moved on by a row and a position each step, so that no row meets the same numbers again.
 */
export function stepper(
  network: Network,
  inputs: Inputs,
  { damping = 0, pathNoise = 0 }: PathOptions,
  draw: Draw,
): Follow {
  const { tf } = network
  const noise = pathNoise > 0 ? noiseFor(network, inputs, pathNoise, draw) : undefined
  return (y, opinion, step) => {
    const damped = damping > 0 ? tf.add(opinion, tf.mul(tf.sub(y, opinion), damping)) : opinion
    return noise ? tf.add(damped, moved(tf, noise, step)) : damped
  }
}

/** Rows and positions of a tensor [B, N, W] moved on by `places`. */
function moved(tf: Network['tf'], t: Tensor, places: number): Tensor {
  return [0, 1].reduce((whole, axis) => {
    const size = whole.shape[axis] as number
    const at = places % size
    if (at === 0) return whole
    const parts = tf.split(whole, [at, size - at], axis)
    return tf.concat([parts[1] as Tensor, parts[0] as Tensor], axis)
  }, t)
}

/** What a walk without gradient needs besides the batch. */
export interface Walk {
  landscapeAt: (step: number) => Landscape
  follow: Follow
  /** Steps to take. */
  first: number
  draw: Draw
}

/** The state after `first` steps from a starting point along the amortized direction. */
export function walk(
  network: Network,
  replayed: Replayed,
  options: PathOptions,
  { landscapeAt, follow, first, draw }: Walk,
): Tensor {
  const { tf } = network
  let y = startingPoint(network, replayed, landscapeAt(0), options, draw)
  for (let step = 0; step < first; step++)
    y = tf.tidy(() => follow(y, landscapeAt(step).opinion(constant(y)).value, step))
  return y
}

/** Row by row, of `bestOf` walks, the state from which F says most of the truth. */
export function bestArrival(
  network: Network,
  replayed: Replayed,
  options: PathOptions,
  on: Walk,
): Tensor {
  const { tf } = network
  const { inputs } = replayed
  // The context is observed here, outside of the tidies below, which would free it.
  on.landscapeAt(0)
  let best: Tensor | undefined
  let least: Tensor | undefined
  for (let m = 0; m < (options.bestOf ?? 1); m++) {
    const [state, nats] = tf.tidy<[Tensor, Tensor]>(() => {
      const y = walk(network, replayed, options, on)
      const opinion = on.landscapeAt(on.first).opinion(constant(y)).value
      return [y, tf.sum(answerNats(network, inputs, network.readout(opinion)), 1)]
    })
    const nearer = least ? tf.less(nats, least) : undefined
    best = nearer && best ? tf.where(tf.reshape(nearer, [-1, 1, 1]), state, best) : state
    least = nearer && least ? tf.where(nearer, nats, least) : nats
  }
  return best as Tensor
}

/** The states before each step with a loss, and the one after the last, on the exact direction. */
export function trajectory(
  network: Network,
  replayed: Replayed,
  options: PathOptions,
  first: number,
  draw: Draw,
): Tensor[] {
  const { tf } = network
  const landscapeAt = landscapesOf(network, replayed.inputs)
  const alpha = network.weight('alpha')
  const states = [startingPoint(network, replayed, landscapeAt(0), options, draw)]
  for (let step = 0; step < first + options.lossSteps; step++) {
    const y = states.at(-1) as Tensor
    const landscape = landscapeAt(step)
    states.push(tf.tidy(() => tf.sub(y, tf.mul(alpha, landscape.slope(y).direction))))
  }
  return states.slice(first)
}

/** The model's start, or where a replayed row was left; with noise. */
function startingPoint(
  network: Network,
  { inputs, fresh, states }: Replayed,
  landscape: Landscape,
  options: PathOptions,
  draw: Draw,
): Tensor {
  const { tf, config } = network
  // A draft from the queries is F at zero: the first iterate from there.
  const drafted =
    config.answer.start === 'draft' && !draftsFromContext(config) && !inputs.batch.start
  const all = drafted
    ? tf.zeros([inputs.batch.rows, inputs.targets.shape[1] as number, config.dim])
    : startOf(network, inputs, landscape, seedFrom(draw))
  const joined = states ? tf.concat([tf.slice(all, [0, 0, 0], [fresh, -1, -1]), states]) : all
  return options.noise > 0 ? tf.add(joined, startNoise(network, inputs, options, draw)) : joined
}
