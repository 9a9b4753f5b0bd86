/**
 * The native engine: fused C++ kernels on the CPU (native/), behind the interface of every engine.
 * This file turns rows into flat numbers and back; docs/native.md describes the rest.
 */
import { BasinError } from '../../errors.js'
import type { Checkpoint } from '../../model/checkpoint.js'
import { type ModelConfig, stateWidth } from '../../model/config.js'
import { seedWords } from '../../refine/random.js'
import type { Interrupt } from '../interrupt.js'
import {
  checkContextLength,
  decodeState,
  numbersOf,
  sealState,
  type StateOwner,
  unsealedState,
} from '../answer-state.js'
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
  Push,
  Readout,
  ReadRow,
  StepResult,
  MultiStepAnswer,
  MultiStepRow,
} from '../engine.js'
import { modelIdentity } from '../model-identity.js'
import { checkPush } from '../row-checks.js'
import { alphaOf, rowStepSize } from '../step-size.js'
import {
  type Addon,
  descendWidth,
  type Handle,
  refusing,
  resultWidth,
  multiStepWidth,
} from './addon.js'
import { nativePageSize, type NativeOptions, openConfig } from './options.js'

/** The addon knows them by their place in this list. */
const points = ['last', 'best', 'present'] as const

/** Each row: its context, first position (-1: the end), two lengths, then its tokens and pages. */
function flatOf(rows: readonly ObserveRow[]): Float64Array {
  const length = rows.reduce((sum, { tokens, pages }) => sum + 4 + tokens.length + pages.length, 0)
  const flat = new Float64Array(length)
  let at = 0
  for (const { contextId, from = -1, tokens, pages } of rows) {
    for (const number of [contextId, from, tokens.length, pages.length]) flat[at++] = number
    for (const token of tokens) flat[at++] = token
    for (const page of pages) flat[at++] = page
  }
  return flat
}

const none = new Float32Array(0)

export class NativeEngine implements EnergyEngine {
  readonly model: ModelConfig
  readonly info: EngineInfo
  readonly capacity: EngineCapacity
  readonly identity: Uint8Array
  private readonly handle: Handle
  private readonly bytes: number
  private readonly alpha: number
  private readonly owner: StateOwner
  /** Rows for the addon, and its results. Both grow with the largest batch and never shrink. */
  private rows = new Float64Array(64 * descendWidth)
  private results = new Float64Array(64 * resultWidth)

  constructor(
    checkpoint: Checkpoint,
    private readonly addon: Addon,
    options: NativeOptions,
  ) {
    this.model = checkpoint.config
    const { capacity } = options
    this.capacity = {
      ...capacity,
      pageSize: nativePageSize,
      sharesPages: true,
      takesPushes: true,
    }
    const tensors = Object.fromEntries([...checkpoint.tensors].map(([name, t]) => [name, t.data]))
    this.handle = refusing(() => addon.open(openConfig(this.model, options), tensors))
    const { backend, bytes } = addon.describe(this.handle)
    const { threads, reason, weights, cacheType } = options
    const numbers = cacheType === 'f32' ? weights : `${weights}, ${cacheType} cache`
    this.info = { name: 'native', backend: `${backend} ${numbers}`, threads, reason }
    this.bytes = bytes
    this.alpha = alphaOf(checkpoint)
    const { block, space } = this.model.answer
    const answer = block * stateWidth(this.model)
    this.identity = modelIdentity(checkpoint, numbers)
    this.owner = {
      kind: this.info.name,
      identity: this.identity,
      block,
      vocabSize: this.model.vocab_size,
      // The state and the best; then F [K, D], or in vocab space an embedding [K, D] and log sums [K].
      values: 2 * answer + block * this.model.dim + (space === 'vocab' ? block : 0),
    }
  }

  observe(rows: readonly ObserveRow[]): void {
    refusing(() => this.addon.observe(this.handle, flatOf(rows)))
  }

