/**
 * The tfjs engine: docs/mathematics.md executed op by op on whatever TensorFlow.js backend is there.
 * It is the specification that other engines are tested against; it favours plainness over speed.
 */
import { BasinError } from '../../errors.js'
import { type ModelConfig, trainedStepSize } from '../../model/config.js'
import type { Checkpoint } from '../../model/checkpoint.js'
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
import { type Bell, rings } from '../bell.js'
import { checkRange } from '../range.js'
import { readLogits } from '../reading.js'
import { roundsOf } from '../rounds.js'
import type { Backend, Tensor, Tf } from './backend.js'
import { Contexts } from './contexts.js'
import { basePoint, descend, logitsOf, type Step } from './descent.js'
import type { Landscape } from './landscape.js'
import { Network } from './network.js'
import { numbersOf, resultsOf } from './results.js'
import { landscapeOf, noiseOf, startOf } from './rows.js'
import { Slots } from './slots.js'

const lowestAlpha = 1e-4

export class TfjsEngine implements EnergyEngine {
  readonly model: ModelConfig
  readonly info: EngineInfo
  readonly capacity: EngineCapacity
  private readonly tf: Tf
  private readonly weights: Map<string, Tensor>
  private readonly network: Network
  private readonly contexts: Contexts
  private readonly slots: Slots
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
    this.slots = new Slots(this.model, capacity.slots)
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
      const { sequence, seed, candidate, clamped } = row
      const bare = { sequence, seed, candidate, clamped }
      const state = this.tf.tidy(() => startOf(this.network, this.contexts, row))
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

  descend(rows: readonly DescendRow[], bell?: Bell): StepResult[] {
    const results: StepResult[] = []
    for (const round of roundsOf(rows)) {
      if (results.length > 0 && bell && rings(bell)) break
      for (const group of this.groups(rows, round)) {
        const stepped = this.descendTogether(group.map((i) => rows[i] as DescendRow))
        group.forEach((i, at) => (results[i] = stepped[at] as StepResult))
      }
    }
    return results
  }

  energy(rows: readonly EnergyRow[]): EnergyResult[] {
    return rows.map((row) => ('slot' in row ? this.energyOfSlot(row) : this.energyOfAnswer(row)))
  }

  read(rows: readonly ReadRow[]): Reading[] {
    return rows.map(({ slot: index, which, ...wanted }) => {
      const slot = this.slots.get(index)
      const answer = this.slots.answer(slot, which)
      const logits = this.tf.tidy(() => logitsOf(this.network, answer).dataSync()) as Float32Array
      return readLogits(logits.slice(), this.model.answer.block, wanted, slot.clamped)
    })
  }

  points(rows: readonly PointRow[]): Float32Array[] {
    const { network, tf } = this
    return rows.map(({ slot: index, which }) => {
      const slot = this.slots.get(index)
      if (which === 'present') return slot.state.dataSync<'float32'>().slice()
      const answer = this.slots.answer(slot, which)
      if (this.model.answer.space === 'latent') return answer.dataSync<'float32'>().slice()
      return tf.tidy(() => {
        const { value } = network.vocabInput({ value: tf.softmax(answer), tangent: null })
        return value.dataSync<'float32'>().slice() as never
      })
    })
  }

  release(sequence: number): void {
    this.slots.release(sequence)
    this.contexts.release(sequence)
  }

  memory(): number {
    return this.tf.memory().numBytes
  }

  close(): void {
    this.slots.release()
    this.contexts.dispose()
    this.network.dispose()
    for (const tensor of this.weights.values()) tensor.dispose()
    this.weights.clear()
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
  private groups(rows: readonly DescendRow[], all: number[]): number[][] {
    if (this.model.answer.normalize !== 'first_step') return [all]
    return [all.filter((i) => rows[i]?.step === 0), all.filter((i) => rows[i]?.step !== 0)].filter(
      (g) => g.length > 0,
    )
  }

  private descendTogether(rows: readonly DescendRow[]): StepResult[] {
    const { tf } = this
    const slots = rows.map((row) => this.slots.get(row.slot))
    const results: StepResult[] = []
    const [states, answers] = tf.tidy(() => {
      const landscape = landscapeOf(this.network, this.contexts, slots, rows)
      const alpha = tf.tensor3d(
        rows.map((row) => stepSizeOf(trainedStepSize(this.model, this.alpha, row.step), row)),
        [rows.length, 1, 1],
      )
      const state = tf.concat(slots.map((slot) => slot.state))
      const first = rows[0]?.step === 0
      const step = descend(this.network, landscape, state, {
        alpha,
        first,
        noise: noiseOf(this.network, rows, slots),
      })
      const next = this.acceptLower(rows, landscape, step)
      results.push(...resultsOf(tf, step.slope))
      return [
        tf.split(next, rows.length),
        tf.split(step.slope.opinion ?? next, rows.length),
      ] as never as [Tensor[], Tensor[]]
    })
    slots.forEach((slot, i) => {
      this.slots.advance(slot, results[i] as StepResult, states[i] as Tensor, answers[i] as Tensor)
    })
    return results
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
    const slot = this.slots.get(index)
    const result = this.tidy(() => {
      const base = basePoint(this.network, slot.state, !slot.judged)
      return numbersOf(
        landscapeOf(this.network, this.contexts, [slot], [{ landscape }]).energy(base),
      )
    })
    if (slot.judged && this.model.energy.kind !== 'residual')
      this.slots.keepBest(slot, result.energy, slot.state)
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
      return numbersOf(
        landscapeOf(this.network, this.contexts, [asked], [row], row.answer.length).energy(state),
      )
    })
    return { ...result, best: result.energy }
  }

  private tidy<T>(compute: () => T): T {
    return this.tf.tidy(compute as () => never)
  }
}
