/**
 * The tfjs engine: docs/mathematics.md executed op by op on whatever TensorFlow.js backend is there.
 * It is the specification that other engines are tested against; it favours plainness over speed.
 */
import { BasinError } from '../../errors.js'
import { contextOffset, stateWidth, type ModelConfig } from '../../model/config.js'
import type { Checkpoint } from '../../model/checkpoint.js'
import { stepSizeOf } from '../../refine/budget.js'
import { normals } from '../../refine/random.js'
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
import { readLogits } from '../reading.js'
import type { Backend, Tensor, Tf } from './backend.js'
import { Contexts } from './contexts.js'
import { basePoint, descend, draft, logitsOf, type Step } from './descent.js'
import { Landscape } from './landscape.js'
import { Network } from './network.js'
import { numbersOf, resultsOf } from './results.js'

/** One candidate's answer in descent. Tensors are [1, K, W], owned by the slot. */
interface Slot {
  sequence: number
  seed: number
  candidate: number
  clamped: readonly number[] | undefined
  /** y, or z in vocab space. */
  state: Tensor
  /** What the latest step reads out: F for residual, else the state. */
  last: Tensor
  best: Tensor
  bestEnergy: number
  /** Whether `state` may be returned as an answer: a start is one only if it is a draft. */
  judged: boolean
}

const lowestAlpha = 1e-4

export class TfjsEngine implements EnergyEngine {
  readonly model: ModelConfig
  readonly info: EngineInfo
  readonly capacity: EngineCapacity
  private readonly tf: Tf
  private readonly weights: Map<string, Tensor>
  private readonly network: Network
  private readonly contexts: Contexts
  private readonly slots = new Map<number, Slot>()
  private readonly alpha: number

  constructor(checkpoint: Checkpoint, backend: Backend, capacity: EngineCapacity, threads: number) {
    this.model = checkpoint.config
    this.capacity = capacity
    this.tf = backend.tf
    this.info = { name: 'tfjs', backend: backend.name, threads, reason: backend.reason }
    this.weights = new Map(
      [...checkpoint.tensors].map(([name, t]) => [name, this.tf.tensor(t.data, [...t.shape])]),
    )
    this.network = new Network(this.tf, this.model, this.weights)
    this.contexts = new Contexts(this.network)
    this.alpha = Math.max(checkpoint.tensors.get('alpha')?.data[0] ?? 0, lowestAlpha)
  }

  observe(rows: readonly ObserveRow[]): void {
    for (const row of rows) {
      this.checkObserve(row)
      if (row.from !== undefined) this.contexts.truncate(row.sequence, row.from)
      this.contexts.observe(row.sequence, row.tokens)
    }
  }

  encode(rows: readonly ObserveRow[]): Float32Array[] {
    return rows.map((row) => {
      this.checkObserve(row)
      if (row.from !== undefined) this.contexts.truncate(row.sequence, row.from)
      return this.contexts.encode(row.sequence, row.tokens)
    })
  }

  begin(rows: readonly BeginRow[]): void {
    for (const row of rows) {
      checkRange('slot', row.slot, this.capacity.slots)
      checkRange('sequence', row.sequence, this.capacity.sequences)
      row.clamped?.forEach((token) => checkRange('clamped', token + 1, this.model.vocab_size + 1))
      if (!this.contexts.has(row.sequence)) this.contexts.observe(row.sequence, [])
      this.free(row.slot)
      const { sequence, seed, candidate, clamped } = row
      const bare = { sequence, seed, candidate, clamped }
      const state = this.tf.tidy(() => this.startOf(row))
      const judged = this.model.answer.start === 'draft' && row.start === undefined
      this.slots.set(row.slot, {
        ...bare,
        state,
        last: state.clone(),
        best: state.clone(),
        bestEnergy: Infinity,
        judged,
      })
    }
  }

  descend(rows: readonly DescendRow[]): StepResult[] {
    if (rows.length === 0) return []
    const results = new Array<StepResult>(rows.length)
    for (const group of this.groups(rows)) {
      const stepped = this.descendTogether(group.map((i) => rows[i] as DescendRow))
      group.forEach((i, at) => (results[i] = stepped[at] as StepResult))
    }
    return results
  }

  energy(rows: readonly EnergyRow[]): EnergyResult[] {
    return rows.map((row) => ('slot' in row ? this.energyOfSlot(row) : this.energyOfAnswer(row)))
  }

  read(rows: readonly ReadRow[]): Reading[] {
    return rows.map(({ slot: index, which, top }) => {
      const slot = this.slot(index)
      const answer = this.answerOf(slot, which)
      const logits = this.tf.tidy(() => logitsOf(this.network, answer).dataSync()) as Float32Array
      return readLogits(logits.slice(), this.model.answer.block, top, slot.clamped)
    })
  }

  points(rows: readonly PointRow[]): Float32Array[] {
    const { network, tf } = this
    return rows.map(({ slot: index, which }) => {
      const slot = this.slot(index)
      if (which === 'present') return slot.state.dataSync<'float32'>().slice()
      const answer = this.answerOf(slot, which)
      if (this.model.answer.space === 'latent') return answer.dataSync<'float32'>().slice()
      return tf.tidy(() => {
        const { value } = network.vocabInput({ value: tf.softmax(answer), tangent: null })
        return value.dataSync<'float32'>().slice() as never
      })
    })
  }

