/**
 * The training loop: batch, gradient, update, and at intervals a validation and a checkpoint. Batches and
 * random draws are functions of (seed, update), so a resumed run continues as if it had not stopped.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Tensor, Tf } from '../energy/tfjs/backend.js'
import { Network } from '../energy/tfjs/network.js'
import { readTensors } from '../energy/tfjs/read-tensors.js'
import { BasinError } from '../errors.js'
import { tensorShapes, weightsFile, writeCheckpoint } from '../model/checkpoint.js'
import type { ModelConfig } from '../model/config.js'
import type { Float32Tensor } from '../model/safetensors.js'
import { uniform } from '../refine/random.js'
import type { Batch } from './data/training-batch.js'
import { diagnose, hasCollapsed, type Diagnosis } from './evaluation/diagnose.js'
import { evaluateBatches } from './evaluation/evaluate.js'
import type { BudgetScore } from './evaluation/answer-scores.js'
import { WeightAverage, type Parameter } from './ema.js'
import { initialWeights } from './initial-weights.js'
import type { Objective } from './objectives/objective.js'
import { Optimizer, type OptimizerOptions } from './optimizer.js'
import { computeUpdate } from './update.js'
import {
  checkSettings,
  readState,
  trainingStateFile,
  verifyTensors,
  writeState,
  type TrainingSettings,
  type TrainingState,
} from './training-state.js'

export interface TrainOptions {
  /** Directory of the resumable state and of the model. */
  out: string
  config: ModelConfig
  objective: Objective
  optimizer: OptimizerOptions
  seed: number
  /** Further settings that must not change when a run is resumed, since its numbers depend on them. */
  settings: TrainingSettings
  /** Initial step size. */
  alpha: number
  /** A pure function of the update number. */
  batch: (update: number) => Batch
  validation: readonly Batch[]
  budgets: readonly number[]
  /** Updates between validations, and between checkpoints. */
  validateEvery: number
  saveEvery: number
  /** The run ends if the spread of energies falls below this share of its first value; 0: it never does. */
  collapseAt: number
  /** Rate of the moving average of the weights, which is then the model; absent for none. */
  average?: number
  /** Weights that replace the random ones of the same name and shape. */
  initial?: ReadonlyMap<string, Float32Tensor>
  onUpdate: (report: UpdateReport) => void
  onValidation: (report: ValidationReport) => void
  /** Called after every update; true saves and ends the run. */
  stop: (seconds: number) => boolean
}

export interface ValidationReport {
  update: number
  seconds: number
  cpuSeconds: number
  scores: BudgetScore[]
  /** Absent for a feed-forward control: it has no energy. */
  diagnosis?: Diagnosis
}

export interface UpdateReport {
  update: number
  updates: number
  /** Seconds of training so far, those before a resume included: on the clock, and of all threads. */
  seconds: number
  cpuSeconds: number
  /** Cross-entropy in nats after each step with a loss; empty if the objective reads no answers out. */
  losses: readonly number[]
  /** The scalar that is minimised. */
  value: number
  /** Further figures of the objective, by name. */
  measures: Readonly<Record<string, number>>
  gradientNorm: number
  positions: number
}

export class Training {
  update = 0
  seconds = 0
  cpuSeconds = 0
  /** Spread of energies over answers at update 0. */
  firstSpread = NaN
  readonly network: Network
  private readonly parameters = new Map<string, Parameter>()
  private readonly optimizer: Optimizer
  private readonly average: WeightAverage | undefined
  /** The model: the average of the weights where there is one. */
  private readonly model: Network

  constructor(
    private readonly tf: Tf,
    private readonly options: TrainOptions,
  ) {
    options.objective.check(options.config)
    const fresh = initialWeights(options.config, options.seed, options.alpha)
    for (const [name, { shape, data }] of fresh) {
      const given = name === 'alpha' ? undefined : options.initial?.get(name)
      const fits = given?.shape.join() === shape.join()
      const first = tf.tensor(fits ? given.data : data, [...shape])
      this.parameters.set(name, tf.variable(first))
      // A variable counts as a holder of its data beside the tensor that it is made of.
      first.dispose()
    }
    this.optimizer = new Optimizer(tf, options.optimizer)
    this.network = new Network(tf, options.config, this.parameters)
    this.average =
      options.average === undefined
        ? undefined
        : new WeightAverage(tf, options.average, this.parameters)
    this.model = this.average ? new Network(tf, options.config, this.average.weights) : this.network
    const state = readState(options.out)
    if (state) this.restore(state)
  }

  /** Trains to the last update, or until `stop` returns true; returns the final validation. */
  async run(): Promise<BudgetScore[]> {
    const { options } = this
    mkdirSync(options.out, { recursive: true })
    if (this.update === 0) this.firstSpread = (await this.diagnosis())?.spread ?? NaN
    while (this.update < options.optimizer.updates && !options.stop(this.seconds)) {
      await this.step()
      // Signals are handled between updates.
      await new Promise((resolve) => setImmediate(resolve))
      if (this.update % options.saveEvery === 0) await this.save()
      if (this.update % options.validateEvery === 0 && this.update < options.optimizer.updates)
        await this.validate()
    }
    await this.save()
    return this.validate()
  }

