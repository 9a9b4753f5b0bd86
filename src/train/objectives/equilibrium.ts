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
import { draftsFromContext } from '../../model/config.js'
import { movingCounts } from '../data/training-batch.js'
import { answerNats, crossEntropy, withoutGradient } from '../loss.js'
import { ReplayBuffer, type ReplayOptions } from '../replay.js'
import { gradientsOf } from './gradients.js'
import { contextOf, landscapesOf, observeBatch, type Inputs, type Objective } from './objective.js'
import { againstOwnAnswers } from './own-answers.js'
import { bestArrival, stepper, trajectory, walk, type PathOptions } from './path.js'
import { solvedRows, trimmedLoss } from './row-losses.js'
import { remembering, withReplay } from './start.js'

export interface EquilibriumOptions extends PathOptions {
  /** P: the number of steps without gradient is drawn from 0..P. */
  horizon: number
  /** Differentiates through the steps with a loss, so that early steps serve the loss of later ones. */
  through?: true
  /** Only the last of those steps has a loss. */
  lastLoss?: true
  replay: ReplayOptions | null
  /** Share of rows, those of most loss, that an update leaves out (trimmed loss). */
  trim?: number
  /** Every answer counts the same in the loss, however many of its positions are blank. */
  byAnswer?: true
  /** Weight of the cross-entropy of the next token, read from the observed stream. */
  contextLoss?: number
  /** Weight of a term that lowers the energy of true answers below that of the model's own. */
  ownAnswers?: number
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
      const exact = network.config.energy.direction === 'exact'
      const follow = stepper(network, inputs, options, draw)
      const best =
        (options.bestOf ?? 1) > 1
          ? bestArrival(network, replayed, options, {
              landscapeAt: landscapesOf(network, inputs),
              follow,
              first,
              draw,
            })
          : undefined
      // A step along the true gradient records a tape, so these steps come before the tape below begins.
      const visited = exact ? trajectory(network, replayed, options, first, draw) : []
      // What a closed-form gradient reads must outlive the tape, so it is made before.
      const shares = options.byAnswer ? sharesByAnswer(network, inputs) : inputs
      const next =
        options.contextLoss && inputs.batch.length > 1 ? nextTokens(network, inputs) : undefined
      const { value, gradients, besides } = gradientsOf<[Tensor, Tensor, ...Tensor[]]>(
        network,
        () => {
          const observed =
            options.contextLoss || options.ownAnswers ? observeBatch(network, inputs, 0) : undefined
          const landscapeAt = landscapesOf(network, inputs, observed)
          // The observed stream belongs on the tape, the iterates before the loss do not.
          const begun = landscapeAt(0)
          const parts: Tensor[] = []
          const byAnswer: Tensor[] = []
          const count = (opinion: Tensor): void => {
            const part = readLoss(network, inputs, opinion, shares)
            parts.push(part)
            if (options.trim) byAnswer.push(answerNats(network, inputs, network.readout(opinion)))
          }
          const drafted = draftsFromContext(network.config)
            ? begun.contextDraft(inputs.weights)
            : undefined
          if (drafted && !options.lastLoss) count(drafted)
          const unchanged = first === 0 && options.noise === 0 && !states && !inputs.batch.start
          const arrive = (): Tensor =>
            withoutGradient(tf, () =>
              walk(network, replayed, options, { landscapeAt, follow, first, draw }),
            )
          // If the steps with a loss begin at the draft, gradients go on through it.
          const whole = options.through && unchanged ? drafted : undefined
          let state = exact ? (visited[0] as Tensor) : (best ?? whole ?? arrive())
          let answer = state
          for (let step = first; step < first + lossSteps; step++) {
            const opinion = landscapeAt(step).opinion(constant(state)).value
            if (!options.lastLoss || step === first + lossSteps - 1) count(opinion)
            answer = opinion
            const following = follow(state, opinion, step)
            const detached = () => withoutGradient(tf, () => tf.clone(following))
            state = options.through ? following : (visited[step - first + 1] ?? detached())
          }
          const loss = options.trim
            ? trimmedLoss(network, inputs, byAnswer, options.trim)
            : tf.div(tf.addN(parts), parts.length)
          const terms = [loss]
          if (observed && next) terms.push(tf.mul(next(observed.hidden), options.contextLoss ?? 0))
          const rated =
            observed &&
            options.ownAnswers &&
            againstOwnAnswers(
              network,
              inputs,
              contextOf(network, inputs, 0, observed),
              first + lossSteps - 1,
              draw,
            )
          if (rated) terms.push(tf.mul(rated.term, options.ownAnswers ?? 0))
          return [tf.addN(terms), state, answer, ...parts, ...(rated ? [rated.separated] : [])]
        },
      )
      const [left, answer, ...read] = besides
      const losses = options.ownAnswers ? read.slice(0, -1) : read
      const separated = options.ownAnswers ? read.at(-1) : undefined
      const { batch } = inputs
      const solved =
        buffer && options.replayUnsolved ? solvedRows(network, inputs, answer) : undefined
      return {
        value,
        losses,
        gradients,
        ...(separated && { measures: { separated } }),
        ...(buffer && remembering(buffer, batch, left, solved ? { solved } : {})),
      }
    },
  }
}

/** Weights of positions [B, N], and what their sum is divided by. */
type Shares = Pick<Inputs, 'weights' | 'count'>

const readLoss = (
  network: Network,
  inputs: Inputs,
  opinion: Tensor,
  { count, weights }: Shares,
): Tensor => crossEntropy(network.tf, network.readout(opinion), inputs.targets, weights, count)

/** Each blank of an answer has one part in as many as it has blanks. */
function sharesByAnswer({ tf }: Network, { batch, answerCount: count }: Inputs): Shares {
  const block = batch.moving.length / (batch.rows * batch.answers)
  const blanks = movingCounts(batch)
  const shares = batch.moving.map((moves, i) =>
    moves > 0 ? 1 / (blanks[Math.floor(i / block)] as number) : 0,
  )
  return { weights: tf.tensor2d(shares, [batch.rows, batch.answers * block]), count }
}

/** The mean cross-entropy of each observed token given those before it, from the output of the observed stream. */
function nextTokens(network: Network, { batch, observed }: Inputs): (hidden: Tensor) => Tensor {
  const { tf } = network
  const { length, rows, visible } = batch
  const seen = (row: number) => visible[visible.length === 1 ? 0 : row]?.at(-1) ?? 0
  const known = Array.from({ length: rows }, (_, row) =>
    Array.from({ length: length - 1 }, (__, at) => (at + 1 < seen(row) ? 1 : 0)),
  )
  const targets = tf.slice(observed, [0, 1], [-1, -1])
  const weights = tf.tensor2d(known.flat(), [rows, length - 1])
  const count = Math.max(1, known.flat().filter((one) => one === 1).length)
  return (hidden) => {
    const before = tf.slice(hidden, [0, 0, 0], [-1, length - 1, -1])
    const logits = network.readout(network.causalOpinion(before))
    return crossEntropy(tf, logits, targets, weights, count)
  }
}
