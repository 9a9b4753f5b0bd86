/**
 * The WebGPU engine: docs/mathematics.md in WGSL, on any GPU that has a driver, in Node and in browsers.
 * This file turns rows of the interface into rows of the device and results back; docs/webgpu.md says
 * how the rest is laid out. Verbs that need no result return once their work is submitted: the device
 * does it in order.
 */
import { BasinError } from '../../errors.js'
import type { Checkpoint } from '../../model/checkpoint.js'
import type { ModelConfig } from '../../model/config.js'
import type {
  BeginRow,
  DescendRow,
  EnergyEngine,
  EnergyResult,
  EnergyRow,
  EngineCapacity,
  EngineInfo,
  ObserveRow,
  PointRow,
  Readout,
  ReadRow,
  StepResult,
} from '../engine.js'
import { type Interrupt, isRaised } from '../interrupt.js'
import { checkRange, outOfRange } from '../range.js'
import { roundsOf } from '../rounds.js'
import { checkAnswer, checkBegin, checkPush, isPushed } from '../row-checks.js'
import { begunBy, SlotTable } from '../slot-table.js'
import { alphaOf, rowStepSize } from '../step-size.js'
import { makeActivations, type Activations } from './activations.js'
import { Answers } from './answers.js'
import { ContextTable } from './context-table.js'
import type { Device } from './device.js'
import { flag, unknownEnergy } from './kernels/source.js'
import { Memory } from './memory.js'
import { Pace } from './pace.js'
import { withRowWidth } from './padding.js'
import { makePrograms, type Programs, type State } from './program.js'
import type { DeviceRow } from './device-rows.js'
import { resultNumbers, Runner } from './runner.js'
import { Pushes } from './pushes.js'
import { SavedAnswers } from './saved-answers.js'
import { shapeOf, webgpuPageSize, type Shape } from './shape.js'
import { makeState } from './state.js'
import { TokenVectors } from './token-vectors.js'
import { packWeights } from './weights.js'

/** Tokens of one call that are observed in one go. */
interface ObservedRun {
  row: ObserveRow
  /** Position of its first token. */
  start: number
  /** Where the call's row stands among all. */
  index: number
}

/** What an engine is made of, once the device has all of it. */
interface Made {
  device: Device
  memory: Memory
  shape: Shape
  state: State
  activations: Activations
  programs: Programs
}

export interface WebgpuOptions {
  capacity: Omit<EngineCapacity, 'pageSize'>
  reason: string
  /** What saved answers must have in common: of the model and its weights, 32 bytes. */
  identity: Uint8Array
}

export class WebgpuEngine implements EnergyEngine {
  readonly model: ModelConfig
  readonly info: EngineInfo
  readonly capacity: EngineCapacity
  readonly identity: Uint8Array
  private readonly device: Device
  private readonly held: Memory
  private readonly shape: Shape
  private readonly state: State
  private readonly activations: Activations
  private readonly programs: Programs
  private readonly runner: Runner
  private readonly contexts: ContextTable
  private readonly slots: SlotTable
  private readonly vectors: TokenVectors
  private readonly answers: Answers
  private readonly savedAnswers: SavedAnswers
  private readonly pushes: Pushes
  private readonly pace = new Pace()
  private readonly alpha: number
  private readonly norm: Float32Array
  private closed = false

  private constructor(checkpoint: Checkpoint, made: Made, options: WebgpuOptions) {
    const { capacity, identity, reason } = options
    const { activations, device, memory, programs, shape, state } = made
    this.model = checkpoint.config
    const pageSize = webgpuPageSize
    this.capacity = { ...capacity, pageSize, sharesPages: true, takesPushes: true }
    this.info = { name: 'webgpu', backend: device.adapter.name, threads: 1, reason }
    this.device = device
    this.held = memory
    this.shape = shape
    this.state = state
    this.activations = activations
    this.programs = programs
    this.runner = new Runner(device, shape, state, activations)
    this.contexts = new ContextTable(shape)
    this.slots = new SlotTable(capacity.slots)
    this.vectors = new TokenVectors(shape, checkpoint)
    const { contexts, runner, slots, vectors } = this
    this.answers = new Answers({ ...made, runner, slots, vectors })
    this.identity = identity
    this.savedAnswers = new SavedAnswers({ ...made, contexts, slots }, identity)
    this.pushes = new Pushes({ ...made, vectors })
    this.alpha = alphaOf(checkpoint)
    this.norm = checkpoint.tensors.get('transformer.norm.weight')?.data ?? new Float32Array(0)
  }

