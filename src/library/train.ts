/** Training in one's own program, as `basin train` does it. */
import { EventEmitter, on } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TSchema, Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { backendChoices } from '../energy/tfjs/backend.js'
import { BasinError } from '../errors.js'
import { refusal } from '../server/schema-errors.js'
import { exact } from '../server/schemas/settings-schema.js'
import type { BudgetScore } from '../train/evaluation/answer-scores.js'
import type { UpdateReport, ValidationReport } from '../train/loop.js'
import { objectiveNames } from '../train/objectives/choose-objective.js'
import { contrasts } from '../train/objectives/contrastive.js'
import { capacities } from '../train/objectives/regularized.js'
import { optimizers } from '../train/optimizer.js'
import { directoryOf } from './model.js'
import {
  type ConfigSource,
  openTraining,
  trainDefaults,
  type TrainSettings,
} from './training-run.js'

type Required = 'data' | 'out' | 'tokenizer' | 'valid'

/** What is absent has the default of `basin train`. */
export interface TrainRequest extends Partial<Omit<TrainSettings, Required | 'init'>> {
  /**
   * The network: the name of a model of the package, a directory with a config.json, or what a config.json
   * holds. Only its configuration is used; `init` starts from weights.
   */
  model: string | Readonly<Record<string, unknown>>
  /** Directory, or name in the package, of a model whose weights the run starts from. */
  init?: string
  /** A directory with a tokenizer.json; default: that of the model. */
  tokenizer?: string
  /** Text files, or one file of JSON lines. */
  data: string | string[]
  /** Held-out data of the same kind. */
  valid: string | string[]
  /** Directory for the model and its resumable state. */
  out: string
  /** Saves and ends the run, which is then rejected with the signal's reason. */
  signal?: AbortSignal
}

export type TrainingReport =
  ({ type: 'update' } & UpdateReport) | ({ type: 'validation' } & ValidationReport)

export interface TrainingResult {
  /** Of the model, for `openModel`. */
  directory: string
  /** The updates of the run, those before a resume included. */
  updates: number
  /** Of the last validation, by numbers of steps. */
  scores: readonly BudgetScore[]
}

const count = (minimum = 0) => Type.Integer({ minimum, maximum: Number.MAX_SAFE_INTEGER })
const real = (maximum = Number.MAX_VALUE, minimum = 0) => Type.Number({ minimum, maximum })
const oneOf = (choices: readonly string[]) => Type.Unsafe<string>({ enum: choices })
const flag = Type.Literal(true)
const Files = Type.Array(Type.String(), { minItems: 1 })

/** Every setting has its bounds here; the type says so where one is added. */
const Settings = Type.Partial(
  Type.Object({
    init: Type.String(),
    name: Type.String(),
    updates: count(1),
    batch: count(1),
    window: count(1),
    optimizer: oneOf(optimizers),
    lr: real(),
    warmup: count(),
    clip: real(),
    weightDecay: real(),
    beta2: real(),
    alpha: real(),
    alphaMultiplier: real(),
    muonStep: real(),
    seed: count(),
    relabel: Type.String(),
    symmetries: flag,
    distances: flag,
    given: Type.Object({ min: real(1), max: real(1) }, exact),
    average: real(1),
    budgets: Type.Array(count(), { minItems: 1 }),
    validRows: count(1),
    validateEvery: count(1),
    saveEvery: count(1),
    maxSeconds: real(),
    backend: oneOf(backendChoices),
    threads: count(1),
    strict: Type.Boolean(),
    cache: Type.String(),
    collapseAt: real(1),
    objective: oneOf(objectiveNames),
    stage: oneOf(['s1', 's2']),
    steps: count(1),
    through: flag,
    lastLoss: flag,
    truncate: flag,
    stepSizeScale: real(undefined, 1),
    repeats: count(),
    leastRepeats: count(),
    repeatLast: flag,
    noise: real(),
    leastNoise: real(),
    still: real(1),
    lean: real(),
    damping: real(1),
    pathNoise: real(),
    bestOf: count(1),
    trim: real(0.99),
    fixedAlpha: flag,
    clamp: real(),
    absoluteClamp: real(),
    sharpen: real(),
    contrastWeight: real(),
    riseWeight: real(),
    replay: count(),
    replayShare: real(16),
    replayUnsolved: flag,
    byAnswer: flag,
    contextLoss: real(),
    ownAnswers: real(),
    horizon: count(),
    lossSteps: count(1),
    contrast: oneOf(contrasts),
    negatives: count(1),
    corruption: real(1),
    temperature: real(undefined, 1e-6),
    margin: real(),
    penalty: real(),
    variance: real(),
    covariance: real(),
    capacity: oneOf(capacities),
    capacityWeight: real(),
    readoutWeight: real(),
    teacher: Type.String(),
    own: real(1),
  } satisfies Record<Exclude<keyof TrainSettings, Required>, TSchema>),
)
const Asked = Type.Object(
  {
    ...Settings.properties,
    data: Files,
    valid: Files,
    out: Type.String(),
    tokenizer: Type.String(),
  },
  exact,
)
const asked = Compile(Asked)

