/** Which state of an answer is accepted: the only place that says when a search has found what it looks for. */
import type { Budget } from './budget.js'
import { uniform } from './random.js'

/** `best`: the lowest energy among the answers of a descent so far; Infinity while there is none. */
export const isAccepted = (
  { energyTarget }: Pick<Budget, 'energyTarget'>,
  { best }: { readonly best: number },
): boolean => energyTarget !== undefined && best <= energyTarget

/** The first stream of `uniform` of the moves of descents, one for each; those of restarts are lower. */
const MOVE_STREAMS = 2 ** 24

/**
 * Whether Metropolis keeps a step that led from energy `before` to `after`. It makes no correction for how likely
 * the step was, which a step along a direction that is no gradient does not have, so what it samples is not exactly
 * exp(-E / temperature). A function of the answer's seed and the numbers of descent and step.
 */
export function keepsMove(
  temperature: number,
  { descent, seed, step }: { seed: number; descent: number; step: number },
  before: number,
  after: number,
): boolean {
  if (!Number.isFinite(after)) return false
  if (after <= before) return true
  return uniform(seed, MOVE_STREAMS + descent, step) < Math.exp((before - after) / temperature)
}
