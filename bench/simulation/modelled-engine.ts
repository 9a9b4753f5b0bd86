/**
 * An engine that computes nothing: it plays back the energies of recorded searches, and its calls take the time
 * that those of the real engine took, on a clock of its own. Whatever decides on these energies (stop rules,
 * restarts, allocation, scheduling) is the code that decides on real ones.
 *
 * An answer is recognised by the board that its template shows. Its descents are those of the recorded search of
 * that board, by number. A descent that the recording lacks, because the search had ended before it, is one of
 * those that did not find the answer.
 */
import {
  checkContextLength,
  decodeState,
  encodeState,
  type StateOwner,
} from '../../src/energy/answer-state.js'
import type {
  BeginRow,
  DescendRow,
  EnergyResult,
  EnergyRow,
  EngineCapacity,
  ObserveRow,
  PointRow,
  Readout,
  ReadRow,
  StepResult,
  SynchronousEngine,
} from '../../src/energy/engine.js'
import { readLogits } from '../../src/energy/readout.js'
import { roundsOf } from '../../src/energy/rounds.js'
import { type ModelConfig, stateWidth } from '../../src/model/config.js'
import { parseTemplate } from '../../src/generation/core/requests/prepare.js'
import { BLANK } from '../../src/generation/core/answers/answer-shape.js'
import type { Tokenizer } from '../../src/tokenizer/tokenizer.js'
import { type Recording, type RecordedDescent, stepSeconds } from './recording.js'

/** How much likelier the chosen token is than any other, as a logarithm. */
const CERTAIN = 16

interface KnownBoard {
  given: readonly number[]
  solution: readonly number[]
  descents: readonly RecordedDescent[]
  failed: readonly RecordedDescent[]
}

interface Slot {
  contextId: number
  seed: number
  candidate: number
  clamped: readonly number[] | undefined
  board: number
  /** Which of the lists of energies of its descent it follows. */
  part: number
  step: number
  best: number
}

/** How long the calls of an engine take at a time: 1 where it has its cores to itself, more where it shares them. */
export type Slowdown = () => number

export class ModelledEngine implements SynchronousEngine {
  readonly info = {
    name: 'modelled',
    backend: 'recorded searches',
    threads: 1,
    reason: 'simulation',
  }
  readonly identity = new Uint8Array(32)
  /** Seconds of its clock, which its calls advance. */
  now = 0
  /** When a message comes, in seconds of its clock: a call of several steps ends after the step then. */
  interruptAt = Infinity
  private readonly boards: readonly KnownBoard[]
  private readonly byGiven = new Map<string, number>()
  /** By context: tokens observed, and the board of its answer. */
  private readonly contexts = new Map<number, { tokens: number; board: number | undefined }>()
  private readonly slots = new Map<number, Slot>()

  constructor(
    readonly model: ModelConfig,
    tokenizer: Tokenizer,
    private readonly recording: Recording,
    readonly capacity: EngineCapacity,
    private readonly slowdown: Slowdown = () => 1,
  ) {
    this.boards = recording.boards.map(({ completion, descents, template }, board) => {
      const given = parseTemplate(template, model, tokenizer)
      this.byGiven.set(given.join(), board)
      const failed = descents.filter(({ right }) => !right)
      return { given, solution: tokenizer.encode(completion), descents, failed }
    })
  }

  observe(rows: readonly ObserveRow[]): void {
    for (const { contextId, from, tokens } of rows) {
      const context = this.contexts.get(contextId) ?? { tokens: 0, board: undefined }
      context.tokens = (from ?? context.tokens) + tokens.length
      this.contexts.set(contextId, context)
    }
    this.spend(rows.length * this.recording.timing.answer)
  }

  encode(): Float32Array[] {
    throw new RangeError('a modelled engine has no states of tokens')
  }

  begin(rows: readonly BeginRow[]): void {
    for (const { candidate, clamped, contextId, seed, slot, start } of rows) {
      const before = this.slots.get(slot)
      const goesOn = start !== undefined && before?.candidate === candidate
      const board = this.boardOf(contextId, clamped)
      const part = goesOn ? before.part + 1 : 0
      const fresh = { contextId, seed, candidate, clamped, board, part, step: 0, best: Infinity }
      this.slots.set(slot, fresh)
    }
  }

  /** Descents from guesses have more positions given than the board. */
  private boardOf(contextId: number, clamped: readonly number[] | undefined): number {
    const context = this.contexts.get(contextId)
    if (!context || !clamped) throw new RangeError('an answer needs a context and a template')
    const board = this.byGiven.get(clamped.join()) ?? context.board
    if (board === undefined) throw new RangeError('the board of a template was not recorded')
    context.board = board
    return board
  }

