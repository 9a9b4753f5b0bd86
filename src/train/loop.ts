/**
 * The training loop: batch, gradient, update, now and then a validation and a checkpoint. Batches and
 * random draws are functions of (seed, update), so a resumed run continues as if it had not stopped.
 */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Tensor, Tf } from '../energy/tfjs/backend.js'
import { Network } from '../energy/tfjs/network.js'
import { BasinError } from '../errors.js'
import { tensorShapes, writeCheckpoint } from '../model/checkpoint.js'
import type { ModelConfig } from '../model/config.js'
import {
  asFloat32,
  readSafetensors,
  writeSafetensors,
  type Float32Tensor,
} from '../model/safetensors.js'
import { uniform } from '../refine/random.js'
import type { Batch } from './batch.js'
import { evaluateBatches, type BudgetScore } from './evaluate.js'
import { initialWeights } from './initial.js'
import { inputsOf, type Objective } from './objectives/objective.js'
import { AdamW, type OptimizerOptions } from './optimizer.js'

export interface TrainOptions {
  /** Where the run keeps its state and, as it improves, the model. */
  out: string
  config: ModelConfig
  objective: Objective
  optimizer: OptimizerOptions
  seed: number
  /** Initial step size. */
  alpha: number
  /** Pure function of the update number. */
  batch: (update: number) => Batch
  validation: readonly Batch[]
  budgets: readonly number[]
  /** Updates between validations, and between checkpoints. */
  validateEvery: number
  saveEvery: number
  onUpdate: (report: UpdateReport) => void
  onValidation: (report: ValidationReport) => void
  /** Checked after every update: true stops, saved. */
  stop: (seconds: number) => boolean
}

export interface ValidationReport {
  update: number
  seconds: number
  cpuSeconds: number
  scores: BudgetScore[]
}

export interface UpdateReport {
  update: number
  updates: number
  /** Seconds of training so far, earlier sittings included: on the clock, and of all threads. */
  seconds: number
  cpuSeconds: number
  /** Cross-entropy in nats after each step with a loss. */
  losses: readonly number[]
  gradientNorm: number
  positions: number
}

type Parameter = Tensor & { assign(value: Tensor): void }

export const stateFile = 'state.safetensors'

export class Training {
  update = 0
  seconds = 0
  cpuSeconds = 0
  readonly network: Network
  private readonly parameters = new Map<string, Parameter>()
  private readonly optimizer: AdamW

  constructor(
    private readonly tf: Tf,
    private readonly options: TrainOptions,
  ) {
    options.objective.check(options.config)
    for (const [name, { shape, data }] of initialWeights(
      options.config,
      options.seed,
      options.alpha,
    ))
      this.parameters.set(name, tf.variable(tf.tensor(data, [...shape])))
    this.optimizer = new AdamW(tf, options.optimizer)
    this.network = new Network(tf, options.config, this.parameters)
    if (existsSync(join(options.out, stateFile))) this.restore()
  }

  /** Runs to the last update or until `stop` says so; returns the final validation. */
  async run(): Promise<BudgetScore[]> {
    const { options } = this
    mkdirSync(options.out, { recursive: true })
    while (this.update < options.optimizer.updates && !options.stop(this.seconds)) {
      this.step()
      // Lets signals in.
      await new Promise((resolve) => setImmediate(resolve))
      if (this.update % options.saveEvery === 0) this.save()
      if (this.update % options.validateEvery === 0 && this.update < options.optimizer.updates)
        this.validate()
    }
    this.save()
    return this.validate()
  }

  private step(): void {
    const { tf, options } = this
    const started = performance.now()
    const cpuBefore = process.cpuUsage()
    const batch = options.batch(this.update)
    tf.engine().startScope()
    let draws = 0
    const draw = () => uniform(options.seed, this.update, draws++)
    const inputs = inputsOf(this.network, batch)
    const { losses, gradients } = options.objective.update(this.network, inputs, draw)
    const gradientNorm = this.optimizer.apply(this.parameters, gradients, this.update)
    tf.engine().endScope()
    if (!Number.isFinite(gradientNorm))
      throw new BasinError('training_diverged', {
        update: this.update,
        reason: 'the gradient is not finite',
      })
    this.update++
    this.seconds += (performance.now() - started) / 1000
    const { user, system } = process.cpuUsage(cpuBefore)
    this.cpuSeconds += (user + system) / 1e6
    options.onUpdate({
      update: this.update,
      updates: options.optimizer.updates,
      seconds: this.seconds,
      cpuSeconds: this.cpuSeconds,
      losses,
      gradientNorm,
      positions: batch.moving.reduce((a, b) => a + b, 0),
    })
  }

  validate(): BudgetScore[] {
    const { options } = this
    const scores = evaluateBatches(this.network, options.validation, {
      budgets: options.budgets,
      keep: 'last',
      seed: 7,
    })
    const { update, seconds, cpuSeconds } = this
    options.onValidation({ update, seconds, cpuSeconds, scores })
    return scores
  }

  /** Writes the resumable state, then the model; both atomically. */
  save(): void {
    const weights = this.download(this.parameters)
    const state = new Map(weights)
    for (const [name, tensor] of this.download(this.optimizer.first))
      state.set(`first/${name}`, tensor)
    for (const [name, tensor] of this.download(this.optimizer.second))
      state.set(`second/${name}`, tensor)
    const metadata = {
      update: String(this.update),
      seconds: String(this.seconds),
      cpu_seconds: String(this.cpuSeconds),
      seed: String(this.options.seed),
    }
    writeSafetensors(join(this.options.out, stateFile), state, metadata)
    writeCheckpoint(this.options.out, { config: this.options.config, tensors: weights })
  }

  private restore(): void {
    const path = join(this.options.out, stateFile)
    const { tensors, metadata } = readSafetensors(path)
    const load = (name: string, shape: readonly number[]): Tensor => {
      const stored = tensors.get(name)
      if (stored?.shape.join() !== shape.join())
        throw new BasinError('invalid_checkpoint', {
          path,
          reason: `${name} is missing or has another shape: was the run started with other settings?`,
        })
      return this.tf.tensor(asFloat32(stored, name, path), [...shape])
    }
    if (metadata['seed'] !== String(this.options.seed))
      throw new BasinError('invalid_checkpoint', {
        path,
        reason: `the run was started with --seed ${metadata['seed'] ?? '?'}`,
      })
    for (const [name, shape] of tensorShapes(this.options.config)) {
      const value = load(name, shape)
      this.parameters.get(name)?.assign(value)
      value.dispose()
      if (tensors.has(`first/${name}`))
        this.optimizer.restore(name, load(`first/${name}`, shape), load(`second/${name}`, shape))
    }
    this.update = Number(metadata['update'])
    this.seconds = Number(metadata['seconds'])
    this.cpuSeconds = Number(metadata['cpu_seconds'])
  }

  private download(tensors: ReadonlyMap<string, Tensor>): Map<string, Float32Tensor> {
    return new Map(
      [...tensors].map(([name, t]) => [
        name,
        { shape: t.shape, data: t.dataSync() as Float32Array },
      ]),
    )
  }
}
