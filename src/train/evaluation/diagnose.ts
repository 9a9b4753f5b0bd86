/**
 * Diagnoses an energy around one batch of true answers: whether true and wrong answers have different
 * energies, whether descent lowers the energy, and whether a low energy means a good answer.
 * Definitions: docs/training.md.
 */
import type { Tensor } from '../../energy/tfjs/backend.js'
import { basePoint, descend, logitsOf } from '../../energy/tfjs/descent.js'
import type { Landscape, Slope } from '../../energy/tfjs/landscape.js'
import type { Network } from '../../energy/tfjs/network.js'
import { stateWidth } from '../../model/config.js'
import { normals, uniform } from '../../refine/random.js'
import type { Batch } from '../data/training-batch.js'
import { answerNats, scoped } from '../loss.js'
import { corruptTokens } from '../objectives/contrastive.js'
import { inputsOf, landscapesOf, startOf, type Inputs } from '../objectives/objective.js'
import { stateOf } from '../objectives/start.js'
import { alphaOf } from '../learned-step-size.js'
import { mean, rankCorrelation, standardDeviation } from './statistics.js'

export interface Diagnosis {
  /** Standard deviation of the energy over true and wrong answers to one context; mean of contexts. */
  spread: number
  /** Mean E of wrong answers minus E of the true one. */
  gap: number
  /** Share of wrong answers whose energy is above that of the true one. */
  ranked: number
  /** Share of random states, of the same root mean square as true answers, with lower energy. */
  volume: number
  /** Mean energy and mean gradient norm at the start of a descent and at its end. */
  firstEnergy: number
  lastEnergy: number
  firstGradient: number
  lastGradient: number
  /** Rank correlation of the energies of the answers found with their cross-entropies, per position. */
  calibration: number
}

export interface DiagnoseOptions {
  seed: number
  /** Number of wrong answers, and of random states, that each true answer is compared with. */
  wrong: number
  /** Number of descent steps. */
  steps: number
}

/** Probability that a moving position of a wrong answer is replaced; one position is at least. */
const CORRUPTION = 0.5

export function diagnose(
  network: Network,
  batch: Batch,
  { seed, wrong, steps }: DiagnoseOptions,
): Diagnosis {
  return scoped(network.tf, () => {
    const inputs = inputsOf(network, batch)
    const landscapeAt = landscapesOf(network, inputs)
    const last = landscapeAt(network.config.landscapes - 1)
    return {
      ...compareAnswers(network, inputs, last, seed, wrong),
      ...followDescent(network, inputs, landscapeAt, seed, steps),
    }
  })
}

/** The values [B, M] of those answers that have a moving position. */
function movingOnly(inputs: Inputs, byAnswer: Tensor): number[] {
  const kept = inputs.answers.dataSync()
  return [...byAnswer.dataSync()].filter((_, i) => kept[i] === 1)
}

function compareAnswers(
  network: Network,
  inputs: Inputs,
  landscape: Landscape,
  seed: number,
  wrong: number,
): Pick<Diagnosis, 'spread' | 'gap' | 'ranked' | 'volume'> {
  const { tf } = network
  let draws = 0
  const draw = () => uniform(seed, 0, draws++)
  const energyAt = (state: () => Tensor): number[] =>
    scoped(tf, () => movingOnly(inputs, landscape.energy(state()).energy))
  const truth = energyAt(() => stateOf(network, inputs.targets))
  const others = Array.from({ length: wrong }, () =>
    energyAt(() => stateOf(network, corruptTokens(network, inputs, CORRUPTION, draw))),
  )
  const random = Array.from({ length: wrong }, (_, i) =>
    energyAt(() => randomState(network, inputs, seed + i)),
  )
  const pairs = others.flatMap((energies) => energies.map((e, i) => e - (truth[i] as number)))
  const below = random.flatMap((energies) =>
    energies.map((e, i) => (e < (truth[i] as number) ? 1 : 0)),
  )
  const spreads = truth.map((e, i) =>
    standardDeviation([e, ...others.map((energies) => energies[i] as number)]),
  )
  return {
    spread: mean(spreads),
    gap: mean(pairs),
    ranked: mean(pairs.map((apart) => (apart > 0 ? 1 : 0))),
    volume: mean(below),
  }
}

/** Noise of the same root mean square as the true answers' states; in vocab space, probabilities. */
function randomState(network: Network, inputs: Inputs, seed: number): Tensor {
  const { tf, config } = network
  const [rows, n] = inputs.targets.shape as [number, number]
  const width = stateWidth(config)
  const noise = tf.tensor3d(normals(seed, 1, 0, rows * n * width), [rows, n, width])
  if (config.answer.space === 'vocab') return basePoint(network, tf.mul(noise, 3), true)
  const truth = stateOf(network, inputs.targets)
  return tf.mul(noise, tf.sqrt(tf.mean(tf.square(truth))))
}

function followDescent(
  network: Network,
  inputs: Inputs,
  landscapeAt: (step: number) => Landscape,
  seed: number,
  steps: number,
): Omit<Diagnosis, 'spread' | 'gap' | 'ranked' | 'volume'> {
  const { tf } = network
  const alpha = alphaOf(network)
  const figures = ({ energy, direction }: Slope) => ({
    energies: movingOnly(inputs, energy),
    gradient: mean(movingOnly(inputs, normByAnswer(network, inputs, direction))),
  })
  let state = startOf(network, inputs, landscapeAt(0), seed)
  const firstBase = basePoint(network, state, true)
  const begun = figures(landscapeAt(0).slope(firstBase))
  for (let step = 0; step < steps; step++) {
    const from = state
    const landscape = landscapeAt(step)
    state = tf.tidy(
      () => descend(network, landscape, from, { alpha, first: step === 0, noise: null }).next,
    )
  }
  const slope = landscapeAt(steps).slope(basePoint(network, state, false))
  const ended = figures(slope)
  const logits = logitsOf(network, slope.opinion ?? state)
  const nats = movingOnly(inputs, answerNats(network, inputs, logits))
  const positions = movingOnly(inputs, movingByAnswer(network, inputs))
  const perPosition = (sums: number[]) => sums.map((sum, i) => sum / (positions[i] as number))
  return {
    firstEnergy: mean(begun.energies),
    lastEnergy: mean(ended.energies),
    firstGradient: begun.gradient,
    lastGradient: ended.gradient,
    calibration: rankCorrelation(perPosition(ended.energies), perPosition(nats)),
  }
}

/** The number of moving positions of each answer, [B, M]. */
function movingByAnswer({ tf, config }: Network, { batch, weights }: Inputs): Tensor {
  return tf.sum(tf.reshape(weights, [batch.rows, batch.answers, config.answer.block]), 2)
}

/** The Euclidean norm of the direction over the positions of each answer, [B, M]. */
function normByAnswer({ tf, config }: Network, inputs: Inputs, direction: Tensor): Tensor {
  const { rows, answers } = inputs.batch
  const squares = tf.reshape(tf.sum(tf.square(direction), 2), [rows, answers, config.answer.block])
  return tf.sqrt(tf.sum(squares, 2))
}

/** True if the energies of different answers have come too close to each other for training to go on. */
export const hasCollapsed = (spread: number, first: number, share: number): boolean =>
  spread < share * first