  /**
   * Throws `backend_missing` where the adapter cannot hold the model, `invalid_checkpoint` where a
   * tensor is missing.
   */
  static async open(
    checkpoint: Checkpoint,
    device: Device,
    options: WebgpuOptions,
  ): Promise<WebgpuEngine> {
    const shape = shapeOf(checkpoint.config, options.capacity)
    const memory = new Memory(device)
    device.enter()
    try {
      const { activations, state, weights } = await memory.making(() => {
        const weights = packWeights(shape, checkpoint, memory)
        const activations = makeActivations(shape, memory, device.largestBuffer)
        return { weights, activations, state: makeState(shape, memory, activations) }
      })
      const programs = await makePrograms(device, shape, weights, state, activations)
      const made = { activations, device, memory, programs, shape, state }
      const engine = new WebgpuEngine(checkpoint, made, options)
      if (shape.sink === 1) engine.observeStepTokens()
      return engine
    } catch (error) {
      memory.free()
      await device.leave()
      throw error
    }
  }

  observe(rows: readonly ObserveRow[]): void {
    this.check()
    const starts = this.contexts.enter(rows)
    const program = this.shape.contextDrafts ? this.programs.observeWhole : this.programs.observe
    for (const runs of this.separate(rows, starts)) {
      this.writePages(runs)
      const device = this.tokensOf(runs)
      this.runner.enqueue({
        rows: device,
        rounds: [device.length],
        block: 1,
        programs: () => [{ program }],
      })
    }
  }

  async encode(rows: readonly ObserveRow[]): Promise<Float32Array[]> {
    this.check()
    const { caches, dim, ld } = this.shape
    const starts = this.contexts.enter(rows)
    const sums = rows.map(() => new Float64Array(dim))
    for (const runs of this.separate(rows, starts)) {
      this.writePages(runs)
      const device = this.tokensOf(runs)
      // The last landscape's tokens stand last.
      const owners = runs.flatMap(({ index, row }) => row.tokens.map(() => index))
      const before = device.length - owners.length
      await this.runner.eachPass(
        {
          rows: device,
          rounds: Array.from({ length: caches }, () => owners.length),
          block: 1,
          programs: () => [{ program: this.programs.observeWhole }],
        },
        ({ positions }) => [{ buffer: this.activations.last, from: 0, bytes: 4 * ld * positions }],
        ([data], first, count) => {
          const states = new Float32Array(data as ArrayBuffer)
          for (let i = 0; i < count; i++) {
            const sum = sums[owners[first + i - before] ?? -1]
            if (sum) this.addNormed(sum, states.subarray(i * ld, i * ld + dim))
          }
        },
      )
    }
    return sums.map((sum) => Float32Array.from(sum))
  }

  begin(rows: readonly BeginRow[]): void {
    this.check()
    for (const row of rows) checkBegin(this.model, this.capacity, row)
    const { block } = this.shape
    for (const row of rows) {
      const { clamped, slot } = row
      this.slots.set(slot, begunBy(this.model, row))
      this.device.write(
        this.state.tokens,
        4 * slot * block,
        Int32Array.from({ length: block }, (_, i) => clamped?.[i] ?? -1),
      )
      this.device.write(this.state.bestEnergies, 4 * slot, Float32Array.of(unknownEnergy))
    }
    this.start(rows)
  }

  async descend(rows: readonly DescendRow[], interrupt?: Interrupt): Promise<StepResult[]> {
    this.check()
    for (const row of rows) {
      const { landscape, noise, slot, stepSize = 0 } = row
      checkPush(this.model, row)
      this.slots.get(slot)
      checkRange('landscape', landscape, this.model.landscapes)
      if (!Number.isFinite(noise)) throw notFinite('noise', noise)
      if (!Number.isFinite(stepSize)) throw notFinite('stepSize', stepSize)
    }
    const rounds = roundsOf(rows)
    // A slot has room for one push, which is made of the state before its step.
    const pushed = rows.some(isPushed)
    const parts: Promise<StepResult[]>[] = []
    try {
      for (let next = 0; next < rounds.length;) {
        const asked = interrupt !== undefined && isRaised(interrupt)
        if (asked && next > 0) break
        this.check()
        const most = pushed || asked ? 1 : this.pace.rounds
        const together = rounds.slice(next, next + most)
        const wanted = together.flatMap((round) => round.map((i) => rows[i] as DescendRow))
        const lengths = together.map((round) => round.length)
        parts.push(this.steps(wanted, lengths))
        // The device computes one part while the next is made ready.
        await parts.at(pushed ? -1 : -2)
        next += together.length
      }
      return (await Promise.all(parts)).flat()
    } catch (error) {
      await Promise.allSettled(parts)
      throw error
    }
  }

