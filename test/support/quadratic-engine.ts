/**
 * An engine with a landscape that can be solved on paper, for tests of what is built on engines: the answer
 * to a context is a point t(context), and descent finds it.
 *
 *   head:     E = 1/2 |y - t|^2,                    y <- y - alpha (y - t)
 *   residual: F = y + beta (t - y), E = 1/2 |y - F|^2 / D, y <- F, read out from F
 *
 * t_i is the readout vector of a token that the whole context and the position decide, so the
 * settled text depends on every token before it. It is strict about the contract: unknown slots and
 * contexts, positions without a page, and contexts whose pages were written over are errors.
 */
import {
  checkContextLength,
  decodeState,
  encodeState,
  type StateOwner,
} from '../../src/energy/answer-state.js'
import { type Interrupt, isRaised } from '../../src/energy/interrupt.js'
import type {
  BeginRow,
  DescendRow,
  SynchronousEngine,
  EnergyResult,
  EnergyRow,
  EngineCapacity,
  ObserveRow,
  PointRow,
  Readout,
  ReadRow,
  StepResult,
  MultiStepAnswer,
  MultiStepRow,
} from '../../src/energy/engine.js'
import { modelIdentity } from '../../src/energy/model-identity.js'
import { roundsOf } from '../../src/energy/rounds.js'
import { readLogits } from '../../src/energy/readout.js'
import type { ModelConfig } from '../../src/model/config.js'
import { stepSizeOf } from '../../src/refine/budget.js'
import { answerSeed } from '../../src/refine/candidates.js'
import { normals, uniform } from '../../src/refine/random.js'
import { configOf } from './models.js'

const ALPHA = 0.3
/** Sharpens the read-out, so that settled answers are certain and unsettled ones are not. */
const SHARPNESS = 2

interface Context {
  tokens: number[]
  pages: readonly number[]
  /** Another context was written over its pages, so it has to be observed again. */
  lost: boolean
}

interface Slot {
  contextId: number
  seed: number
  candidate: number
  clamped: readonly number[]
  /** [K, D], like `target`, `last` and `bestAnswer`. */
  y: Float64Array
  target: Float64Array
  last: Float64Array
  bestAnswer: Float64Array
  best: number
  steps: number
  /** It began at a given point: its next step may be any. */
  resumed: boolean
  /** It was put here by `restore`, and has not stepped since. */
  restored: boolean
}

export interface QuadraticOptions {
  model?: Parameters<typeof configOf>[0]
  capacity?: Partial<EngineCapacity>
  /** Descent of a context that holds this token throws. */
  throwsAt?: number
  /** Energies of a context that holds this token are NaN from its step `nanFrom` on. */
  nanAt?: number
  nanFrom?: number
  /** It takes several answers in one call. */
  multiStep?: boolean
  /** Answers are among the first this many tokens; absent: among all. */
  vocabulary?: number
}

/** What several answers in one call are: the other verbs of the engine, one after the other. */
export function multiStepByVerbs(engine: SynchronousEngine, row: MultiStepRow): MultiStepAnswer[] {
  const { end, pages, contextId, slot, steps, temperature, which } = row
  const answers: MultiStepAnswer[] = []
  let { token } = row
  for (let i = 0; i < row.most; i++) {
    engine.observe([{ contextId, from: row.from + i, tokens: [token], pages }])
    engine.begin([{ slot, contextId, candidate: 0, seed: answerSeed(row.seed, row.answer + i) }])
    const results = steps.flatMap((step) => engine.descend([{ ...step, slot }]))
    const chance = uniform(row.seed, 0, row.draw + i)
    const drawn = { top: 'all' as const, temperature, draws: [chance] }
    const [reading] = engine.read([{ slot, which, ...(temperature > 0 ? drawn : { top: 1 }) }])
    const sound = results.every(({ energy }) => Number.isFinite(energy))
    token = reading?.tokens[0] ?? -1
    if (!sound || token < 0) return answers
    answers.push({ token, steps: results, seconds: { observe: 0, descend: 0, read: 0 } })
    if (token === end) return answers
  }
  return answers
}

export class QuadraticEngine implements SynchronousEngine {
  readonly model: ModelConfig
  readonly info = { name: 'quadratic', backend: 'paper', threads: 1, reason: 'test' }
  readonly capacity: EngineCapacity
  readonly identity = new Uint8Array(32)
  /** Calls so far, of every kind. */
  calls = 0
  private readonly contexts = new Map<number, Context>()
  private readonly slots = new Map<number, Slot>()
  /** What each page holds. */
  private readonly written = new Map<number, readonly number[]>()
  private readonly readout: Float32Array