/** Throws `invalid_request` or `out_of_range` with the name of the field. */
function settingsOf(request: TrainRequest): TrainSettings {
  const present = Object.fromEntries(
    Object.entries(request as object).filter(
      ([name, value]) => value !== undefined && name !== 'model' && name !== 'signal',
    ),
  )
  const given = {
    ...present,
    ...(request.init !== undefined && { init: directoryOf(request.init) }),
    data: [request.data].flat(),
    valid: [request.valid].flat(),
    tokenizer: request.tokenizer ?? tokenizerOf(request.model),
  }
  if (asked.Check(given)) return { ...trainDefaults, ...given } as TrainSettings
  throw refusal(asked.Errors(given), given, 'request')
}

function tokenizerOf(model: TrainRequest['model']): string {
  if (typeof model === 'string') return directoryOf(model)
  const reason =
    'a model that is given by its configuration needs a directory with a tokenizer.json'
  throw new BasinError('invalid_request', { param: 'tokenizer', reason })
}

function sourceOf(model: TrainRequest['model']): ConfigSource {
  if (typeof model !== 'string') return { json: model, path: 'model' }
  const path = join(directoryOf(model), 'config.json')
  return { json: JSON.parse(readFileSync(path, 'utf8')) as ConfigSource['json'], path }
}

/** For one reader. Leaving the loop early saves and ends the run. */
export class TrainingRun implements AsyncIterable<TrainingReport> {
  private ended: TrainingResult | undefined
  private readonly reports: AsyncGenerator<TrainingReport, void>

  constructor(settings: TrainSettings, source: ConfigSource, signal: AbortSignal | undefined) {
    this.reports = this.run(settings, source, signal)
  }

  [Symbol.asyncIterator](): AsyncGenerator<TrainingReport, void> {
    return this.reports
  }

  /**
   * The trained model, once the run is over: it takes the reports that nobody has read. Rejects with what the
   * run failed with, and with the reason of the signal.
   */
  async result(): Promise<TrainingResult> {
    while (!(await this.reports.next()).done);
    if (this.ended) return this.ended
    throw new Error('the loop over the reports was left before the training had ended')
  }

  private async *run(
    settings: TrainSettings,
    source: ConfigSource,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<TrainingReport, void> {
    signal?.throwIfAborted()
    const emitter = new EventEmitter()
    const report = (each: TrainingReport) => emitter.emit('report', each)
    let left = false
    const { run, training } = await openTraining(settings, source, {
      onUpdate: (update) => report({ type: 'update', ...update }),
      onValidation: (validation) => report({ type: 'validation', ...validation }),
      stop: () => left || (signal?.aborted ?? false),
    })
    const reports = on(emitter, 'report', { close: ['end'] }) as AsyncIterable<[TrainingReport]>
    const running = Promise.allSettled([run()]).finally(() => emitter.emit('end'))
    try {
      for await (const [each] of reports) yield each
      const [outcome] = await running
      if (outcome.status === 'rejected') throw outcome.reason
      signal?.throwIfAborted()
      this.ended = { directory: settings.out, updates: training.update, scores: outcome.value }
    } finally {
      left = true
      await running
      training.dispose()
    }
  }
}

/**
 * Trains a model on one's own text. The run saves its state in `out`; the same call again resumes it, as the
 * command `basin train` with the same settings would. It computes in this thread, between whose updates other
 * work gets its turn: a program that serves meanwhile trains in a worker thread. Throws what is wrong with the
 * settings; the rest is thrown by the loop.
 */
export function train(request: TrainRequest): TrainingRun {
  return new TrainingRun(settingsOf(request), sourceOf(request.model), request.signal)
}