  release(sequence: number): void {
    for (const [index, slot] of this.slots) if (slot.sequence === sequence) this.free(index)
    this.contexts.release(sequence)
  }

  memory(): number {
    return this.tf.memory().numBytes
  }

  close(): void {
    for (const index of [...this.slots.keys()]) this.free(index)
    this.contexts.dispose()
    this.network.dispose()
    for (const tensor of this.weights.values()) tensor.dispose()
    this.weights.clear()
  }

  private answerOf(slot: Slot, which: ReadRow['which']): Tensor {
    return which === 'best' && slot.bestEnergy < Infinity ? slot.best : slot.last
  }

  private checkObserve({ sequence, from, tokens }: ObserveRow): void {
    checkRange('sequence', sequence, this.capacity.sequences)
    tokens.forEach((token) => checkRange('token', token, this.model.vocab_size))
    const length = this.contexts.length(sequence)
    if (from !== undefined) {
      checkRange('from', from, length + 1)
      checkRange('from', from, from + tokens.length)
    }
    const room = this.model.context_length - (from ?? length)
    if (tokens.length <= room) return
    throw new BasinError('out_of_range', {
      param: 'tokens',
      bound: `at most ${room}`,
      value: tokens.length,
    })
  }

  /** Rows that may share a batch: only `normalize: first_step` tells first steps from later ones. */
  private groups(rows: readonly DescendRow[]): number[][] {
    const all = rows.map((_, i) => i)
    if (this.model.answer.normalize !== 'first_step') return [all]
    return [all.filter((i) => rows[i]?.step === 0), all.filter((i) => rows[i]?.step !== 0)].filter(
      (g) => g.length > 0,
    )
  }

  private descendTogether(rows: readonly DescendRow[]): StepResult[] {
    const { tf } = this
    const slots = rows.map((row) => this.slot(row.slot))
    const results: StepResult[] = []
    const [states, answers] = tf.tidy(() => {
      const landscape = this.landscapeOf(slots, rows)
      const alpha = tf.tensor3d(
        rows.map((row) => stepSizeOf(this.alpha, row.stepSize)),
        [rows.length, 1, 1],
      )
      const state = tf.concat(slots.map((slot) => slot.state))
      const first = rows[0]?.step === 0
      const step = descend(this.network, landscape, state, {
        alpha,
        first,
        noise: this.noiseOf(rows, slots),
      })
      const next = this.acceptLower(rows, landscape, step)
      results.push(...resultsOf(tf, step.slope))
      return [
        tf.split(next, rows.length),
        tf.split(step.slope.opinion ?? next, rows.length),
      ] as never as [Tensor[], Tensor[]]
    })
    slots.forEach((slot, i) => {
      this.advance(slot, results[i] as StepResult, states[i] as Tensor, answers[i] as Tensor)
    })
    return results
  }

  /** Enters a step's outcome into its slot: the best answer so far, the next state, the latest reading. */
  private advance(slot: Slot, result: StepResult, next: Tensor, answer: Tensor): void {
    const residual = this.model.energy.kind === 'residual'
    if (residual || slot.judged) this.keepBest(slot, result.energy, residual ? answer : slot.state)
    slot.state.dispose()
    slot.last.dispose()
    slot.state = next
    slot.last = answer
    slot.judged = true
    result.best = slot.bestEnergy
  }

  private keepBest(slot: Slot, energy: number, answer: Tensor): void {
    if (!(energy < slot.bestEnergy)) return
    slot.best.dispose()
    slot.best = answer.clone()
    slot.bestEnergy = energy
  }

  /** Where a row asks for it, keeps the base point unless the step lowered the energy. */
  private acceptLower(
    rows: readonly DescendRow[],
    landscape: Landscape,
    { base, slope, next }: Step,
  ): Tensor {
    if (!rows.some((row) => row.acceptLower)) return next
    const { tf } = this
    const after = landscape.energy(basePoint(this.network, next, false)).energy
    const lower = tf.less(after, slope.energy)
    const always = tf.tensor2d(
      rows.map((row) => !row.acceptLower),
      [rows.length, 1],
      'bool',
    )
    return tf.where(tf.expandDims(tf.logicalOr(lower, always), 2), next, base)
  }

  /** Closes a descent: the state after the last step enters the comparison. */
  private energyOfSlot({
    slot: index,
    landscape,
  }: {
    slot: number
    landscape: number
  }): EnergyResult {
    const slot = this.slot(index)
    const result = this.tidy(() => {
      const base = basePoint(this.network, slot.state, !slot.judged)
      return numbersOf(this.landscapeOf([slot], [{ landscape }]).energy(base))
    })
    if (slot.judged && this.model.energy.kind !== 'residual')
      this.keepBest(slot, result.energy, slot.state)
    return { ...result, best: slot.bestEnergy }
  }