  /** Absent unless the options ask for it. */
  readonly multiStep?: (row: MultiStepRow) => MultiStepAnswer[]

  constructor(private readonly options: QuadraticOptions = {}) {
    if (options.multiStep) this.multiStep = (row) => multiStepByVerbs(this, row)
    this.model = configOf({ vocab_size: 28, dim: 8, context_length: 256, ...options.model })
    const capacity = { slots: 8, contexts: 8, pages: 64, pageSize: 8, sharesPages: true }
    this.capacity = { ...capacity, ...options.capacity }
    this.readout = normals(7, 0, 0, this.model.vocab_size * this.model.dim)
  }

  get held(): { contexts: number; slots: number } {
    return { contexts: this.contexts.size, slots: this.slots.size }
  }

  observe(rows: readonly ObserveRow[]): void {
    this.calls++
    for (const { contextId, from, tokens, pages } of rows) {
      check(contextId >= 0 && contextId < this.capacity.contexts, `contextId ${contextId}`)
      const present = this.contexts.get(contextId) ?? { tokens: [], pages, lost: false }
      check(from !== undefined || !present.lost, `the context of ${contextId} is lost`)
      check(from === undefined || tokens.length > 0, 'no token follows')
      const before = from === undefined ? present.tokens : this.heldBy(pages, present, from)
      const context = { tokens: [...before], pages, lost: false }
      this.contexts.set(contextId, context)
      for (const token of tokens) {
        check(
          Number.isInteger(token) && token >= 0 && token < this.model.vocab_size,
          `token ${token}`,
        )
        this.write(context, token)
      }
      check(context.tokens.length <= this.model.context_length, `${context.tokens.length} tokens`)
    }
  }

  /** The first `length` tokens of a context on `pages`. */
  private heldBy(pages: readonly number[], { tokens }: Context, length: number): readonly number[] {
    const { pageSize, sharesPages } = this.capacity
    const held = sharesPages
      ? pages.flatMap((page, i) => this.written.get(page)?.slice(0, length - i * pageSize) ?? [])
      : tokens.slice(0, length)
    check(held.length >= length, `${held.length} of ${length} positions held`)
    return held.slice(0, length)
  }

  private write(context: Context, token: number): void {
    const { pageSize } = this.capacity
    const at = context.tokens.length
    const page = context.pages[Math.floor(at / pageSize)]
    if (page === undefined) throw new RangeError(`${at + 1} positions uncovered`)
    check(page >= 0 && page < this.capacity.pages, `page ${page}`)
    for (const other of this.contexts.values()) {
      const used = Math.ceil(other.tokens.length / pageSize)
      if (other !== context && other.pages.slice(0, used).includes(page)) other.lost = true
    }
    this.written.set(page, [...(this.written.get(page) ?? []).slice(0, at % pageSize), token])
    context.tokens.push(token)
  }

  /** A token's state is its readout vector. */
  encode(rows: readonly ObserveRow[]): Float32Array[] {
    this.observe(rows)
    const { dim } = this.model
    return rows.map(({ tokens }) =>
      Float32Array.from({ length: dim }, (_, d) =>
        tokens.reduce((sum, token) => sum + (this.readout[token * dim + d] as number), 0),
      ),
    )
  }

  begin(rows: readonly BeginRow[]): void {
    this.calls++
    const { answer, dim } = this.model
    const size = answer.block * dim
    for (const { slot, contextId, seed, candidate, clamped, start } of rows) {
      check(slot >= 0 && slot < this.capacity.slots, `slot ${slot}`)
      const context = this.contextOf(contextId)
      const target = this.targetOf(context.tokens, clamped ?? [])
      const y = Float64Array.from(start ?? this.startOf(seed, candidate, size, target))
      this.slots.set(slot, {
        contextId,
        seed,
        candidate,
        clamped: clamped ?? new Array<number>(answer.block).fill(-1),
        y,
        target,
        last: y.slice(),
        bestAnswer: y.slice(),
        best: Infinity,
        steps: 0,
        resumed: start !== undefined,
        restored: false,
      })
    }
  }

