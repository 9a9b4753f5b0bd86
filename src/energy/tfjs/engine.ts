/**
 * The tfjs engine: docs/mathematics.md executed op by op on whatever TensorFlow.js backend is there.
 * It is the specification that other engines are tested against, so it is written to be read rather than
 * to be fast.
 */
import { type ModelConfig, stateWidth } from '../../model/config.js'
import type { Checkpoint } from '../../model/checkpoint.js'
import { checkContextLength, decodeState, encodeState, type StateOwner } from '../answer-state.js'
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
import { modelIdentity } from '../model-identity.js'
import { checkRange, outOfRange } from '../range.js'
import { readLogits } from '../readout.js'
import { roundsOf } from '../rounds.js'
import { checkAnswer, checkBegin, checkPush } from '../row-checks.js'
import { begunBy, restored, saved } from '../slot-table.js'
import { alphaOf, rowStepSize } from '../step-size.js'
import type { Backend, Tensor, Tf } from './backend.js'
import { Contexts } from './contexts.js'
import { basePoint, descend, logitsOf, type Step } from './descent.js'
import type { Landscape, Slope } from './landscape.js'
import { Network } from './network.js'
import { constant } from './numbers.js'
import { pushOf, vectorsOf } from './push.js'
import { readTensors } from './read-tensors.js'
import { energyAt, energyTensors, stepResults, stepTensors } from './results.js'
import { landscapeOf, noiseOf, startOf } from './rows.js'
import { Slots } from './slots.js'

/** An energy that is asked for: what computes it in a scope, and what the best one is once it is known. */
interface Evaluation {
  evaluate: () => Omit<Slope, 'direction'>
  bestOf: (energy: number) => number
}

export class TfjsEngine implements EnergyEngine {
  readonly model: ModelConfig
  readonly info: EngineInfo
  readonly capacity: EngineCapacity
  readonly identity: Uint8Array
  private readonly tf: Tf
  private readonly weights: Map<string, Tensor>
  private readonly network: Network
  private readonly contexts: Contexts
  private readonly slots: Slots
  private readonly alpha: number
  private readonly owner: StateOwner

  constructor(checkpoint: Checkpoint, backend: Backend, capacity: EngineCapacity, threads: number) {
    this.model = checkpoint.config
    this.capacity = { ...capacity, takesPushes: true }
    this.tf = backend.tf
    this.info = { name: 'tfjs', backend: backend.name, threads, reason: backend.reason }
    this.weights = new Map(
      [...checkpoint.tensors].map(([name, t]) => [name, this.tf.tensor(t.data, [...t.shape])]),
    )
    this.network = new Network(this.tf, this.model, this.weights)
    this.contexts = new Contexts(this.network)
    this.slots = new Slots(this.model, capacity.slots)
    this.alpha = alphaOf(checkpoint)
    this.identity = modelIdentity(checkpoint, 'f32')
    this.owner = {
      kind: this.info.name,
      identity: this.identity,
      block: this.model.answer.block,
      vocabSize: this.model.vocab_size,
      values: 3 * this.answerSize().size,
    }
  }

  observe(rows: readonly ObserveRow[]): void {
    for (const row of rows) {
      this.checkObserve(row)
      if (row.from !== undefined) this.contexts.truncate(row.contextId, row.from)
      this.contexts.observe(row.contextId, row.tokens)
    }
  }

  async encode(rows: readonly ObserveRow[]): Promise<Float32Array[]> {
    const { tf } = this
    const sums = rows.map((row) => {
      this.checkObserve(row)
      if (row.from !== undefined) this.contexts.truncate(row.contextId, row.from)
      return this.contexts.encode(row.contextId, row.tokens)
    })
    const numbers = await readTensors(tf, () => sums)
    tf.dispose(sums)
    return numbers.map((sum) => sum.slice())
  }

  begin(rows: readonly BeginRow[]): void {
    for (const row of rows) {
      checkBegin(this.model, this.capacity, row)
      if (!this.contexts.has(row.contextId)) this.contexts.observe(row.contextId, [])
      const state = this.tf.tidy(() => startOf(this.network, this.contexts, row))
      this.slots.set(row.slot, {
        ...begunBy(this.model, row),
        state,
        last: state.clone(),
        best: state.clone(),
        bestEnergy: Infinity,
      })
    }
  }

