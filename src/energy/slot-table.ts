/** The answers in the slots of an engine that keeps its books in JavaScript, and what a saved one has of them. */
import type { ModelConfig } from '../model/config.js'
import type { AnswerState } from './answer-state.js'
import type { BeginRow } from './engine.js'
import { checkRange, outOfRange } from './range.js'

/** The answer of one candidate, without the numbers of its state. */
export interface BegunAnswer {
  contextId: number
  seed: number
  candidate: number
  /** [K], or undefined where all move. */
  clamped: readonly number[] | undefined
  /** Whether the state may be returned as an answer: a start may be only where it is a draft. */
  stateIsAnswer: boolean
}

export const begunBy = (model: ModelConfig, row: BeginRow): BegunAnswer => ({
  contextId: row.contextId,
  seed: row.seed,
  candidate: row.candidate,
  clamped: row.clamped,
  stateIsAnswer: model.answer.start === 'draft' && row.start === undefined,
})

/** `AnswerState.engineNumber` of an answer that was begun with clamped tokens; else it is 0. */
const WITH_CLAMPED = 1

/** What a saved answer of `block` positions has of its slot; `restored` is the inverse. */
export const saved = (
  { candidate, clamped, seed, stateIsAnswer }: BegunAnswer,
  block: number,
): Omit<AnswerState, 'contextLength' | 'bestEnergy' | 'values'> => ({
  seed,
  candidate,
  stateIsAnswer,
  engineNumber: clamped ? WITH_CLAMPED : 0,
  clamped: Int32Array.from(clamped ?? new Array<number>(block).fill(-1)),
})

export const restored = (state: AnswerState, contextId: number): BegunAnswer => ({
  contextId,
  seed: state.seed,
  candidate: state.candidate,
  clamped: state.engineNumber === WITH_CLAMPED ? [...state.clamped] : undefined,
  stateIsAnswer: state.stateIsAnswer,
})

export class SlotTable<Slot extends { contextId: number } = BegunAnswer> {
  private readonly held = new Map<number, Slot>()

  constructor(
    /** The number of slots. */
    private readonly most: number,
    /** Called with what a slot held, when it holds it no more. */
    private readonly free: (slot: Slot) => void = () => undefined,
  ) {}

  /** Throws `out_of_range` for one that was not begun. */
  get(index: number): Slot {
    checkRange('slot', index, this.most)
    const slot = this.held.get(index)
    if (!slot) throw outOfRange('slot', 'a slot that was begun', index)
    return slot
  }

  /** Whether it still holds this: an engine that answers later may have been told to release it meanwhile. */
  holds(index: number, slot: Slot): boolean {
    return this.held.get(index) === slot
  }

  set(index: number, slot: Slot): void {
    this.empty(index)
    this.held.set(index, slot)
  }

  /** Frees the slots bound to a context, or all slots. */
  release(contextId?: number): void {
    for (const [index, slot] of this.held)
      if (contextId === undefined || slot.contextId === contextId) this.empty(index)
  }

  private empty(index: number): void {
    const slot = this.held.get(index)
    if (slot) this.free(slot)
    this.held.delete(index)
  }
}
