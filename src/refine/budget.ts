/** What may be spent on one answer, and what a budget makes of each step. No clock, no tensor. */

/** How candidates share the steps of an answer: see allocation.ts. */
export type Allocation = 'even' | 'adaptive'

/** An absent limit does not bind. */
export interface Budget {
  /** Most steps of an answer; of each of its candidates, unless they share them. 0 needs a draft. */
  maxSteps?: number
  /** Steps before convergence may end the answer. */
  minSteps: number
  /** Most seconds of wall clock since the first step of an answer. */
  maxSeconds?: number
  /** The answer has converged when |E_k - E_(k-1)| <= tolerance * max(|E_k|, 1e-6) for `patience` steps in a row. */
  tolerance?: number
  patience: number
  /**
   * With a tolerance, the answer has also converged when this many steps together have lowered the best
   * energy by no more than tolerance * max(|E|, 1e-6). That happens where the energy oscillates, so that
   * `tolerance` alone never holds.
   */
  plateau?: number
  /** The answer has converged when the gradient norm is at or below this. */
  gradientTolerance?: number
  /** The answer ends when the best energy is at or below this. */
  energyTarget?: number
  /** M: how many starting points descend independently. */
  candidates: number
  select: Selection
  /** How the candidates share the steps. Absent: `even`. */
  allocation?: Allocation
  /**
   * Descents that are over give their slots to new ones, until one reaches the energy target. `maxSteps`
   * counts the steps of all descents then. Absent: each candidate descends once.
   */
  restarts?: Restarts
  /** With restarts only, which may be none. */
  commit?: Commit
  /** From 1 on it replaces the trained step size, in (0, 1) it multiplies it (reference: infer_ebt_override_alpha). */
  stepSize?: number
  /** `last_landscape`: earlier landscapes keep the trained step size (reference: infer_alpha_final_landscape). */
  stepSizeOn?: StepSizeOn
  /** Standard deviation of Langevin noise per step. */
  noise: number
  /** How many steps, from the first on, have noise. Absent: all (reference: infer_langevin_first_step). */
  noiseSteps?: number
  /** Steps on each landscape before the next one. Absent: 1 (reference: infer_ebt_num_steps). */
  landscapeSteps?: number
  /** Which answer is returned: the one of lowest energy so far, or the last. */
  keep: 'best' | 'last'
  /** Takes only steps that lower the energy. */
  acceptLower: boolean
  /**
   * A step that raises the composed energy by d is kept with probability exp(-d / this), else undone (Metropolis
   * et al. 1953). In units of the energy. Absent: every step is kept.
   */
  metropolis?: number
  /**
   * Backtracking (Armijo 1966): a step that would raise the energy is not taken and the step size is
   * halved; after a step that lowered it the step size is doubled, up to the model's own.
   */
  lineSearch?: boolean
}

export const restartPolicies = [
  'mixed',
  'model',
  'noise',
  'guess',
  'partial',
  'near',
  'population',
] as const

/**
 * What a new start is.
 *
 * | policy | where descents begin |
 * |---|---|
 * | `mixed` | the first one as the model does, the others in turn from noise and from guesses; few at first |
 * | `model` | where the model's answers do |
 * | `noise` | noise of unit deviation |
 * | `guess` | the first one as the model does; the others with a few positions committed that it left in doubt |
 * | `partial` | the last state of the candidate, with half of its blanks anew from noise |
 * | `near` | the state where the candidate stands, with noise on half of its blanks; where that leads is accepted by its energy (Metropolis) |
 * | `population` | the same, but from the state of a better candidate where the own one is in the worse half |
 */
export type RestartPolicy = (typeof restartPolicies)[number]

export interface Restarts {
  /** Steps of a descent. `plateau`: it is over when its best energy stands still. */
  after: number | 'plateau'
  /** Most descents of an answer beyond the first one of each candidate. Absent: no limit. */
  most?: number
  policy: RestartPolicy
  /**
   * Steps that the first candidate takes before a second one begins; it needs no other where they suffice. More
   * begin as the steps of the answer double: `breadth` of restarts.ts. 0: all begin together.
   */
  alone: number
}

/** Positions of an answer become certain while the others go on: see commit.ts. */
export interface Commit {
  /** Positions that are committed at a time: a number, or a share of the blanks of the answer. */
  count?: number
  share?: number
  /**
   * `most`: the most certain positions get their most probable tokens. `temperature`: they get tokens drawn at the
   * temperature of the request. `sample`: positions that are not sure get drawn ones.
   */
  draw: 'most' | 'temperature' | 'sample'
  /** Steps before the first commit, and after each. */
  after: number
  /** Commits are opened when the energy target is reached, or nothing is left to commit. */
  reopen: boolean
}

export type StepSizeOn = 'every_landscape' | 'last_landscape'

/** What a budget makes of one step of a model with `landscapes` landscapes. */
export interface StepPlan {
  landscape: number
  noise: number
  acceptLower: boolean
  stepSize?: number
  /** What a line search multiplies the step size by. Absent: 1. */
  shrink?: number
}

/**
 * The plan of step number `step` (0-based). Steps beyond those of the other landscapes take the last
 * one. `stepShare`: what a line search multiplies the step size by.
 */
export function planStep(
  budget: Budget,
  step: number,
  landscapes: number,
  stepShare = 1,
): StepPlan {
  const landscape = Math.min(Math.floor(step / (budget.landscapeSteps ?? 1)), landscapes - 1)
  const sized = budget.stepSizeOn !== 'last_landscape' || landscape === landscapes - 1
  const plan: StepPlan = {
    landscape,
    noise: step < (budget.noiseSteps ?? Infinity) ? budget.noise : 0,
    acceptLower: budget.acceptLower || budget.lineSearch === true,
  }
  if (sized && budget.stepSize !== undefined) plan.stepSize = budget.stepSize
  if (stepShare !== 1) plan.shrink = stepShare
  return plan
}

/** The size of one step: the trained size, changed as the plan says. */
export function stepSizeOf(
  trained: number,
  { stepSize, shrink = 1 }: Pick<StepPlan, 'stepSize' | 'shrink'>,
): number {
  if (stepSize === undefined || stepSize === 0) return trained * shrink
  return (stepSize < 1 ? trained * stepSize : stepSize) * shrink
}

/** `min`: lowest final energy. `max_gap`: largest drop of energy. `max`: highest final energy, for ablations. */
export type Selection = 'min' | 'max_gap' | 'max'

/** Why an answer ended, in the order in which rules are checked. `diverged`: its energy is not finite; the best answer before is kept. */
export type StopReason =
  | 'diverged'
  | 'converged'
  | 'energy_target'
  | 'max_steps'
  | 'max_seconds'
  | 'finished'
  | 'cancelled'