  async descend(rows: readonly DescendRow[], interrupt?: Interrupt): Promise<StepResult[]> {
    for (const row of rows) checkPush(this.model, row)
    const results: StepResult[] = []
    for (const round of roundsOf(rows)) {
      if (results.length > 0 && interrupt && isRaised(interrupt)) break
      for (const group of this.groups(rows, round)) {
        const stepped = await this.descendTogether(group.map((i) => rows[i] as DescendRow))
        group.forEach((i, at) => (results[i] = stepped[at] as StepResult))
      }
    }
    return results
  }

  async energy(rows: readonly EnergyRow[]): Promise<EnergyResult[]> {
    const asked = rows.map((row) =>
      'slot' in row ? this.energyOfSlot(row) : this.energyOfAnswer(row),
    )
    const numbers = await readTensors(this.tf, () =>
      asked.flatMap(({ evaluate }) => energyTensors(evaluate())),
    )
    const parts = numbers.length / rows.length
    return asked.map(({ bestOf }, i) => {
      const result = energyAt(0, numbers.slice(i * parts, (i + 1) * parts))
      return { ...result, best: bestOf(result.energy) }
    })
  }

  async read(rows: readonly ReadRow[]): Promise<Readout[]> {
    const answers = rows.map((row) => this.answerOf(row))
    const logits = await readTensors(this.tf, () =>
      answers.map(({ answer }) => logitsOf(this.network, answer)),
    )
    const { block } = this.model.answer
    return rows.map((row, i) =>
      readLogits((logits[i] as Float32Array).slice(), block, row, answers[i]?.slot.clamped),
    )
  }

  async points(rows: readonly PointRow[]): Promise<Float32Array[]> {
    const { network, tf } = this
    const answers = rows.map((row) => this.answerOf(row))
    const points = await readTensors(tf, () =>
      answers.map(({ answer }, i) =>
        rows[i]?.which === 'present' || this.model.answer.space === 'latent'
          ? answer
          : network.vocabInput(constant(tf.softmax(answer))).value,
      ),
    )
    return points.map((point) => point.slice())
  }

  async tokenVectors(tokens: readonly number[]): Promise<Float32Array[]> {
    for (const token of tokens) checkRange('token', token, this.model.vocab_size)
    const vectors = await this.readOne(() => vectorsOf(this.network, tokens))
    const { dim } = this.model
    return tokens.map((_, i) => vectors.slice(i * dim, (i + 1) * dim))
  }

  async save(index: number): Promise<Uint8Array> {
    const slot = this.slots.get(index)
    const values = await this.readOne(() => this.tf.concat([slot.state, slot.best, slot.last]))
    const { block } = this.answerSize()
    return encodeState(this.owner, {
      ...saved(slot, block),
      contextLength: this.contexts.length(slot.contextId),
      bestEnergy: slot.bestEnergy,
      values,
    })
  }

  restore(index: number, contextId: number, bytes: Uint8Array): void {
    checkRange('slot', index, this.capacity.slots)
    checkRange('contextId', contextId, this.capacity.contexts)
    const answer = decodeState(this.owner, bytes)
    checkContextLength(answer, this.contexts.length(contextId))
    if (!this.contexts.has(contextId)) this.contexts.observe(contextId, [])
    const { block, width, size } = this.answerSize()
    const tensor = (i: number) =>
      this.tf.tensor3d(answer.values.slice(i * size, (i + 1) * size), [1, block, width])
    this.slots.set(index, {
      ...restored(answer, contextId),
      state: tensor(0),
      best: tensor(1),
      last: tensor(2),
      bestEnergy: answer.bestEnergy,
    })
  }

