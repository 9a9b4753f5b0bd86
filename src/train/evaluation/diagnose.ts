/**
 * What an energy looks like around one batch of true answers: whether it tells answers apart, whether
 * descent lowers it, whether low energy means a good answer. Definitions: docs/training.md.
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
import { mean, rankCorrelation, standardDeviation } from './statistics.js'

export interface Diagnosis {
  /** Standard deviation of the energy over answers to one context, true and wrong; mean of contexts. */
  spread: number
  /** Mean E of wrong answers minus E of the true one. */
  gap: number
  /** Share of wrong answers whose energy is above that of the true one. */
  ranked: number
  /** Share of random states, as far out as true answers are, whose energy is below the true one's. */
  volume: number
  /** Mean energy and mean gradient norm at the start of a descent and at its end. */
  firstEnergy: number
  lastEnergy: number
  firstGradient: number
  lastGradient: number
  /** Rank correlation of the energy of found answers with their cross-entropy, both per position. */
  calibration: number
}

export interface DiagnoseOptions {
  seed: number
  /** Wrong answers, and random states, beside each true one. */
  wrong: number
  /** Steps of descent. */
  steps: number
}

/** Share of an answer's moving positions that a wrong one has wrong, at least one. */
const corruption = 0.5

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

/** Energies of the answers that have a moving position. */
function energiesOf(inputs: Inputs, energy: Tensor): number[] {
  const kept = inputs.answers.dataSync()
  return [...energy.dataSync()].filter((_, i) => kept[i] === 1)
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
    scoped(tf, () => energiesOf(inputs, landscape.energy(state()).energy))
  const truth = energyAt(() => stateOf(network, inputs.targets))
  const others = Array.from({ length: wrong }, () =>
    energyAt(() => stateOf(network, corruptTokens(network, inputs, corruption, draw))),
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

/** Noise with the root mean square of the true answers' states; probabilities in vocab space. */
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
  const alpha = tf.maximum(network.weight('alpha'), 1e-4)
  const figures = ({ energy, direction }: Slope) => ({
    energies: energiesOf(inputs, energy),
    gradient: mean(energiesOf(inputs, normByAnswer(network, inputs, direction))),
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
  const nats = energiesOf(inputs, answerNats(network, inputs, logits))
  const positions = energiesOf(inputs, movingByAnswer(network, inputs))
  const each = (sums: number[]) => sums.map((sum, i) => sum / (positions[i] as number))
  return {
    firstEnergy: mean(begun.energies),
    lastEnergy: mean(ended.energies),
    firstGradient: begun.gradient,
    lastGradient: ended.gradient,
    calibration: rankCorrelation(each(ended.energies), each(nats)),
  }
}

/** Moving positions of each answer, [B, M]. */
function movingByAnswer({ tf, config }: Network, { batch, weights }: Inputs): Tensor {
  return tf.sum(tf.reshape(weights, [batch.rows, batch.answers, config.answer.block]), 2)
}

/** |d|_2 over each answer's positions, [B, M]. */
function normByAnswer({ tf, config }: Network, inputs: Inputs, direction: Tensor): Tensor {
  const { rows, answers } = inputs.batch
  const squares = tf.reshape(tf.sum(tf.square(direction), 2), [rows, answers, config.answer.block])
  return tf.sqrt(tf.sum(squares, 2))
}

/** What ends a run: the energy no longer tells answers apart. */
export const hasCollapsed = (spread: number, first: number, share: number): boolean =>
  spread < share * first
