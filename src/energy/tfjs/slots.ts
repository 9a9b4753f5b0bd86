/** The answers in descent, one in each slot, each with the best answer so far. Owns their tensors. */
import type { ModelConfig } from '../../model/config.js'
import type { ReadRow, StepResult } from '../engine.js'
import { type BegunAnswer, SlotTable } from '../slot-table.js'
import type { Tensor } from './backend.js'

/** The answer of one candidate in descent. Its tensors are [1, K, W] and belong to the slot. */
export interface Slot extends BegunAnswer {
  /** y, or z in vocab space. */
  state: Tensor
  /** What is read out after the latest step: F for residual, else the state. */
  last: Tensor
  best: Tensor
  bestEnergy: number
}

function dispose({ best, last, state }: Slot): void {
  state.dispose()
  last.dispose()
  best.dispose()
}

export class Slots extends SlotTable<Slot> {
  constructor(
    private readonly model: ModelConfig,
    /** The number of slots. */
    most: number,
  ) {
    super(most, dispose)
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
}
