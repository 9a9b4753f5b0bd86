/** What an engine knows of the answers in its slots without asking the device. */
import { BasinError } from '../../errors.js'
import { checkRange } from '../range.js'

export interface Slot {
  contextId: number
  seed: number
  candidate: number
  /** [K], or undefined where all move. */
  clamped: readonly number[] | undefined
  /** Whether the state may be returned as an answer: a start is one only if it is a draft. */
  stateIsAnswer: boolean
}

export class AnswerSlots {
  private readonly held = new Map<number, Slot>()

  /** `most`: how many there may be. */
  constructor(private readonly most: number) {}

  /** Throws `out_of_range` for one that was not begun. */
  get(index: number): Slot {
    checkRange('slot', index, this.most)
    const slot = this.held.get(index)
    if (!slot)
      throw new BasinError('out_of_range', {
        param: 'slot',
        bound: 'a slot that was begun',
        value: index,
      })
    return slot
  }

  set(index: number, slot: Slot): void {
    this.held.set(index, slot)
  }

  /** Frees all slots that are bound to this context. */
  release(contextId: number): void {
    for (const [index, slot] of this.held) if (slot.contextId === contextId) this.held.delete(index)
  }
}
