/**
 * The native engine: fused C++ kernels on the CPU (native/), behind the interface of every engine.
 * This file turns rows into flat numbers and back; docs/native.md says how the rest is built.
 */
import { BasinError } from '../../errors.js'
import type { Checkpoint } from '../../model/checkpoint.js'
import {
  draftsFromContext,
  type ModelConfig,
  stateWidth,
  trainedStepSize,
} from '../../model/config.js'
import { stepSizeOf } from '../../refine/budget.js'
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
  Reading,
  ReadRow,
  StepResult,
} from '../engine.js'
import {
  descendWidth,
  refusing,
  resultWidth,
  type Addon,
  type Handle,
  type OpenConfig,
} from './addon.js'

export const weightTypes = ['f32', 'bf16', 'int8'] as const
export type WeightType = (typeof weightTypes)[number]
/** `auto` takes the widest vectors that the machine has. */
export const kernelSets = ['auto', 'avx512', 'avx2', 'baseline'] as const
export type KernelSet = (typeof kernelSets)[number]

/** Positions of a cache page; fixed by the kernels. */
export const nativePageSize = 16

/** In the order of the enumerations in native/config.h. */
const conditionings = ['none', 'time_embed', 'adaln', 'candidate'] as const
const spaces = ['vocab', 'latent'] as const
const starts = ['noise', 'zeros', 'draft', 'context'] as const
const normalizations = ['every_step', 'first_step', 'never'] as const
const embeddings = ['vocab_to_embed', 'embeddings'] as const
const kinds = ['head', 'potential', 'residual'] as const
const directions = ['exact', 'amortized'] as const

/** In the order of the addon's numbers for them. */
const points = ['last', 'best', 'present'] as const

const flatOf = (rows: readonly ObserveRow[]): Float64Array =>
  Float64Array.from(
    rows.flatMap(({ sequence, from, tokens, pages }) => [
      sequence,
      from ?? -1,
      tokens.length,
      pages.length,
      ...tokens,
      ...pages,
    ]),
  )

const lowestAlpha = 1e-4
const none = new Float32Array(0)

export interface NativeOptions {
  capacity: Omit<EngineCapacity, 'pageSize'>
  threads: number
  weights: WeightType
  reason: string
  /** For tests: run on narrower vectors than the machine has. */
  kernels?: KernelSet
}

function openConfig(model: ModelConfig, options: NativeOptions): OpenConfig {
  const { answer, energy } = model
  const { slots, sequences, pages } = options.capacity
  return {
    vocab_size: model.vocab_size,
    dim: model.dim,
    layers: model.layers,
    heads: model.heads,
    ffn_dim: model.ffn_dim,
    context_length: model.context_length,
    landscapes: model.landscapes,
    block: answer.block,
    norm_eps: model.norm_eps,
    rope_theta: model.rope_theta,
    start_scale: answer.start_scale,
    doubt: energy.doubt,
    conditioning: conditionings.indexOf(model.conditioning),
    space: spaces.indexOf(answer.space),
    start: starts.indexOf(draftsFromContext(model) ? 'context' : answer.start),
    normalize: normalizations.indexOf(answer.normalize),
    embed: embeddings.indexOf(answer.embed),
    kind: kinds.indexOf(energy.kind),
    direction: directions.indexOf(energy.direction),
    anchor: Number(answer.anchor ?? false),
    weights: weightTypes.indexOf(options.weights),
    kernels: kernelSets.indexOf(options.kernels ?? 'auto'),
    slots,
    sequences,
    pages,
    threads: options.threads,
  }
}

export class NativeEngine implements EnergyEngine {
  readonly model: ModelConfig
  readonly info: EngineInfo
  readonly capacity: EngineCapacity
  private readonly handle: Handle
  private readonly bytes: number
  private readonly alpha: number
  /** Rows on their way to the addon and results on their way back; grown, never shrunk. */
  private rows = new Float64Array(64 * descendWidth)
  private results = new Float64Array(64 * resultWidth)