  release(contextId: number): void {
    this.slots.release(contextId)
    this.contexts.release(contextId)
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

  /** K, W, and their product: an answer's state is [K, W]. */
  private answerSize(): { block: number; width: number; size: number } {
    const { block } = this.model.answer
    const width = stateWidth(this.model)
    return { block, width, size: block * width }
  }

  private checkObserve({ contextId, from, tokens }: ObserveRow): void {
    checkRange('contextId', contextId, this.capacity.contexts)
    tokens.forEach((token) => checkRange('token', token, this.model.vocab_size))
    const length = this.contexts.length(contextId)
    if (from !== undefined) {
      checkRange('from', from, length + 1)
      checkRange('from', from, from + tokens.length)
    }
    const room = this.model.context_length - (from ?? length)
    if (tokens.length > room) throw outOfRange('tokens', `at most ${room}`, tokens.length)
  }

  /** Rows that may share a batch: only `normalize: first_step` tells first steps from later ones. */
  private groups(rows: readonly DescendRow[], all: number[]): number[][] {
    if (this.model.answer.normalize !== 'first_step') return [all]
    return [all.filter((i) => rows[i]?.step === 0), all.filter((i) => rows[i]?.step !== 0)].filter(
      (g) => g.length > 0,
    )
  }

  private async descendTogether(rows: readonly DescendRow[]): Promise<StepResult[]> {
    const { tf } = this
    const slots = rows.map((row) => this.slots.get(row.slot))
    let states: Tensor[] = []
    let answers: Tensor[] = []
    const numbers = await readTensors(tf, () => {
      const landscape = landscapeOf(this.network, this.contexts, slots, rows)
      const alpha = tf.tensor3d(
        rows.map((row) => rowStepSize(this.model, this.alpha, row)),
        [rows.length, 1, 1],
      )
      const state = tf.concat(slots.map((slot) => slot.state))
      const first = rows[0]?.step === 0
      const step = descend(this.network, landscape, state, {
        alpha,
        first,
        noise: noiseOf(this.network, rows, slots),
        push: pushOf(this.network, rows, slots),
      })
      const next = this.acceptLower(rows, landscape, step)
      states = tf.split(next, rows.length).map((t) => tf.keep(t))
      answers = tf.split(step.slope.opinion ?? next, rows.length).map((t) => tf.keep(t))
      return stepTensors(tf, step.slope)
    })
    const results = stepResults(numbers)
    slots.forEach((slot, i) => {
      const [next, answer] = [states[i] as Tensor, answers[i] as Tensor]
      if (this.slots.holds((rows[i] as DescendRow).slot, slot))
        this.slots.advance(slot, results[i] as StepResult, next, answer)
      else tf.dispose([next, answer])
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

  private answerOf({ slot: index, which }: Pick<ReadRow, 'slot' | 'which'>) {
    const slot = this.slots.get(index)
    return { slot, answer: which === 'present' ? slot.state : this.slots.answer(slot, which) }
  }

  /** Closes a descent: the state after the last step enters the comparison. */
  private energyOfSlot({
    slot: index,
    landscape,
  }: {
    slot: number
    landscape: number
  }): Evaluation {
    const slot = this.slots.get(index)
    const evaluate = () => {
      const base = basePoint(this.network, slot.state, !slot.stateIsAnswer)
      return landscapeOf(this.network, this.contexts, [slot], [{ landscape }]).energy(base)
    }
    const bestOf = (energy: number): number => {
      const counts = slot.stateIsAnswer && this.model.energy.kind !== 'residual'
      if (counts && this.slots.holds(index, slot)) this.slots.keepBest(slot, energy, slot.state)
      return slot.bestEnergy
    }
    return { evaluate, bestOf }
  }

  private energyOfAnswer(row: {
    contextId: number
    answer: readonly number[]
    landscape: number
  }): Evaluation {
    checkAnswer(this.model, this.capacity, row)
    const { tf, network } = this
    const evaluate = () => {
      const tokens = tf.tensor2d([...row.answer], [1, row.answer.length], 'int32')
      const state =
        this.model.answer.space === 'vocab'
          ? // The wasm backend of 4.22 writes integers whatever type it is asked for.
            tf.cast(tf.oneHot(tokens, this.model.vocab_size, 1, 0, 'int32'), 'float32')
          : network.embed(tokens)
      const asked = { contextId: row.contextId, clamped: undefined }
      return landscapeOf(network, this.contexts, [asked], [row], row.answer.length).energy(state)
    }
    return { evaluate, bestOf: (energy) => energy }
  }

  private async readOne(compute: () => Tensor): Promise<Float32Array> {
    const [numbers] = await readTensors(this.tf, () => [compute()])
    return numbers as Float32Array
  }
}