  descend(rows: readonly DescendRow[], interrupt?: Interrupt): StepResult[] {
    this.calls++
    const [round = []] = roundsOf(rows)
    const taken = interrupt && isRaised(interrupt) ? rows.slice(0, round.length) : rows
    return taken.map((row) => {
      const slot = this.slotOf(row.slot)
      this.contextOf(slot.contextId)
      if (slot.resumed) slot.steps = row.step
      slot.resumed = false
      // A state that is put back may be one of some steps ago.
      if (slot.restored && row.step > slot.steps) slot.steps = row.step
      slot.restored = false
      check(row.step === slot.steps, `step ${row.step} follows ${slot.steps}`)
      this.checkLandscape(row.landscape)
      if (this.holds(slot, this.options.throwsAt)) throw new Error('the arithmetic broke')
      const noise =
        row.noise > 0 ? normals(slot.seed, slot.candidate, row.step, slot.y.length) : undefined
      if (noise) slot.y = slot.y.map((value, i) => value + row.noise * (noise[i] as number))
      const { energy, norm, next } = this.evaluate(slot, stepSizeOf(ALPHA, row))
      const residual = this.model.energy.kind === 'residual'
      if (residual) this.keepBest(slot, energy, next)
      else if (slot.steps > 0 || this.model.answer.start === 'draft') {
        this.keepBest(slot, energy, slot.y)
      }
      const refused = row.acceptLower && this.evaluate({ ...slot, y: next }, ALPHA).energy >= energy
      if (!refused) slot.y = next
      slot.last = slot.y
      slot.steps++
      const parts = residual ? { parts: { disagreement: energy, doubt: 0 } } : {}
      return { energy, gradientNorm: norm, best: slot.best, ...parts }
    })
  }

  energy(rows: readonly EnergyRow[]): EnergyResult[] {
    this.calls++
    return rows.map((row) => {
      this.checkLandscape(row.landscape)
      if (!('slot' in row)) return this.energyOfAnswer(row.contextId, row.answer)
      const slot = this.slotOf(row.slot)
      this.contextOf(slot.contextId)
      const { energy, next } = this.evaluate(slot, ALPHA)
      this.keepBest(slot, energy, this.model.energy.kind === 'residual' ? next : slot.y)
      return { energy, best: slot.best }
    })
  }

  read(rows: readonly ReadRow[]): Readout[] {
    this.calls++
    return rows.map(({ slot: index, which, ...wanted }) => {
      const slot = this.slotOf(index)
      const answer = which === 'best' && slot.best < Infinity ? slot.bestAnswer : slot.last
      const { block } = this.model.answer
      return readLogits(this.logitsOf(answer), block, wanted, slot.clamped)
    })
  }

  points(rows: readonly PointRow[]): Float32Array[] {
    this.calls++
    return rows.map(({ slot: index, which }) => {
      const slot = this.slotOf(index)
      if (which === 'present') return Float32Array.from(slot.y)
      const best = which === 'best' && slot.best < Infinity
      return Float32Array.from(best ? slot.bestAnswer : slot.last)
    })
  }

  /** Values are doubles: y, the read-out, the best answer and the number of steps. */
  save(index: number): Uint8Array {
    this.calls++
    const { y, last, bestAnswer, steps, seed, candidate, clamped, ...slot } = this.slotOf(index)
    const doubles = Float64Array.of(...y, ...last, ...bestAnswer, steps)
    return encodeState(this.stateOwner(), {
      contextLength: this.contextOf(slot.contextId).tokens.length,
      seed,
      candidate,
      stateIsAnswer: steps > 0 || this.model.answer.start === 'draft',
      bestEnergy: slot.best,
      engineNumber: 0,
      clamped: Int32Array.from(clamped),
      values: new Float32Array(doubles.buffer),
    })
  }

  restore(index: number, contextId: number, bytes: Uint8Array): void {
    this.calls++
    check(index >= 0 && index < this.capacity.slots, `slot ${index}`)
    const { tokens } = this.contextOf(contextId)
    const state = decodeState(this.stateOwner(), bytes)
    checkContextLength(state, tokens.length)
    const doubles = new Float64Array(state.values.slice().buffer)
    const size = this.model.answer.block * this.model.dim
    const part = (i: number) => doubles.slice(i * size, (i + 1) * size)
    const clamped = [...state.clamped]
    this.slots.set(index, {
      contextId,
      seed: state.seed,
      candidate: state.candidate,
      clamped,
      y: part(0),
      target: this.targetOf(tokens, clamped),
      last: part(1),
      bestAnswer: part(2),
      best: state.bestEnergy,
      steps: doubles[3 * size] as number,
      resumed: false,
      restored: true,
    })
  }

  release(contextId: number): void {
    this.calls++
    this.contexts.delete(contextId)
    for (const [index, slot] of this.slots)
      if (slot.contextId === contextId) this.slots.delete(index)
  }

  memory(): number {
    return 0
  }

  close(): void {
    this.contexts.clear()
    this.slots.clear()
  }

