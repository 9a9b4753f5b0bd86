/**
 * What may be spent on one answer, and when it ends. Pure policy: integers and energies in, a decision
 * out; no clock, no tensor.
 */

/** How candidates share the steps of an answer: see allocation.ts. */
export type Allocation = 'even' | 'adaptive'

/** Absent limits do not bind: without maxSteps refinement is unbounded. */
export interface Budget {
  /** Most steps per answer. Absent: unbounded. 0 needs a draft. */
  maxSteps?: number
  /** Steps before convergence may end the answer. */
  minSteps: number
  /** Most seconds per answer, of wall clock since its first step. */
  maxSeconds?: number
  /** Ends when |E_k - E_(k-1)| <= tolerance * max(|E_k|, 1e-6) for `patience` steps in a row. */
  tolerance?: number
  patience: number
  /**
   * With a tolerance, ends too when so many steps have lowered the best energy by no more than
   * tolerance * max(|E|, 1e-6) together: where energies tremble or step sizes come and go, no step
   * is like the one before, and yet nothing is found any more.
   */
  plateau?: number
  /** Ends when the gradient norm falls to this or below. */
  gradientTolerance?: number
  /** Ends when the best energy is at or below this. */
  energyTarget?: number
  /** M: independent starting points for the same answer. */
  candidates: number
  select: Selection
  /** How the candidates share the steps. Absent: even. */
  allocation?: Allocation
  /** Replaces the trained step size when >= 1, multiplies it when in (0, 1) (reference: infer_ebt_override_alpha). */
  stepSize?: number
  /** `last_landscape`: earlier landscapes keep the trained step size (reference: infer_alpha_final_landscape). */
  stepSizeOn?: StepSizeOn
  /** Standard deviation of Langevin noise per step. */
  noise: number
  /** Noise in the first so many steps only. Absent: in all (reference: infer_langevin_first_step). */
  noiseSteps?: number
  /** Steps on each landscape before the next. Absent: 1 (reference: infer_ebt_num_steps). */
  landscapeSteps?: number
  /** Which answer is returned: the best energy seen (default), or the last. */
  keep: 'best' | 'last'
  acceptLower: boolean
  /**
   * Backtracking (Armijo 1966): a step that would raise the energy is not taken, and the next is half as
   * long; after one that lowered it, twice as long, up to the model's own.
   */
  lineSearch?: boolean
}

export type StepSizeOn = 'every_landscape' | 'last_landscape'

/** What a budget makes of one step of a model with `landscapes` landscapes. */
export interface StepPlan {
  landscape: number
  noise: number
  acceptLower: boolean
  stepSize?: number
  /** Multiplies the step size. Absent: 1. */
  shrink?: number
}

/**
 * `step`: 0-based. The last landscape takes whatever steps are left. `searched`: the share of the step
 * size that a line search has come to.
 */
export function planStep(budget: Budget, step: number, landscapes: number, searched = 1): StepPlan {
  const landscape = Math.min(Math.floor(step / (budget.landscapeSteps ?? 1)), landscapes - 1)
  const sized = budget.stepSizeOn !== 'last_landscape' || landscape === landscapes - 1
  return {
    landscape,
    noise: step < (budget.noiseSteps ?? Infinity) ? budget.noise : 0,
    acceptLower: budget.acceptLower || budget.lineSearch === true,
    ...(sized && budget.stepSize !== undefined && { stepSize: budget.stepSize }),
    ...(searched !== 1 && { shrink: searched }),
  }
}

/** The step size of one step, of the trained one and what a plan says of it. */
export function stepSizeOf(
  trained: number,
  { stepSize: asked, shrink = 1 }: Pick<StepPlan, 'stepSize' | 'shrink'>,
): number {
  if (asked === undefined || asked === 0) return trained * shrink
  return (asked < 1 ? trained * asked : asked) * shrink
}

/** `min`: lowest final energy. `max_gap`: largest drop. `max`: for ablations. */
export type Selection = 'min' | 'max_gap' | 'max'

/** In the order of asking. `diverged`: the energy left the finite numbers; the best answer is kept. */
export type StopReason =
  | 'diverged'
  | 'converged'
  | 'energy_target'
  | 'max_steps'
  | 'max_seconds'
  | 'finished'
  | 'cancelled'