  async energy(rows: readonly EnergyRow[]): Promise<EnergyResult[]> {
    this.check()
    const { block } = this.shape
    const device = rows.map((row) => this.energyRow(row))
    const results: EnergyResult[] = []
    await this.runner.eachPass(
      {
        rows: device,
        rounds: [rows.length],
        block,
        programs: () => [{ program: this.programs.energy }],
      },
      ({ answers }) => [
        { buffer: this.state.results, from: 0, bytes: 4 * resultNumbers * answers },
      ],
      ([data], _, count) => {
        const numbers = new Float32Array(data as ArrayBuffer)
        for (let i = 0; i < count; i++) results.push(this.resultAt(numbers, i))
      },
      (index) => {
        const row = rows[index] as EnergyRow
        return Int32Array.from({ length: block }, (_, i) =>
          'slot' in row ? 0 : (row.answer[i] ?? 0),
        )
      },
    )
    return results
  }

  async read(rows: readonly ReadRow[]): Promise<Readout[]> {
    this.check()
    return await this.answers.read(rows)
  }

  async points(rows: readonly PointRow[]): Promise<Float32Array[]> {
    this.check()
    return await this.answers.points(rows)
  }

  tokenVectors(tokens: readonly number[]): Float32Array[] {
    return this.vectors.of(tokens)
  }

  async save(slot: number): Promise<Uint8Array> {
    this.check()
    return await this.savedAnswers.save(slot)
  }

  restore(slot: number, contextId: number, state: Uint8Array): void {
    this.check()
    this.savedAnswers.restore(slot, contextId, state)
  }

  release(contextId: number): void {
    this.slots.release(contextId)
    this.contexts.release(contextId)
  }

  /** Dispatches of one step of a pass that keeps all its steps. */
  get dispatchesOfStep(): number {
    return this.programs.step.length
  }

  memory(): number {
    return this.held.bytes
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    this.held.free()
    await this.device.leave()
  }

  /** Throws `engine_failed` where the device was lost, or the engine closed. */
  private check(): void {
    if (this.closed) throw new BasinError('engine_failed', { reason: 'the engine was closed' })
    this.device.check()
  }

  /** The step token of `time_embed`, of every landscape: all contexts begin with it. */
  private observeStepTokens(): void {
    const rows = Array.from({ length: this.shape.landscapes }, (_, landscape) => ({
      slot: 0,
      contextId: 0,
      landscape,
      own: 0,
      context: 1,
      position: 0,
      flags: flag.observed | flag.stepToken,
    }))
    this.runner.enqueue({
      rows,
      rounds: [rows.length],
      block: 1,
      programs: () => [{ program: this.programs.observe }],
    })
  }

  /** Rows in groups that may be observed at once: a context comes once in each. */
  private *separate(
    rows: readonly ObserveRow[],
    starts: readonly number[],
  ): Generator<ObservedRun[]> {
    let runs: ObservedRun[] = []
    const seen = new Set<number>()
    for (const [index, row] of rows.entries()) {
      if (seen.has(row.contextId)) {
        yield runs
        runs = []
        seen.clear()
      }
      seen.add(row.contextId)
      runs.push({ row, index, start: starts[index] as number })
    }
    if (runs.length > 0) yield runs
  }

  private writePages(runs: readonly ObservedRun[]): void {
    const { pagesPerContext: most } = this.shape
    for (const { row } of runs)
      this.device.write(
        this.state.pages,
        4 * row.contextId * most,
        Uint32Array.from(row.pages.slice(0, most)),
      )
  }

  /** Every token of every run, once for each cache: those of a landscape stand together. */
  private tokensOf(runs: readonly ObservedRun[]): DeviceRow[] {
    const { caches, sink } = this.shape
    return Array.from({ length: caches }, (_, landscape) =>
      runs.flatMap(({ row: { contextId, tokens }, start }) =>
        tokens.map((token, i): DeviceRow => {
          const position = sink + start + i
          const last = i + 1 === tokens.length
          return {
            slot: 0,
            contextId,
            landscape,
            own: 0,
            token,
            position,
            context: position + 1,
            flags: flag.observed | (last ? flag.last : 0),
          }
        }),
      ),
    ).flat()
  }

  /** sum <- sum + norm(h) */
  private addNormed(sum: Float64Array, h: Float32Array): void {
    let square = 0
    for (const x of h) square += x * x
    const inverse = 1 / Math.sqrt(square / h.length + this.model.norm_eps)
    for (let c = 0; c < h.length; c++)
      sum[c] = (sum[c] as number) + (h[c] as number) * inverse * (this.norm[c] as number)
  }

