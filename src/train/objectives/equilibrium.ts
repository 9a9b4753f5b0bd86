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
import { answerNats, crossEntropy, scoped, withoutGradient } from '../loss.js'
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
import { startNoise, type StartNoise } from './start-noise.js'

export interface EquilibriumOptions extends StartNoise {
  /** P: the number of steps without gradient is drawn from 0..P. */
  horizon: number
  /** Steps with a loss after them. */
  lossSteps: number
  /** Differentiates through the steps with a loss, so that early steps serve the loss of later ones. */
  through?: true
  /** Only the last of those steps has a loss. */
  lastLoss?: true
  replay: ReplayOptions | null
  /** Kept of the state in every step: y <- F + damping (y - F). */
  damping?: number
  /** Standard deviation of noise added in every step. */
  pathNoise?: number
  /** M: of so many descents to the first loss, each row goes on from the one nearest to its truth. */
  bestOf?: number
  /** Share of rows, those of most loss, that an update leaves out (trimmed loss). */
  trim?: number
  /** Rows whose answer is right as it was left are not replayed: the buffer holds what is hard. */
  replayUnsolved?: true
}

export function equilibrium(options: EquilibriumOptions): Objective {
  const { horizon, lossSteps } = options
  const buffer = options.replay ? new ReplayBuffer(options.replay) : undefined
  return {
    name: 'equilibrium',
    ...(buffer && { memory: buffer }),
    check({ energy, conditioning, feed_forward }) {
      const amortizedOnly = [
        options.through && 'through',
        options.damping && 'damping',
        options.pathNoise && 'path-noise',
        options.bestOf && options.bestOf > 1 && 'best-of',
      ].find(Boolean)
      if (amortizedOnly && energy.direction === 'exact')
        throw new BasinError('not_supported', {
          param: amortizedOnly,
          reason: 'equilibrium has it along the amortized direction only',
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
      const follow = stepper(network, inputs, options, draw)
      const best =
        (options.bestOf ?? 1) > 1
          ? bestArrival(network, replayed, options, first, follow, draw)
          : undefined
      // A step along the true gradient records a tape, so these steps come before the tape below begins.
      const visited = exact ? trajectory(network, replayed, options, first, draw) : []
      let late: Tensor | undefined
      const { value, gradients } = gradientsOf(network, () => {
        const landscapeAt = landscapesOf(network, inputs)
        // The observed stream belongs on the tape, the iterates before the loss do not.
        const begun = landscapeAt(0)
        const parts: Tensor[] = []
        const byAnswer: Tensor[] = []
        const count = (opinion: Tensor): void => {
          const part = readLoss(network, inputs, opinion)
          losses.push(scalarOf(part))
          parts.push(part)
          if (options.trim) byAnswer.push(answerNats(network, inputs, network.readout(opinion)))
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
              y = tf.tidy(() => follow(y, landscapeAt(step).opinion(constant(y)).value, step))
            return y
          })
        // If the steps with a loss begin at the draft, gradients go on through it.
        const whole = options.through && unchanged ? drafted : undefined
        let state = exact ? (visited[0] as Tensor) : (best ?? whole ?? arrive())
        for (let step = first; step < first + lossSteps; step++) {
          const opinion = landscapeAt(step).opinion(constant(state)).value
          if (!options.lastLoss || step === first + lossSteps - 1) count(opinion)
          const next = follow(state, opinion, step)
          const detached = () => withoutGradient(tf, () => tf.clone(next))
          state = options.through ? next : (visited[step - first + 1] ?? detached())
        }
        late = tf.keep(state)
        return options.trim
          ? trimmedLoss(network, inputs, byAnswer, options.trim)
          : tf.div(tf.addN(parts), parts.length)
      })
      const left = late as unknown as Tensor
      if (buffer) {
        const solved = options.replayUnsolved ? solvedRows(network, inputs, left) : undefined
        const states = left.dataSync() as Float32Array
        buffer.add(inputs.batch, states, inputs.batch.rows, (row) => solved?.[row] !== 1)
      }
      left.dispose()
      return { value, losses, gradients }
    },
  }
}

/** The state after a step from `y`, where the network's opinion is `opinion`. */
type Follow = (y: Tensor, opinion: Tensor, step: number) => Tensor

/**
 * F, or with a damped step and noise F + damping (y - F) + sigma n. The noise of an update is drawn once
 * and moved on by a row and a position each step, so that no row meets the same numbers again.
 */
function stepper(
  network: Network,
  inputs: Inputs,
  { damping = 0, pathNoise = 0 }: EquilibriumOptions,
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

/** Row by row, of `bestOf` descents of `first` steps, the state from which F says most of the truth. */
function bestArrival(
  network: Network,
  replayed: Replayed,
  options: EquilibriumOptions,
  first: number,
  follow: Follow,
  draw: Draw,
): Tensor {
  const { tf } = network
  const { inputs } = replayed
  const landscapeAt = landscapesOf(network, inputs)
  landscapeAt(0)
  let best: Tensor | undefined
  let least: Tensor | undefined
  for (let m = 0; m < (options.bestOf ?? 1); m++) {
    const [state, nats] = tf.tidy<[Tensor, Tensor]>(() => {
      let y = startingPoint(network, replayed, landscapeAt(0), options, draw)
      for (let step = 0; step < first; step++)
        y = tf.tidy(() => follow(y, landscapeAt(step).opinion(constant(y)).value, step))
      const opinion = landscapeAt(first).opinion(constant(y)).value
      return [y, tf.sum(answerNats(network, inputs, network.readout(opinion)), 1)]
    })
    const nearer = least ? tf.less(nats, least) : undefined
    best = nearer && best ? tf.where(tf.reshape(nearer, [-1, 1, 1]), state, best) : state
    least = nearer && least ? tf.where(nearer, nats, least) : nats
  }
  return best as Tensor
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
  options: EquilibriumOptions,
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

/** [B]: 1 where every moving position of a row reads as it should. */
function solvedRows(network: Network, inputs: Inputs, state: Tensor): ArrayLike<number> {
  const { tf } = network
  return tf.tidy(() => {
    const missed = tf.notEqual(tf.argMax(network.readout(state), 2), inputs.targets)
    const counts = tf.sum(tf.mul(tf.cast(missed, 'float32'), inputs.weights), 1)
    return tf.cast(tf.equal(counts, 0), 'float32').dataSync()
  })
}

/**
 * The mean over steps and moving positions of nats given by answer [B, M], without the share `trim` of
 * rows that have most a position. Boards that are beyond a network teach it to rest undecided, and that
 * is what it does with others then: what is left out are those.
 */
function trimmedLoss(
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

const readLoss = (network: Network, inputs: Inputs, opinion: Tensor): Tensor =>
  crossEntropy(network.tf, network.readout(opinion), inputs.targets, inputs.weights, inputs.count)
