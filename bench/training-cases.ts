/** The trainings that benchmarks time. */
import { fileURLToPath } from 'node:url'
import type { Tensor, Tf } from '../src/energy/tfjs/backend.js'
import { Network } from '../src/energy/tfjs/network.js'
import { parseConfig, readConfig, type ModelConfig } from '../src/model/config.js'
import { uniform } from '../src/refine/random.js'
import { batchOfExamples, batchOfWindows, type Batch } from '../src/train/data/training-batch.js'
import { initialWeights } from '../src/train/initial-weights.js'
import { equilibrium } from '../src/train/objectives/equilibrium.js'
import type { Objective } from '../src/train/objectives/objective.js'
import { optimize } from '../src/train/objectives/optimize.js'
import { stageOne } from '../src/train/objectives/recipe.js'
import { Optimizer } from '../src/train/optimizer.js'
import { computeUpdate } from '../src/train/update.js'
import { publishedAnswer, publishedEnergy } from './models.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

export interface TrainingCase {
  config: ModelConfig
  batch: Batch
  objective: () => Objective
}

const tokens = (count: number, vocab: number): Int32Array =>
  Int32Array.from({ length: count }, (_, i) => Math.floor(uniform(1, 2, i) * vocab))

const windows = (config: ModelConfig, n: number, rows: number): Batch =>
  batchOfWindows(config, tokens(rows * (n + 1), config.vocab_size), rows)

/** By name; `rowsOf` is given the number of rows that an update has at full scale. */
const trainingCases: Readonly<Record<string, (rowsOf: (rows: number) => number) => TrainingCase>> =
  {
    /** 64 boards of 36 cells, half of them given. */
    sudoku6: (rowsOf) => {
      const config = readConfig(`${root}models/sudoku6`)
      const examples = Array.from({ length: rowsOf(64) }, () => {
        const answer = [...tokens(36, 6)]
        return { context: [6], answer, clamped: answer.map((token, i) => (i % 2 ? token : -1)) }
      })
      const batch = batchOfExamples(config, examples)
      return { config, batch, objective: () => equilibrium({ ...iterated }) }
    },
    stories: (rowsOf) => {
      const config = readConfig(`${root}models/stories`)
      const batch = windows(config, 192, rowsOf(20))
      return { config, batch, objective: () => equilibrium({ ...iterated }) }
    },
    /** The published recipe: 6 layers of width 256, 16 rows of 256 positions, 256 tokens. */
    s1: (rowsOf) => {
      const config = parseConfig(
        {
          ...readConfig(`${root}models/stories`),
          name: 's1',
          vocab_size: 256,
          layers: 6,
          ffn_dim: 1024,
          steps: 2,
          answer: publishedAnswer,
          energy: publishedEnergy,
        },
        's1',
      )
      const batch = windows(config, 256, rowsOf(16))
      return { config, batch, objective: () => optimize({ ...stageOne, steps: 2 }) }
    },
  }
/** Two steps without gradient (random draws below are 0.5, half of the horizon), then two with a loss. */
const iterated = { horizon: 4, lossSteps: 2, noise: 0.1, replay: null }

/** Starts the training of a case. Each call of `update` is one. */
export function trainingOf(
  tf: Tf,
  { config, batch, objective }: TrainingCase,
): { update: () => Promise<void>; dispose: () => void } {
  const weights = new Map(
    [...initialWeights(config, 1, 0.5)].map(([name, { shape, data }]) => {
      const first = tf.tensor(data, [...shape])
      const weight = tf.variable(first) as Tensor & { assign(value: Tensor): void }
      first.dispose()
      return [name, weight]
    }),
  )
  const network = new Network(tf, config, weights)
  const made = objective()
  const optimizer = new Optimizer(tf, {
    optimizer: 'adamw',
    learningRate: 1e-3,
    beta1: 0.9,
    beta2: 0.95,
    warmup: 10,
    updates: 1000,
    weightDecay: 0.01,
    clip: 1,
    alphaMultiplier: 3,
    muonStep: 0.2,
  })
  let done = 0
  const update = async (): Promise<void> => {
    const { gradients, gradientNorm } = await computeUpdate(network, made, batch, () => 0.5)
    optimizer.apply(weights, gradients, gradientNorm, done++)
    tf.dispose([...gradients.values()])
  }
  const dispose = (): void => {
    network.dispose()
    for (const tensors of [weights, optimizer.first, optimizer.second])
      tf.dispose([...tensors.values()])
  }
  return { update, dispose }
}

/** The case of a name with `scale` times fewer rows. Throws where there is none. */
export function trainingCase(label: string, scale: number): TrainingCase {
  const make = trainingCases[label]
  if (!make)
    throw new Error(`there is no case ${label}; there are ${Object.keys(trainingCases).join(', ')}`)
  return make((rows) => Math.max(1, Math.round(rows / scale)))
}
