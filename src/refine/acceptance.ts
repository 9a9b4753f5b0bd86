/** Which state of an answer is accepted: the only place that says when a search has found what it looks for. */
import type { Budget } from './budget.js'

/** `best`: the lowest energy among the answers of a descent so far; Infinity while there is none. */
export const isAccepted = (
  { energyTarget }: Pick<Budget, 'energyTarget'>,
  { best }: { readonly best: number },
): boolean => energyTarget !== undefined && best <= energyTarget