  /** Ends when a message comes, as a call that is interrupted does. */
  descend(rows: readonly DescendRow[]): StepResult[] {
    const results: StepResult[] = []
    for (const round of roundsOf(rows)) {
      if (results.length > 0 && this.now >= this.interruptAt) break
      this.spend(stepSeconds(this.recording.timing, round.length))
      for (const row of round) results.push(this.step(this.slotOf((rows[row] as DescendRow).slot)))
    }
    return results
  }

  private step(slot: Slot): StepResult {
    const energy = this.energyOf(slot)
    slot.best = Math.min(slot.best, energy)
    slot.step++
    return { energy, gradientNorm: Math.abs(energy), best: slot.best }
  }

  /** A descent that goes on for longer than the recorded one stays where that ended. */
  private energyOf({ board, candidate, part, step }: Slot): number {
    const { energies } = this.descentOf(board, candidate)
    const list = energies[Math.min(part, energies.length - 1)] ?? []
    const energy = list[Math.min(step, list.length - 1)]
    if (energy === undefined) throw new RangeError('a recorded descent has no energy')
    return energy
  }

  private descentOf(board: number, candidate: number): RecordedDescent {
    const { descents, failed } = this.boards[board] as KnownBoard
    const other = failed.length > 0 ? failed[candidate % failed.length] : descents[0]
    const descent = descents[candidate] ?? other
    if (!descent) throw new RangeError('a recorded search has no descent')
    return descent
  }

  energy(rows: readonly EnergyRow[]): EnergyResult[] {
    return rows.map((row) => {
      if (!('slot' in row)) throw new RangeError('a modelled engine scores no given tokens')
      const slot = this.slotOf(row.slot)
      const energy = this.energyOf(slot)
      slot.best = Math.min(slot.best, energy)
      return { energy, best: slot.best }
    })
  }

  /** The right answer or one with a wrong token, as recorded; what a guess is drawn from is not known, so even. */
  read(rows: readonly ReadRow[]): Readout[] {
    return rows.map((row) => {
      const { board, candidate, clamped } = this.slotOf(row.slot)
      const { given, solution } = this.boards[board] as KnownBoard
      const { block } = this.model.answer
      const { vocab_size: vocab } = this.model
      const logits = new Float32Array(block * vocab)
      if (row.temperature === undefined) {
        const { right } = this.descentOf(board, candidate)
        const wrongAt = right ? -1 : given.indexOf(BLANK)
        solution.forEach((token, position) => {
          const read = position === wrongAt ? (token + 1) % vocab : token
          logits[position * vocab + read] = CERTAIN
        })
      }
      return readLogits(logits, block, row, clamped)
    })
  }

  points(rows: readonly PointRow[]): Float32Array[] {
    return rows.map(() => new Float32Array(this.model.answer.block * stateWidth(this.model)))
  }

  save(index: number): Uint8Array {
    this.spend(this.recording.timing.move)
    const { best, board, candidate, clamped, contextId, part, seed, step } = this.slotOf(index)
    return encodeState(this.owner(), {
      contextLength: this.contexts.get(contextId)?.tokens ?? 0,
      seed,
      candidate,
      stateIsAnswer: step > 0,
      bestEnergy: best,
      engineNumber: 0,
      clamped: Int32Array.from(clamped ?? []),
      values: Float32Array.of(board, part, step),
    })
  }

  restore(slot: number, contextId: number, bytes: Uint8Array): void {
    this.spend(this.recording.timing.move)
    const state = decodeState(this.owner(), bytes)
    const context = this.contexts.get(contextId)
    if (!context) throw new RangeError('an answer needs a context')
    checkContextLength(state, context.tokens)
    const { bestEnergy: best, candidate, seed } = state
    const [board = 0, part = 0, step = 0] = state.values
    context.board = board
    const clamped = [...state.clamped]
    this.slots.set(slot, { contextId, seed, candidate, clamped, board, part, step, best })
  }

  release(contextId: number): void {
    this.contexts.delete(contextId)
    for (const [index, slot] of this.slots)
      if (slot.contextId === contextId) this.slots.delete(index)
  }

  memory(): number {
    return 0
  }

  close(): void {
    this.slots.clear()
    this.contexts.clear()
  }

  private spend(seconds: number): void {
    this.now += seconds * this.slowdown()
  }

  private slotOf(index: number): Slot {
    const slot = this.slots.get(index)
    if (!slot) throw new RangeError(`no answer is in slot ${index}`)
    return slot
  }

  private owner(): StateOwner {
    const { answer, vocab_size: vocabSize } = this.model
    return {
      identity: this.identity,
      kind: this.info.name,
      block: answer.block,
      vocabSize,
      values: 3,
    }
  }
}
