/**
 * Diagnoses an energy around one batch of true answers: whether true and wrong answers have different
 * energies, whether descent lowers the energy, and whether a low energy means a good answer.
 * Definitions: docs/training.md.
 */
import type { Tensor } from '../../energy/tfjs/backend.js'
import { basePoint, descend, logitsOf } from '../../energy/tfjs/descent.js'
import type { Landscape, Slope } from '../../energy/tfjs/landscape.js'
import type { Network } from '../../energy/tfjs/network.js'
import { readTensors } from '../../energy/tfjs/read-tensors.js'
import { stateWidth } from '../../model/config.js'
import { normals, uniform } from '../../refine/random.js'
import { movingCounts, type Batch } from '../data/training-batch.js'
import { answerNats } from '../loss.js'
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

export async function diagnose(
  network: Network,
  batch: Batch,
  options: DiagnoseOptions,
): Promise<Diagnosis> {
  const { wrong } = options
  const counts = movingCounts(batch)
  const numbers = await readTensors(network.tf, () => {
    const inputs = inputsOf(network, batch)
    const landscapeAt = landscapesOf(network, inputs)
    return [
      ...comparedEnergies(network, inputs, landscapeAt(network.config.landscapes - 1), options),
      ...descentFigures(network, inputs, landscapeAt, options),
    ]
  })
  /** [figures][answers that have a moving position] */
  const figures = numbers.map((all) => [...all].filter((_, i) => counts[i] !== 0))
  const moving = counts.filter((count) => count !== 0)
  return {
    ...comparison(figures.slice(0, 1 + 2 * wrong), wrong),
    ...descentDiagnosis(figures.slice(1 + 2 * wrong), moving),
  }
}

/** The energies [B, M] of the true answer, of each wrong one, and of each random state. */
function comparedEnergies(
  network: Network,
  inputs: Inputs,
  landscape: Landscape,
  { seed, wrong }: DiagnoseOptions,
): Tensor[] {
  let draws = 0
  const draw = () => uniform(seed, 0, draws++)
  const energyAt = (state: () => Tensor): Tensor =>
    network.tf.tidy(() => landscape.energy(state()).energy)
  const each = (state: (i: number) => Tensor): Tensor[] =>
    Array.from({ length: wrong }, (_, i) => energyAt(() => state(i)))
  return [
    energyAt(() => stateOf(network, inputs.targets)),
    ...each(() => stateOf(network, corruptTokens(network, inputs, CORRUPTION, draw))),
    ...each((i) => randomState(network, inputs, seed + i)),
  ]
}

/** From the energies of `comparedEnergies`. */
function comparison(
  energies: readonly number[][],
  wrong: number,
): Pick<Diagnosis, 'spread' | 'gap' | 'ranked' | 'volume'> {
  const [truth = [], ...all] = energies
  const [others, random] = [all.slice(0, wrong), all.slice(wrong)]
  const pairs = others.flatMap((each) => each.map((e, i) => e - (truth[i] as number)))
  const below = random.flatMap((each) => each.map((e, i) => (e < (truth[i] as number) ? 1 : 0)))
  const spreads = truth.map((e, i) =>
    standardDeviation([e, ...others.map((each) => each[i] as number)]),
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

/** Energies and gradient norms at the start and the end of a descent, then the answers' nats: [B, M] each. */
function descentFigures(
  network: Network,
  inputs: Inputs,
  landscapeAt: (step: number) => Landscape,
  { seed, steps }: DiagnoseOptions,
): Tensor[] {
  const { tf } = network
  const alpha = alphaOf(network)
  const figures = ({ energy, direction }: Slope): Tensor[] => [
    energy,
    normByAnswer(network, inputs, direction),
  ]
  let state = startOf(network, inputs, landscapeAt(0), seed)
  const begun = figures(landscapeAt(0).slope(basePoint(network, state, true)))
  for (let step = 0; step < steps; step++) {
    const from = state
    const landscape = landscapeAt(step)
    state = tf.tidy(
      () => descend(network, landscape, from, { alpha, first: step === 0, noise: null }).next,
    )
  }
  const slope = landscapeAt(steps).slope(basePoint(network, state, false))
  const logits = logitsOf(network, slope.opinion ?? state)
  return [...begun, ...figures(slope), answerNats(network, inputs, logits)]
}

/** From the numbers of `descentFigures`. `moving`: the number of moving positions of each answer. */
function descentDiagnosis(
  figures: readonly number[][],
  moving: readonly number[],
): Omit<Diagnosis, 'spread' | 'gap' | 'ranked' | 'volume'> {
  const [begun = [], firstNorms = [], ended = [], lastNorms = [], nats = []] = figures
  const perPosition = (sums: readonly number[]) => sums.map((sum, i) => sum / (moving[i] as number))
  return {
    firstEnergy: mean(begun),
    lastEnergy: mean(ended),
    firstGradient: mean(firstNorms),
    lastGradient: mean(lastNorms),
    calibration: rankCorrelation(perPosition(ended), perPosition(nats)),
  }
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
