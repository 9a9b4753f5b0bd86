/**
 * Puts a training together from its settings: configuration, data, backend, objective, and the directory that
 * it writes. `basin train` and the library's `train` run what is opened here.
 */
import { copyFileSync, mkdirSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Backend, type BackendChoice, loadBackend } from '../energy/tfjs/backend.js'
import { BasinError } from '../errors.js'
import { type Checkpoint, openCheckpoint, tensorShapes } from '../model/checkpoint.js'
import { type ModelConfig, parseConfig } from '../model/config.js'
import { openTokenizer } from '../tokenizer/tokenizer.js'
import type { GivenShare } from '../train/data/given-positions.js'
import { openData, type TrainingData } from '../train/data/training-data.js'
import type { BudgetScore } from '../train/evaluation/answer-scores.js'
import { anchored, distancesFirst, initialWeights, withOpinion } from '../train/initial-weights.js'
import { type TrainOptions, Training } from '../train/loop.js'
import {
  chooseObjective,
  objectiveDefaults,
  type ObjectiveSettings,
} from '../train/objectives/choose-objective.js'
import type { OptimizerName } from '../train/optimizer.js'
import type { TrainingSettings } from '../train/training-state.js'

/** The tensor whose shape depends on the length of a block. */
const QUERIES = 'answer.query.weight'

/** Each field is the flag of `basin train` of its name, with the same default. */
export interface TrainSettings extends ObjectiveSettings {
  /** Text files, or one file of JSON lines. */
  data: string[]
  /** Held-out data of the same kind. */
  valid: string[]
  /** Directory for the model and its resumable state. */
  out: string
  /** Directory with tokenizer.json. */
  tokenizer: string
  /** Directory of a model whose weights the run starts from; its blocks may have another length. */
  init?: string
  /** What is not taken from `init` begins so that attention tells distances first, and places later. */
  distances?: true
  /** What requests call the model; default: the name in the configuration. */
  name?: string
  /** Of the whole run. */
  updates: number
  /** Rows of an update. */
  batch: number
  /** Predicted tokens in a row of text. */
  window: number
  optimizer: OptimizerName
  /** Peak learning rate. */
  lr: number
  /** Updates of linear warm-up. */
  warmup: number
  /** Largest global gradient norm. */
  clip: number
  weightDecay: number
  beta2: number
  /** Initial step size. */
  alpha: number
  alphaMultiplier: number
  muonStep: number
  /** Of weights, batches and random draws. */
  seed: number
  /** JSON lines: characters that are permuted among themselves in every example. */
  relabel?: string
  /** JSON lines whose answers are sudoku boards: rearrange each by a symmetry of the board. */
  symmetries?: true
  /**
   * Share of each block's tokens that is given, drawn from a range; of JSON lines in every second example of the
   * training, besides what its template gives.
   */
  given?: GivenShare
  /** Rate of the moving average of the weights, which is then the model. */
  average?: number
  /** Numbers of steps at which validation measures. */
  budgets: number[]
  validRows: number
  /** Updates between validations, and between checkpoints. */
  validateEvery: number
  saveEvery: number
  /** Save and stop after so many seconds of training. */
  maxSeconds: number
  backend: BackendChoice
  /** Of the backend. */
  threads: number
  /** Fail at the first bad line of data. */
  strict?: boolean
  /** Keep the tokenised text in this directory for later runs. */
  cache?: string
  /** End the run if the spread of energies falls below this share of its first value; 0: never. */
  collapseAt: number
}

export const trainDefaults = {
  ...objectiveDefaults,
  updates: 2000,
  batch: 32,
  window: 128,
  optimizer: 'adamw',
  lr: 1e-3,
  warmup: 100,
  clip: 1,
  weightDecay: 0.01,
  beta2: 0.95,
  alpha: 1,
  alphaMultiplier: 3,
  muonStep: 1,
  seed: 1,
  budgets: [1, 2, 4, 8, 16, 32],
  validRows: 256,
  validateEvery: 200,
  saveEvery: 100,
  maxSeconds: Infinity,
  backend: 'auto',
  threads: 1,
  collapseAt: 0.1,
} satisfies Partial<TrainSettings>

/** The content of a config.json, and what messages call it. */
export interface ConfigSource {
  json: Readonly<Record<string, unknown>>
  path: string
}

export interface OpenedTraining {
  config: ModelConfig
  data: TrainingData
  backend: Backend
  training: Training
  /** To the last update, or until `stop`; gives the final validation. Throws `not_written` where a disk is full. */
  run: () => Promise<BudgetScore[]>
}

/**
 * Opens everything, makes the directory of the model and copies the tokenizer there. A run that the directory
 * holds the state of is resumed. `stop` is asked after every update. Throws what is wrong with the settings.
 */