  private energyOfAnswer(row: {
    sequence: number
    answer: readonly number[]
    landscape: number
  }): EnergyResult {
    checkRange('sequence', row.sequence, this.capacity.sequences)
    row.answer.forEach((token) => checkRange('answer', token, this.model.vocab_size))
    if (row.answer.length === 0 || row.answer.length > this.model.answer.block)
      throw new BasinError('out_of_range', {
        param: 'answer',
        bound: `1 to ${this.model.answer.block} tokens`,
        value: row.answer.length,
      })
    const { tf, network } = this
    const result = this.tidy(() => {
      const tokens = tf.tensor2d([...row.answer], [1, row.answer.length], 'int32')
      const state =
        this.model.answer.space === 'vocab'
          ? // The wasm backend of 4.22 writes integers whatever type it is asked for.
            tf.cast(tf.oneHot(tokens, this.model.vocab_size, 1, 0, 'int32'), 'float32')
          : network.embed(tokens)
      const asked = { sequence: row.sequence, clamped: undefined }
      return numbersOf(this.landscapeOf([asked], [row], row.answer.length).energy(state))
    })
    return { ...result, best: result.energy }
  }

  private landscapeOf(
    slots: readonly { sequence: number; clamped: readonly number[] | undefined }[],
    rows: readonly { landscape: number }[],
    block = this.model.answer.block,
  ): Landscape {
    const { tf, model } = this
    const landscapes = rows.map((row) => {
      checkRange('landscape', row.landscape, model.landscapes)
      return row.landscape
    })
    const sequences = slots.map(({ sequence }, i) => ({
      sequence,
      landscape: landscapes[i] as number,
    }))
    const positions = slots.map(({ sequence }) => {
      const from = contextOffset(model) + this.contexts.length(sequence)
      return Array.from({ length: block }, (_, i) => from + i)
    })
    const clamped = slots.map((slot) => slot.clamped ?? new Array<number>(block).fill(-1))
    const some = slots.some((slot) => slot.clamped)
    const shape: [number, number] = [slots.length, block]
    const inCandidate = model.conditioning === 'candidate' || model.conditioning === 'adaln'
    return new Landscape(this.network, {
      context: this.contexts.assemble(sequences, block),
      rotary: this.network.rotary(positions),
      block,
      step: inCandidate ? this.network.stepEmbedding(landscapes) : null,
      moving: some
        ? tf.tensor3d(
            clamped.flat().map((t) => (t < 0 ? 1 : 0)),
            [...shape, 1],
          )
        : null,
      clamped: some
        ? tf.tensor2d(
            clamped.flat().map((t) => Math.max(t, 0)),
            shape,
            'int32',
          )
        : null,
    })
  }

  private startOf(row: BeginRow): Tensor {
    const { tf, model } = this
    const shape: [number, number, number] = [1, model.answer.block, stateWidth(model)]
    const size = shape[1] * shape[2]
    if (row.start) {
      if (row.start.length !== size)
        throw new BasinError('out_of_range', {
          param: 'start',
          bound: `${size} numbers`,
          value: row.start.length,
        })
      return tf.tensor3d(row.start.slice(), shape)
    }
    const { start, start_scale: scale } = model.answer
    if (start === 'noise')
      return tf.mul(tf.tensor3d(normals(row.seed, row.candidate, -1, size), shape), scale)
    if (start === 'zeros') return tf.zeros(shape)
    return draft(
      this.network,
      this.landscapeOf([{ sequence: row.sequence, clamped: row.clamped }], [{ landscape: 0 }]),
      tf.zeros(shape),
    )
  }

  /** Langevin noise of the rows that want it, zero at clamped positions; null if none does. */
  private noiseOf(rows: readonly DescendRow[], slots: readonly Slot[]): Tensor | null {
    if (rows.every((row) => row.noise === 0)) return null
    const [block, width] = [this.model.answer.block, stateWidth(this.model)]
    const all = new Float32Array(rows.length * block * width)
    rows.forEach((row, i) => {
      const { seed, candidate, clamped } = slots[i] as Slot
      if (row.noise === 0) return
      normals(seed, candidate, row.step, block * width).forEach((x, at) => {
        if ((clamped?.[Math.floor(at / width)] ?? -1) < 0)
          all[i * block * width + at] = x * row.noise
      })
    })
    return this.tf.tensor3d(all, [rows.length, block, width])
  }

  private tidy<T>(compute: () => T): T {
    return this.tf.tidy(compute as () => never)
  }

  private slot(index: number): Slot {
    checkRange('slot', index, this.capacity.slots)
    const slot = this.slots.get(index)
    if (!slot)
      throw new BasinError('out_of_range', {
        param: 'slot',
        bound: 'a slot that was begun',
        value: index,
      })
    return slot
  }

  private free(index: number): void {
    const slot = this.slots.get(index)
    slot?.state.dispose()
    slot?.last.dispose()
    slot?.best.dispose()
    this.slots.delete(index)
  }
}

function checkRange(param: string, value: number, limit: number): void {
  if (!Number.isInteger(value) || value < 0 || value >= limit)
    throw new BasinError('out_of_range', {
      param,
      bound: `an integer from 0 to ${limit - 1}`,
      value,
    })
}