  private async step(): Promise<void> {
    const { tf, options } = this
    const started = performance.now()
    const cpuBefore = process.cpuUsage()
    const batch = options.batch(this.update)
    let draws = 0
    const draw = () => uniform(options.seed, this.update, draws++)
    const { gradients, ...figures } = await computeUpdate(
      this.network,
      options.objective,
      batch,
      draw,
    )
    if (!Number.isFinite(figures.gradientNorm))
      throw new BasinError('training_diverged', {
        update: this.update,
        reason: 'the gradient is not finite',
      })
    this.optimizer.apply(this.parameters, gradients, figures.gradientNorm, this.update)
    this.average?.follow(this.parameters, this.update)
    tf.dispose([...gradients.values()])
    this.update++
    this.seconds += (performance.now() - started) / 1000
    const { user, system } = process.cpuUsage(cpuBefore)
    this.cpuSeconds += (user + system) / 1e6
    options.onUpdate({
      update: this.update,
      updates: options.optimizer.updates,
      seconds: this.seconds,
      cpuSeconds: this.cpuSeconds,
      ...figures,
      positions: batch.moving.reduce((a, b) => a + b, 0),
    })
  }

  async validate(): Promise<BudgetScore[]> {
    const { options } = this
    const scores = await evaluateBatches(this.model, options.validation, {
      budgets: options.budgets,
      keep: 'last',
      seed: 7,
    })
    const { update, seconds, cpuSeconds } = this
    const diagnosis = await this.diagnosis()
    options.onValidation({ update, seconds, cpuSeconds, scores, ...(diagnosis && { diagnosis }) })
    if (diagnosis && update > 0) this.refuseCollapse(diagnosis.spread)
    return scores
  }

  /** Of the first validation batch. */
  private async diagnosis(): Promise<Diagnosis | undefined> {
    const { config, validation } = this.options
    const [batch] = validation
    if (config.feed_forward || !batch) return undefined
    return diagnose(this.model, batch, { seed: 7, wrong: 8, steps: config.steps })
  }

  private refuseCollapse(spread: number): void {
    const { firstSpread, update } = this
    if (!hasCollapsed(spread, firstSpread, this.options.collapseAt)) return
    const share = ((100 * spread) / firstSpread).toPrecision(2)
    throw new BasinError('training_collapsed', {
      update,
      reason: `the spread of energies over answers is ${spread.toPrecision(3)}, ${share} % of what it was before training; --collapse-at 0 lets such a run go on`,
    })
  }

  /** Writes the resumable state, then the model. Each is read back to check what was written. */
  async save(): Promise<void> {
    const { options } = this
    const weights = await this.download(this.parameters)
    const prefixed = (prefix: string, tensors: ReadonlyMap<string, Float32Tensor>) =>
      [...tensors].map(([name, tensor]) => [`${prefix}/${name}`, tensor] as const)
    const { update, seconds, cpuSeconds, firstSpread } = this
    const average = await this.download(this.average?.weights ?? new Map())
    const tensors = new Map([
      ...weights,
      ...prefixed('first', await this.download(this.optimizer.first)),
      ...prefixed('second', await this.download(this.optimizer.second)),
      ...prefixed('average', average),
      ...prefixed('memory', options.objective.memory?.save() ?? new Map()),
    ])
    const settings = { '--seed': options.seed, ...options.settings }
    writeState(options.out, { update, seconds, cpuSeconds, firstSpread, settings, tensors })
    const model = this.average ? average : weights
    writeCheckpoint(options.out, { config: options.config, tensors: model })
    verifyTensors(join(options.out, weightsFile), model)
  }

  /** Frees the tensors of the weights, of the average and of the optimizer. */
  dispose(): void {
    const { average, network, optimizer, parameters } = this
    network.dispose()
    if (average) this.model.dispose()
    for (const tensors of [parameters, optimizer.first, optimizer.second, average?.weights ?? []])
      for (const [, tensor] of tensors) tensor.dispose()
  }

  private restore({ settings, tensors, ...progress }: TrainingState): void {
    const { options } = this
    const path = join(options.out, trainingStateFile)
    checkSettings(path, settings, { '--seed': options.seed, ...options.settings })
    const load = (name: string, shape: readonly number[]): Tensor => {
      const stored = tensors.get(name)
      if (stored?.shape.join() !== shape.join())
        throw new BasinError('invalid_checkpoint', {
          path,
          reason: `${name} is missing or has another shape: was the run started with other settings?`,
        })
      return this.tf.tensor(stored.data, [...shape])
    }
    for (const [name, shape] of tensorShapes(options.config)) {
      const value = load(name, shape)
      this.parameters.get(name)?.assign(value)
      value.dispose()
      this.average?.restore(name, load(`average/${name}`, shape))
      if (tensors.has(`first/${name}`))
        this.optimizer.restore(
          name,
          load(`first/${name}`, shape),
          tensors.has(`second/${name}`) ? load(`second/${name}`, shape) : undefined,
        )
    }
    const memory = [...tensors].filter(([name]) => name.startsWith('memory/'))
    options.objective.memory?.restore(new Map(memory.map(([name, t]) => [name.slice(7), t])))
    Object.assign(this, progress)
  }

  private async download(
    tensors: ReadonlyMap<string, Tensor>,
  ): Promise<Map<string, Float32Tensor>> {
    const numbers = new Map<string, Float32Tensor>()
    for (const [name, t] of tensors) {
      const [data] = await readTensors(this.tf, () => [t])
      numbers.set(name, { shape: t.shape, data: data as Float32Array })
    }
    return numbers
  }
}
