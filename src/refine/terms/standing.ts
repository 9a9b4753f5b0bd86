/**
 * Which of two states of an answer is the better one, and which candidate becomes the answer, where terms
 * are added to the energy. States whose required terms hold come before all others and are compared by the
 * energy of the model and the terms that are only wished for; the others by the composed energy, which says
 * how near they are.
 */
import type { Selection } from '../budget.js'
import { choose, type Outcome } from '../candidates.js'

export interface Standing {
  /** E_model */
  energy: number
  /** E_model + sum_k w_k T_k over the terms that are not required. */
  ranked: number
  /** E_model + sum_k w_k T_k */
  total: number
  /** Every required term is satisfied. */
  holds: boolean
}

/** Whether a state is to be kept in place of the best one so far. States without a finite energy are not. */
export function isBetter(state: Standing, best: Standing | undefined): boolean {
  if (!Number.isFinite(state.energy)) return false
  if (!best) return true
  if (state.holds !== best.holds) return state.holds
  return state.holds ? state.ranked < best.ranked : state.total < best.total
}

/** The energy that `energy_target` and plateaus are judged by: that of a state whose required terms hold. */
export const judgedEnergy = (best: Standing | undefined): number =>
  best?.holds ? best.energy : Infinity

const rankedEnergy = (best: Standing | undefined): number | undefined =>
  best?.holds ? best.ranked : undefined

/** The index of the chosen candidate; -1 where none has a finite energy. `initial`: as in `Outcome`. */
export function chooseStanding(
  candidates: readonly (Pick<Outcome, 'initial'> & { standing: Standing | undefined })[],
  select: Selection,
): number {
  const holding = candidates.some(({ standing }) => standing?.holds)
  return choose(
    candidates.map(({ initial, standing }) => {
      const value = holding ? rankedEnergy(standing) : standing?.total
      const energy = value ?? Infinity
      return { initial, energy }
    }),
    holding ? select : 'min',
  )
}