  encode(rows: readonly ObserveRow[]): Float32Array[] {
    const { dim } = this.model
    const sums = new Float32Array(rows.length * dim)
    refusing(() => this.addon.observe(this.handle, flatOf(rows), sums))
    return rows.map((_, i) => sums.slice(i * dim, (i + 1) * dim))
  }

  begin(rows: readonly BeginRow[]): void {
    for (const { slot, contextId, seed, candidate, clamped, start } of rows) {
      refusing(() =>
        this.addon.begin(
          this.handle,
          slot,
          contextId,
          ...seedWords(seed),
          candidate >>> 0,
          clamped ? Float64Array.from(clamped) : null,
          start ?? null,
        ),
      )
    }
  }

  descend(rows: readonly DescendRow[], interrupt?: Interrupt): StepResult[] {
    this.reserve(rows.length)
    rows.forEach((row, i) => {
      this.rows[i * descendWidth] = row.slot
      this.rows.set(this.stepOf(row), i * descendWidth + 1)
    })
    const given = this.rows.subarray(0, rows.length * descendWidth)
    const { pushes, pushed } = this.pushesOf(rows)
    const count = refusing(() =>
      this.addon.descend(this.handle, given, this.results, interrupt, pushes, pushed),
    )
    return Array.from({ length: count }, (_, i) => this.stepResultAt(i * resultWidth))
  }

  multiStep(row: MultiStepRow, interrupt?: Interrupt): MultiStepAnswer[] {
    const { answer, draw, end = -1, from, most, pages, contextId, slot, temperature } = row
    const best = row.which === 'best' ? 1 : 0
    const width = multiStepWidth + row.steps.length * resultWidth
    this.reserve(Math.ceil((most * width) / resultWidth))
    const numbers = [
      slot,
      contextId,
      from,
      row.token,
      ...seedWords(row.seed),
      answer,
      draw,
      best,
      temperature,
      end,
      most,
      row.seconds,
      row.steps.length,
      ...row.steps.flatMap((step) => this.stepOf(step)),
      ...pages,
    ]
    const given = Float64Array.from(numbers)
    const count = refusing(() => this.addon.multiStep(this.handle, given, this.results, interrupt))
    return Array.from({ length: count }, (_, i) => {
      const at = i * width
      const steps = row.steps.map((_, step) =>
        this.stepResultAt(at + multiStepWidth + step * resultWidth),
      )
      const seconds = {
        observe: this.results[at + 1] as number,
        descend: this.results[at + 2] as number,
        read: this.results[at + 3] as number,
      }
      return { token: this.results[at] as number, steps, seconds }
    })
  }

  energy(rows: readonly EnergyRow[]): EnergyResult[] {
    this.reserve(rows.length)
    const flat = rows.flatMap((row) =>
      'slot' in row
        ? [0, row.slot, row.landscape, 0]
        : [1, row.contextId, row.landscape, row.answer.length, ...row.answer],
    )
    refusing(() => this.addon.energy(this.handle, Float64Array.from(flat), this.results))
    return rows.map((_, i) => this.resultAt(i * resultWidth))
  }

  read(rows: readonly ReadRow[]): Readout[] {
    const { vocab_size: vocab, answer } = this.model
    const { block } = answer
    return rows.map(({ allowed, draws, slot, which, top, temperature = 0 }) => {
      const count = top === 'all' ? 0 : Math.min(top, vocab)
      const tokens = new Int32Array(draws ? block : block * count)
      const logProbs = count > 0 ? new Float32Array(block * count) : none
      const all = top === 'all' && !draws ? new Float32Array(block * vocab) : none
      const place = points.indexOf(which)
      const given = draws && Float64Array.from(draws)
      refusing(() =>
        this.addon.read(
          this.handle,
          slot,
          place,
          count,
          temperature,
          tokens,
          logProbs,
          all,
          given,
          allowed,
        ),
      )
      return temperature > 0
        ? { tokens, logProbs, logits: none, weights: all }
        : { tokens, logProbs, logits: all, weights: none }
    })
  }