  /** Puts the states of slots where their answers begin. */
  private start(rows: readonly BeginRow[]): void {
    const { block, contextDrafts, ldState } = this.shape
    const { drafts, last, state } = this.state
    const { start } = this.model.answer
    const size = 4 * block * ldState
    const own = rows.filter((row) => !row.start)
    for (const row of rows)
      if (row.start)
        this.device.write(state, row.slot * size, withRowWidth(row.start, block, ldState))
    const encoder = this.device.encoder()
    for (const { contextId, slot } of own) {
      if (contextDrafts && drafts && this.contexts.length(contextId) > 0)
        encoder.copyBufferToBuffer(drafts, contextId * size, state, slot * size, size)
      else encoder.clearBuffer(state, slot * size, size)
    }
    this.device.submit(encoder)
    const program = start === 'noise' ? this.programs.noise : this.programs.draft
    if (program.length > 0 && start !== 'zeros' && own.length > 0)
      this.runner.enqueue({
        rows: own.map((row) => this.candidateRow(row.slot, 0, flag.zero)),
        rounds: [own.length],
        block,
        programs: () => [{ program }],
      })
    if (last === state) return
    const copies = this.device.encoder()
    for (const { slot } of rows)
      copies.copyBufferToBuffer(state, slot * size, last, slot * size, size)
    this.device.submit(copies)
  }

  /** A slot's answer as a row of all K positions, with flags and, of a step, its numbers. */
  private candidateRow(
    index: number,
    landscape: number,
    flags: number,
    { step, alpha, noise } = noStep,
  ): DeviceRow {
    const { candidate, seed, contextId } = this.slots.get(index)
    const context = this.shape.sink + this.contexts.length(contextId)
    return {
      slot: index,
      contextId,
      context,
      position: context,
      landscape,
      own: this.shape.block,
      flags,
      step,
      alpha,
      noise,
      seed,
      candidate,
    }
  }

  private normalized(first: boolean): number {
    const { normalize, space } = this.model.answer
    if (space === 'latent') return 0
    return normalize === 'every_step' || (normalize === 'first_step' && first) ? flag.normalized : 0
  }

  private async steps(
    rows: readonly DescendRow[],
    rounds: readonly number[],
  ): Promise<StepResult[]> {
    const residual = this.shape.residual
    const pushed = rows.filter(isPushed)
    if (pushed.length > 0) await this.pushes.upload(pushed)
    const device = rows.map((row): DeviceRow => {
      const slot = this.slots.get(row.slot)
      const counts = residual || slot.stateIsAnswer
      slot.stateIsAnswer = true
      const flags =
        this.normalized(row.step === 0) |
        (counts ? flag.counts : 0) |
        (row.acceptLower ? flag.acceptLower : 0) |
        (isPushed(row) ? flag.pushed : 0)
      const { noise, step } = row
      const alpha = rowStepSize(this.model, this.alpha, row)
      return this.candidateRow(row.slot, row.landscape, flags, { step, alpha, noise })
    })
    const { probe, step } = this.programs
    const began = performance.now()
    const numbers = await this.runner.results({
      rows: device,
      rounds,
      block: this.shape.block,
      programs: (pass) => [
        { program: step },
        ...(pass.some(({ flags }) => (flags & flag.acceptLower) !== 0)
          ? [{ program: probe, probe: true }]
          : []),
      ],
    })
    this.pace.took(rounds.length, began, performance.now())
    return rows.map((_, i) => this.stepResultAt(numbers, i))
  }

  private energyRow(row: EnergyRow): DeviceRow {
    checkRange('landscape', row.landscape, this.model.landscapes)
    if ('slot' in row) {
      const slot = this.slots.get(row.slot)
      const counts = slot.stateIsAnswer && !this.shape.residual
      const flags = this.normalized(!slot.stateIsAnswer) | (counts ? flag.counts : 0)
      return this.candidateRow(row.slot, row.landscape, flags)
    }
    checkAnswer(this.model, this.capacity, row)
    const { answer, landscape, contextId } = row
    const context = this.shape.sink + this.contexts.length(contextId)
    return {
      slot: 0,
      contextId,
      context,
      position: context,
      landscape,
      own: answer.length,
      flags: flag.given,
    }
  }

  private resultAt(numbers: Float32Array, row: number): EnergyResult {
    const { best, energy, parts } = this.stepResultAt(numbers, row)
    return { energy, best, ...(parts && { parts }) }
  }

  private stepResultAt(numbers: Float32Array, row: number): StepResult {
    const at = row * resultNumbers
    const [energy, gradientNorm] = [numbers[at] as number, numbers[at + 1] as number]
    const least = numbers[at + 2] as number
    const best = least >= unknownEnergy ? Infinity : least
    if (!this.shape.residual) return { energy, best, gradientNorm }
    const [disagreement, doubt] = [numbers[at + 3] as number, numbers[at + 4] as number]
    return { energy, best, gradientNorm, parts: { disagreement, doubt } }
  }
}

/** Of a row that is no step. */
const noStep = { step: 0, alpha: 0, noise: 0 }

const notFinite = (param: string, value: number): BasinError =>
  outOfRange(param, 'a finite number', value)
