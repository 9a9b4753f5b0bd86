/**
 * Which state of an answer is accepted: the only place that says when a search has found what it looks for, and
 * which states a search goes on from by chance.
 */
import type { Budget } from './budget.js'
import { STREAMS, uniform } from './random.js'

/** `best`: the lowest energy among the answers of a descent so far; Infinity while there is none. */
export const isAccepted = (
  { energyTarget }: Pick<Budget, 'energyTarget'>,
  { best }: { readonly best: number },
): boolean => energyTarget !== undefined && best <= energyTarget

/**
 * Whether Metropolis goes on from a state of energy `after` in place of one of energy `before`; never where `after`
 * is not finite. `chance`: uniform in (0, 1).
 */
export const isKept = (
  temperature: number,
  before: number,
  after: number,
  chance: number,
): boolean =>
  Number.isFinite(after) && (after <= before || chance < Math.exp((before - after) / temperature))

/**
 * Whether Metropolis keeps a step that led from energy `before` to `after`. It makes no correction for how likely
 * the step was, which a step along a direction that is no gradient does not have, so what it samples is not exactly
 * exp(-E / temperature). A function of the answer's seed and the numbers of descent and step.
 */
export const keepsMove = (
  temperature: number,
  { descent, seed, step }: { seed: number; descent: number; step: number },
  before: number,
  after: number,
): boolean => isKept(temperature, before, after, uniform(seed, STREAMS.moves + descent, step))
