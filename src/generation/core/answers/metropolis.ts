/**
 * Metropolis acceptance of the steps of one candidate. A step adds noise to the state, takes the energy there, and
 * goes on along its direction. Where that energy is refused, the state before the noise, as the engine saved it,
 * is put back, and the next step draws other noise. Makes no call of the engine; the rule is in
 * refine/acceptance.ts.
 */
import { keepsMove } from '../../../refine/acceptance.js'
import type { CandidateTerms } from './answer-terms.js'

/** A state before the noise of a step. */
export interface StateBefore {
  /** Of `EnergyEngine.save`. */
  bytes: Uint8Array
  /** What terms knew of it. */
  terms: Pick<CandidateTerms, 'latest' | 'push'> | undefined
}

export type Move = 'accepted' | 'rejected'

/** What a candidate remembers of its moves. */
export interface MovesMemory {
  energy: number | undefined
  undo: StateBefore | undefined
}

export class Moves {
  /** Of the step that was accepted last, composed with the terms of the request. */
  private energy: number | undefined
  /** To be put back before the next step. */
  undo: StateBefore | undefined

  /** `energy`: where the step led; `step`: of the descent, from 0, whose first step is not judged. */
  judge(
    temperature: number,
    at: { seed: number; descent: number; step: number },
    energy: number,
    before: StateBefore,
  ): Move | undefined {
    const last = at.step === 0 ? undefined : this.energy
    if (last !== undefined && !keepsMove(temperature, at, last, energy)) {
      this.undo = before
      return 'rejected'
    }
    this.undo = undefined
    this.energy = energy
    return last === undefined ? undefined : 'accepted'
  }

  /** For `recall`. */
  get memory(): MovesMemory {
    return { energy: this.energy, undo: this.undo }
  }

  /** Goes on from where another one stood. */
  recall({ energy, undo }: MovesMemory): void {
    this.energy = energy
    this.undo = undo
  }

  /** Another question is asked, so energies before it say nothing. */
  forget(): void {
    this.energy = undefined
    this.undo = undefined
  }
}