  constructor(
    checkpoint: Checkpoint,
    private readonly addon: Addon,
    options: NativeOptions,
  ) {
    this.model = checkpoint.config
    this.capacity = { ...options.capacity, pageSize: nativePageSize, sharesPages: true }
    const tensors = Object.fromEntries([...checkpoint.tensors].map(([name, t]) => [name, t.data]))
    this.handle = refusing(() => addon.open(openConfig(this.model, options), tensors))
    const { backend, bytes } = addon.describe(this.handle)
    const { threads, reason, weights } = options
    this.info = { name: 'native', backend: `${backend} ${weights}`, threads, reason }
    this.bytes = bytes
    this.alpha = Math.max(checkpoint.tensors.get('alpha')?.data[0] ?? 0, lowestAlpha)
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
    for (const { slot, sequence, seed, candidate, clamped, start } of rows) {
      refusing(() =>
        this.addon.begin(
          this.handle,
          slot,
          sequence,
          seed >>> 0,
          Math.floor(seed / 4294967296) >>> 0,
          candidate >>> 0,
          clamped ? Float64Array.from(clamped) : null,
          start ?? null,
        ),
      )
    }
  }

  descend(rows: readonly DescendRow[]): StepResult[] {
    this.reserve(rows.length)
    rows.forEach((row, i) => {
      const { slot, landscape, step, noise, acceptLower } = row
      const alpha = stepSizeOf(trainedStepSize(this.model, this.alpha, row.step), row)
      this.rows.set([slot, landscape, step, alpha, noise, acceptLower ? 1 : 0], i * descendWidth)
    })
    const given = this.rows.subarray(0, rows.length * descendWidth)
    refusing(() => this.addon.descend(this.handle, given, this.results))
    return rows.map((_, i) => ({
      ...this.resultOf(i),
      gradientNorm: this.results[i * resultWidth + 1] as number,
    }))
  }

  energy(rows: readonly EnergyRow[]): EnergyResult[] {
    this.reserve(rows.length)
    const flat = rows.flatMap((row) =>
      'slot' in row
        ? [0, row.slot, row.landscape, 0]
        : [1, row.sequence, row.landscape, row.answer.length, ...row.answer],
    )
    refusing(() => this.addon.energy(this.handle, Float64Array.from(flat), this.results))
    return rows.map((_, i) => this.resultOf(i))
  }

  read(rows: readonly ReadRow[]): Reading[] {
    const { vocab_size: vocab, answer } = this.model
    return rows.map(({ slot, which, top, temperature = 0 }) => {
      const count = top === 'all' ? 0 : Math.min(top, vocab)
      const tokens = new Int32Array(answer.block * count)
      const logProbs = new Float32Array(answer.block * count)
      const all = new Float32Array(top === 'all' ? answer.block * vocab : 0)
      const best = which === 'best' ? 1 : 0
      refusing(() =>
        this.addon.read(this.handle, slot, best, count, temperature, tokens, logProbs, all),
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

  release(sequence: number): void {
    this.addon.release(this.handle, sequence)
  }

  memory(): number {
    return this.bytes
  }

  close(): void {
    this.addon.close(this.handle)
  }

  /** Peak multiply-adds and memory reads of the machine at this moment, and a step's weight bytes. */
  measure(): { flops: number; bytesPerSecond: number; stepBytes: number } {
    const { stepBytes } = this.addon.describe(this.handle)
    return { ...this.addon.measure(this.handle), stepBytes }
  }

  private resultOf(row: number): EnergyResult {
    const at = row * resultWidth
    const [energy, , best, disagreement, doubt] = this.results.subarray(at, at + resultWidth)
    const result = { energy: energy as number, best: best as number }
    if (this.model.energy.kind !== 'residual') return result
    return {
      ...result,
      terms: { disagreement: disagreement as number, doubt: doubt as number },
    }
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
