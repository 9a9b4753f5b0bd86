/**
 * `equilibrium`, for the residual energy. An update descends a random number of steps without gradient, to
 * states that inference will meet (y <- F(y) along the amortized direction, y <- y - alpha (I - dF/dy)^T
 * (y - F) along the exact one). Then it takes a few steps with a cross-entropy on the read-out of F,
 * detached from each other unless `through` is set; a draft from the context has the same loss. Only first
 * derivatives are needed, so that an update costs as much as a few feed-forward ones, whatever the
 * horizon. The observed stream is computed once for all steps. With a replay buffer, rows also continue
 * from states in which earlier updates ended, so that states far beyond the horizon are trained on.
 */
import { BasinError } from '../../errors.js'
import type { Tensor } from '../../energy/tfjs/backend.js'
import { constant } from '../../energy/tfjs/numbers.js'
import type { Network } from '../../energy/tfjs/network.js'
import type { Landscape } from '../../energy/tfjs/landscape.js'
import { draftsFromContext } from '../../model/config.js'
import { crossEntropy, withoutGradient } from '../loss.js'
import { ReplayBuffer, type ReplayOptions } from '../replay.js'
import { gradientsOf } from './gradients.js'
import {
  landscapesOf,
  scalarOf,
  startOf,
  type Draw,
  type Inputs,
  type Objective,
} from './objective.js'
import { noiseFor, seedFrom, withReplay, type Replayed } from './start.js'

export interface EquilibriumOptions {
  /** P: the number of steps without gradient is drawn from 0..P. */
  horizon: number
  /** Steps with a loss after them. */
  lossSteps: number
  /** Differentiates through the steps with a loss, so that early steps serve the loss of later ones. */
  through?: true
  /** Only the last of those steps has a loss. */
  lastLoss?: true
  /** Standard deviation of noise on every starting point, replayed ones included. */
  noise: number
  replay: ReplayOptions | null
}

export function equilibrium(options: EquilibriumOptions): Objective {
  const { horizon, lossSteps } = options
  const buffer = options.replay ? new ReplayBuffer(options.replay) : undefined
  return {
    name: 'equilibrium',
    ...(buffer && { memory: buffer }),
    check({ energy, conditioning, feed_forward }) {
      if (options.through && energy.direction === 'exact')
        throw new BasinError('not_supported', {
          param: 'through',
          reason: 'equilibrium differentiates through the amortized direction only',
        })
      if (energy.kind !== 'residual' || feed_forward)
        throw new BasinError('not_supported', {
          param: 'objective',
          reason: 'equilibrium trains the residual energy',
        })
      if (conditioning === 'time_embed' || conditioning === 'adaln')
        throw new BasinError('not_supported', {
          param: 'conditioning',
          reason: 'equilibrium needs one context for all steps',
        })
    },
    update(network, given, draw) {
      const { tf } = network
      const first = Math.floor(draw() * (horizon + 1))
      const replayed = withReplay(network, given, buffer, draw)
      const { inputs, states } = replayed
      const losses: number[] = []
      const exact = network.config.energy.direction === 'exact'
      // A step along the true gradient records a tape, so these steps come before the tape below begins.
      const visited = exact ? trajectory(network, replayed, options, first, draw) : []
      let late: Tensor | undefined
      const { value, gradients } = gradientsOf(network, () => {
        const landscapeAt = landscapesOf(network, inputs)
        // The observed stream belongs on the tape, the iterates before the loss do not.
        const begun = landscapeAt(0)
        const parts: Tensor[] = []
        const count = (opinion: Tensor): void => {
          const part = readLoss(network, inputs, opinion)
          losses.push(scalarOf(part))
          parts.push(part)
        }
        const drafted = draftsFromContext(network.config)
          ? begun.contextDraft(inputs.weights)
          : undefined
        if (drafted && !options.lastLoss) count(drafted)
        const unchanged = first === 0 && options.noise === 0 && !states && !inputs.batch.start
        const arrive = (): Tensor =>
          withoutGradient(tf, () => {
            let y = startingPoint(network, replayed, begun, options, draw)
            for (let step = 0; step < first; step++)
              y = tf.tidy(() => landscapeAt(step).opinion(constant(y)).value)
            return y
          })
        // If the steps with a loss begin at the draft, gradients go on through it.
        const whole = options.through && unchanged ? drafted : undefined
        let state = exact ? (visited[0] as Tensor) : (whole ?? arrive())
        for (let step = first; step < first + lossSteps; step++) {
          const opinion = landscapeAt(step).opinion(constant(state)).value
          if (!options.lastLoss || step === first + lossSteps - 1) count(opinion)
          const detached = () => withoutGradient(tf, () => tf.clone(opinion))
          state = options.through ? opinion : (visited[step - first + 1] ?? detached())
        }
        late = tf.keep(state)
        return tf.div(tf.addN(parts), parts.length)
      })
      buffer?.add(inputs.batch, (late as unknown as Tensor).dataSync() as Float32Array)
      late?.dispose()
      return { value, losses, gradients }
    },
  }
}

/** The states before each step with a loss, and the one after the last, on the exact direction. */
function trajectory(
  network: Network,
  replayed: Replayed,
  options: EquilibriumOptions,
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

/** The model's starting state, or the last state of a replayed row, plus noise. */
function startingPoint(
  network: Network,
  { inputs, fresh, states }: Replayed,
  landscape: Landscape,
  { noise }: EquilibriumOptions,
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
  return noise > 0 ? tf.add(joined, noiseFor(network, inputs, noise, draw)) : joined
}

const readLoss = (network: Network, inputs: Inputs, opinion: Tensor): Tensor =>
  crossEntropy(network.tf, network.readout(opinion), inputs.targets, inputs.weights, inputs.count)