export async function openTraining(
  settings: TrainSettings,
  source: ConfigSource,
  hooks: Pick<TrainOptions, 'onUpdate' | 'onValidation'> & { stop: () => boolean },
): Promise<OpenedTraining> {
  const config = configOf(settings, source)
  const data = dataOf(settings, config, source.path)
  const backend = await loadBackend(settings.backend, settings.threads)
  prepareOut(settings)
  const training = new Training(backend.tf, {
    ...settings,
    ...initialWith(settings, config),
    ...chooseObjective(settings, config, backend.tf),
    config,
    settings: lastingSettings(settings),
    optimizer: { ...settings, learningRate: settings.lr, beta1: 0.9 },
    batch: data.batch,
    validation: data.validation,
    onUpdate: hooks.onUpdate,
    onValidation: hooks.onValidation,
    stop: (seconds) => hooks.stop() || seconds >= settings.maxSeconds,
  })
  const run = async (): Promise<BudgetScore[]> => {
    try {
      return await training.run()
    } catch (error) {
      throw asWriteError(error, settings.out)
    }
  }
  return { config, data, backend, training, run }
}

function configOf({ name, objective }: TrainSettings, { json, path }: ConfigSource): ModelConfig {
  const named = { ...json, name: name ?? String(json['name']) }
  return parseConfig(
    objective === 'feed-forward'
      ? { ...named, name: `${named.name}-control`, feed_forward: true }
      : named,
    path,
  )
}

/** Settings that may change when a run is resumed; its numbers depend on all others. */
const changeable = new Set(
  'config name tokenizer data valid out init updates budgets validRows validateEvery saveEvery maxSeconds backend threads profile collapseAt metricsPort metricsHost cache teacher seed'.split(
    ' ',
  ),
)

/** The settings that a resumed run must have in common with its start, by the names of their flags. */
const lastingSettings = (settings: TrainSettings): TrainingSettings =>
  Object.fromEntries(
    Object.entries(settings)
      .filter(([name]) => !changeable.has(name))
      .map(([name, value]) => [
        `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
        typeof value === 'object' ? JSON.stringify(value) : (value as string | number | boolean),
      ]),
  )

function dataOf(settings: TrainSettings, config: ModelConfig, configPath: string): TrainingData {
  const tokenizer = openTokenizer(settings.tokenizer)
  if (tokenizer.vocabSize !== config.vocab_size)
    throw new BasinError('invalid_tokenizer', {
      path: settings.tokenizer,
      reason: `it has ${tokenizer.vocabSize} tokens, and vocab_size in ${configPath} is ${config.vocab_size}; they must be equal`,
    })
  const { cache: directory } = settings
  return openData({
    ...settings,
    rows: settings.batch,
    relabel: Array.from(settings.relabel ?? ''),
    ...(directory !== undefined && { tokenCache: { directory, tokenizer: settings.tokenizer } }),
    config,
    tokenizer,
  })
}

function prepareOut({ out, tokenizer }: TrainSettings): void {
  mkdirSync(out, { recursive: true })
  if (resolve(tokenizer) === resolve(out)) return
  for (const file of readdirSync(tokenizer).filter((name) => name.startsWith('tokenizer.')))
    copyFileSync(join(tokenizer, file), join(out, file))
}

/** Weights in place of the random ones, where the settings ask for some. */
function initialWith(
  { alpha, distances, init, seed }: TrainSettings,
  config: ModelConfig,
): Pick<TrainOptions, 'initial'> {
  if (distances && config.answer.space === 'vocab')
    throw new BasinError('not_supported', {
      param: '--distances',
      reason: 'answers in vocabulary space have no position queries',
    })
  const drawn = distances && distancesFirst(initialWeights(config, seed, alpha), config, seed)
  if (init === undefined) return drawn ? { initial: drawn } : {}
  return { initial: new Map([...(drawn ?? []), ...initialOf(init, config)]) }
}

/**
 * The weights of `--init`. Position queries of a model with other blocks are left out, so that they are drawn
 * anew. Throws `invalid_request` if others have other shapes than the configuration says.
 */
function initialOf(init: string, config: ModelConfig): Checkpoint['tensors'] {
  const { config: before, tensors: all } = openCheckpoint(init)
  const sameBlock = before.answer.block === config.answer.block
  const tensors = new Map([...all].filter(([name]) => sameBlock || name !== QUERIES))
  for (const [name, shape] of tensorShapes(config)) {
    const given = tensors.get(name)
    if (given && given.shape.join() !== shape.join())
      throw new BasinError('invalid_request', {
        param: '--init',
        reason: `${name} is [${given.shape.join(', ')}] in ${init}, and [${shape.join(', ')}] in --config`,
      })
  }
  if (config.answer.anchor) return anchored(tensors, config)
  const begins = before.feed_forward && !config.feed_forward && config.energy.kind === 'residual'
  return begins ? withOpinion(tensors, config) : tensors
}

/** `not_written` if a disk, a quota or the largest file size was exceeded, otherwise the error itself. */
function asWriteError(error: unknown, path: string): unknown {
  const { code = '' } = error instanceof Error ? (error as NodeJS.ErrnoException) : {}
  return ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(code)
    ? new BasinError('not_written', { path, reason: code })
    : error
}