  points(rows: readonly PointRow[]): Float32Array[] {
    const { answer, dim } = this.model
    return rows.map(({ slot, which }) => {
      const width = which === 'present' ? stateWidth(this.model) : dim
      const point = new Float32Array(answer.block * width)
      refusing(() => this.addon.point(this.handle, slot, points.indexOf(which), point))
      return point
    })
  }

  tokenVectors(tokens: readonly number[]): Float32Array[] {
    const { dim } = this.model
    const vectors = new Float32Array(tokens.length * dim)
    refusing(() => this.addon.tokenVectors(this.handle, Float64Array.from(tokens), vectors))
    return tokens.map((_, i) => vectors.slice(i * dim, (i + 1) * dim))
  }

  save(slot: number): Uint8Array {
    const { bytes, numbers, values } = unsealedState(this.owner)
    refusing(() => this.addon.save(this.handle, slot, numbers, values))
    return sealState(this.owner, bytes)
  }

  restore(slot: number, contextId: number, bytes: Uint8Array): void {
    const observed = refusing(() => this.addon.observed(this.handle, contextId))
    const state = decodeState(this.owner, bytes)
    checkContextLength(state, observed)
    const numbers = numbersOf(state)
    refusing(() => this.addon.restore(this.handle, slot, contextId, numbers, state.values))
  }

  release(contextId: number): void {
    this.addon.release(this.handle, contextId)
  }

  memory(): number {
    return this.bytes
  }

  close(): void {
    this.addon.close(this.handle)
  }

  /** Floating-point operations and bytes read a second at this moment, and the weight bytes of a step. */
  measure(): { flops: number; bytesPerSecond: number; stepBytes: number } {
    const { stepBytes } = this.addon.describe(this.handle)
    return { ...this.addon.measure(this.handle), stepBytes }
  }

  /** What the rows add to the energy, as the addon takes it. Nothing is made where no row adds anything. */
  private pushesOf(rows: readonly DescendRow[]): { pushes?: Float64Array; pushed?: Float32Array } {
    for (const row of rows) checkPush(this.model, row)
    const pushing = rows.flatMap(({ push }, index) => (push ? [{ index, push }] : []))
    if (pushing.length === 0) return {}
    const parts = pushing.flatMap(({ push: { logits, points } }) => [
      ...(logits ? [logits] : []),
      ...(points ? [points] : []),
    ])
    const pushed = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0))
    let at = 0
    for (const part of parts) {
      pushed.set(part, at)
      at += part.length
    }
    const kindOf = ({ logits, points }: Push) => (logits ? 1 : 0) + (points ? 2 : 0)
    const pushes = pushing.flatMap(({ index, push }) => [index, kindOf(push)])
    return { pushes: Float64Array.from(pushes), pushed }
  }

  /** The numbers of a step: landscape, step, step size, noise, 1 to accept only lower energies. */
  private stepOf(row: Omit<DescendRow, 'slot'>): number[] {
    const alpha = rowStepSize(this.model, this.alpha, row)
    return [row.landscape, row.step, alpha, row.noise, row.acceptLower ? 1 : 0]
  }

  private stepResultAt(at: number): StepResult {
    return { ...this.resultAt(at), gradientNorm: this.results[at + 1] as number }
  }

  private resultAt(at: number): EnergyResult {
    const result = { energy: this.results[at] as number, best: this.results[at + 2] as number }
    if (this.model.energy.kind !== 'residual') return result
    const [disagreement, doubt] = [this.results[at + 3] as number, this.results[at + 4] as number]
    return { ...result, parts: { disagreement, doubt } }
  }

  private reserve(rows: number): void {
    if (rows * resultWidth <= this.results.length) return
    this.rows = new Float64Array(rows * descendWidth)
    this.results = new Float64Array(rows * resultWidth)
  }
}

/** Throws `backend_missing` where there is no addon. */
export function nativeEngine(
  checkpoint: Checkpoint,
  loaded: { addon: Addon } | { missing: string },
  options: NativeOptions,
): NativeEngine {
  if ('missing' in loaded)
    throw new BasinError('backend_missing', { engine: 'native', reason: loaded.missing })
  return new NativeEngine(checkpoint, loaded.addon, options)
}
