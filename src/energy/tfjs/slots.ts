/** The answers in descent, one in each slot, each with the best answer so far. Owns their tensors. */
import { BasinError } from '../../errors.js'
import type { ModelConfig } from '../../model/config.js'
import type { ReadRow, StepResult } from '../engine.js'
import { checkRange } from '../range.js'
import type { Tensor } from './backend.js'

/** The answer of one candidate in descent. Its tensors are [1, K, W] and belong to the slot. */
export interface Slot {
  contextId: number
  seed: number
  candidate: number
  clamped: readonly number[] | undefined
  /** y, or z in vocab space. */
  state: Tensor
  /** What is read out after the latest step: F for residual, else the state. */
  last: Tensor
  best: Tensor
  bestEnergy: number
  /** Whether `state` may be returned as an answer: a start may be only where it is a draft. */
  stateIsAnswer: boolean
}

export class Slots {
  private readonly held = new Map<number, Slot>()

  constructor(
    private readonly model: ModelConfig,
    /** The number of slots. */
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

  /** Frees the slots bound to a context, or all slots. */
  release(contextId?: number): void {
    for (const [index, slot] of this.held)
      if (contextId === undefined || slot.contextId === contextId) this.free(index)
  }

  answer(slot: Slot, which: Exclude<ReadRow['which'], 'present'>): Tensor {
    return which === 'best' && slot.bestEnergy < Infinity ? slot.best : slot.last
  }

  /** Enters the outcome of a step into its slot: the best answer so far, the next state, the latest read-out. */
  advance(slot: Slot, result: StepResult, next: Tensor, answer: Tensor): void {
    const residual = this.model.energy.kind === 'residual'
    if (residual || slot.stateIsAnswer)
      this.keepBest(slot, result.energy, residual ? answer : slot.state)
    slot.state.dispose()
    slot.last.dispose()
    slot.state = next
    slot.last = answer
    slot.stateIsAnswer = true
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