  private stateOwner(): StateOwner {
    const { answer, dim, vocab_size: vocabSize } = this.model
    const identity = modelIdentity({ config: this.model, tensors: new Map() }, 'f64')
    const values = 2 * (3 * answer.block * dim + 1)
    return { kind: this.info.name.slice(0, 8), identity, block: answer.block, vocabSize, values }
  }

  /** 1/2 |u_token - t|^2, summed over the given positions. */
  private energyOfAnswer(contextId: number, answer: readonly number[]): EnergyResult {
    const context = this.contextOf(contextId)
    check(answer.length > 0 && answer.length <= this.model.answer.block, 'the answer has no place')
    const { dim } = this.model
    const target = this.targetOf(context.tokens, [])
    let energy = 0
    answer.forEach((token, i) => {
      for (let d = 0; d < dim; d++) {
        const away = (this.readout[token * dim + d] as number) - (target[i * dim + d] as number)
        energy += away ** 2 / 2
      }
    })
    return { energy, best: energy }
  }

  private slotOf(index: number): Slot {
    const slot = this.slots.get(index)
    if (!slot) throw new RangeError(`slot ${index} is empty`)
    return slot
  }

  private contextOf(contextId: number): Context {
    const context = this.contexts.get(contextId)
    if (!context) throw new RangeError(`contextId ${contextId} is not observed`)
    check(!context.lost, `the context of ${contextId} is lost`)
    return context
  }

  private checkLandscape(landscape: number): void {
    check(landscape >= 0 && landscape < this.model.landscapes, `landscape ${landscape}`)
  }

  private holds(slot: Slot, token: number | undefined): boolean {
    const context = this.contexts.get(slot.contextId)
    return token !== undefined && context !== undefined && context.tokens.includes(token)
  }

  private startOf(seed: number, candidate: number, size: number, target: Float64Array) {
    const { start, start_scale } = this.model.answer
    if (start === 'zeros') return new Float64Array(size)
    const noise = normals(seed, candidate, -1, size)
    if (start === 'noise') return noise.map((value) => value * start_scale)
    return target.map((value, i) => value + 0.5 * (noise[i] as number))
  }

  /** [K, D]: for each position the readout vector of a token that the context decides. */
  private targetOf(context: readonly number[], clamped: readonly number[]): Float64Array {
    const { answer, dim, vocab_size } = this.model
    const target = new Float64Array(answer.block * dim)
    // An answer whose positions all move is the same as one that was given none.
    const known = clamped.every((token) => token < 0) ? [] : clamped
    for (let i = 0; i < answer.block; i++) {
      let hash = 2166136261 ^ i
      for (const token of [...context, ...known]) hash = Math.imul(hash ^ (token + 1), 16777619)
      const most = this.options.vocabulary ?? vocab_size
      const token = ((hash ^ (hash >>> 15)) >>> 0) % most
      for (let d = 0; d < dim; d++) {
        target[i * dim + d] = this.readout[token * dim + d] as number
      }
    }
    return target
  }

  private evaluate(
    slot: Slot,
    alpha: number,
  ): { energy: number; norm: number; next: Float64Array } {
    const { dim, energy: kind } = this.model
    const residual = kind.kind === 'residual'
    let squared = 0
    const next = slot.y.map((value, i) => {
      if ((slot.clamped[Math.floor(i / dim)] ?? -1) >= 0) return value
      const away = value - (slot.target[i] as number)
      squared += residual ? (alpha * away) ** 2 : away ** 2
      return value - alpha * away
    })
    const broken = this.holds(slot, this.options.nanAt) && slot.steps >= (this.options.nanFrom ?? 0)
    const energy = broken ? NaN : squared / 2 / (residual ? dim : 1)
    return { energy, norm: Math.sqrt(squared), next }
  }

  private keepBest(slot: Slot, energy: number, answer: Float64Array): void {
    if (!(energy < slot.best)) return
    slot.best = energy
    slot.bestAnswer = answer.slice()
  }

  /** [K, V]: -sharpness |y_i - u_v|^2 */
  private logitsOf(answer: Float64Array): Float32Array {
    const { answer: shape, dim, vocab_size } = this.model
    const logits = new Float32Array(shape.block * vocab_size)
    for (let i = 0; i < shape.block; i++) {
      for (let v = 0; v < vocab_size; v++) {
        let squared = 0
        for (let d = 0; d < dim; d++) {
          squared += ((answer[i * dim + d] as number) - (this.readout[v * dim + d] as number)) ** 2
        }
        logits[i * vocab_size + v] = -SHARPNESS * squared
      }
    }
    return logits
  }
}

function check(holds: boolean, reason: string): void {
  if (!holds) throw new RangeError(reason)
}
