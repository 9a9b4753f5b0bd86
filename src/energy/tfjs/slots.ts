/** The answers in descent: one for each slot, with the best of each so far. Owns their tensors. */
import { BasinError } from '../../errors.js'
import type { ModelConfig } from '../../model/config.js'
import type { ReadRow, StepResult } from '../engine.js'
import type { Tensor } from './backend.js'
import { checkRange } from '../range.js'

/** One candidate's answer in descent. Tensors are [1, K, W], owned by the slot. */
export interface Slot {
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

export class Slots {
  private readonly held = new Map<number, Slot>()

  constructor(
    private readonly model: ModelConfig,
    /** How many there may be. */
    private readonly most: number,
  ) {}

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
    this.free(index)
    this.held.set(index, slot)
  }

  /** All that descend from this sequence, or all there are. */
  release(sequence?: number): void {
    for (const [index, slot] of this.held)
      if (sequence === undefined || slot.sequence === sequence) this.free(index)
  }

  answer(slot: Slot, which: ReadRow['which']): Tensor {
    return which === 'best' && slot.bestEnergy < Infinity ? slot.best : slot.last
  }

  /** Enters a step's outcome into its slot: the best answer so far, the next state, the latest reading. */
  advance(slot: Slot, result: StepResult, next: Tensor, answer: Tensor): void {
    const residual = this.model.energy.kind === 'residual'
    if (residual || slot.judged) this.keepBest(slot, result.energy, residual ? answer : slot.state)
    slot.state.dispose()
    slot.last.dispose()
    slot.state = next
    slot.last = answer
    slot.judged = true
    result.best = slot.bestEnergy
  }

  keepBest(slot: Slot, energy: number, answer: Tensor): void {
    if (!(energy < slot.bestEnergy)) return
    slot.best.dispose()
    slot.best = answer.clone()
    slot.bestEnergy = energy
  }

  private free(index: number): void {
    const slot = this.held.get(index)
    slot?.state.dispose()
    slot?.last.dispose()
    slot?.best.dispose()
    this.held.delete(index)
  }
}
