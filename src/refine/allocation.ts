/**
 * How the candidates of one answer share its steps. Pure policy: integers and energies in, whose turn it
 * is out.
 *
 * `even`: every candidate may take max_steps, side by side. `adaptive`: one total of max_steps x candidates,
 * spent where the energy still falls: a candidate goes on for as long as its own does, then the next one
 * begins, and what one answer of a completion leaves over the next one may use.
 */
import type { Allocation, Budget } from './budget.js'
import type { Progress } from './stop.js'

/**
 * Steps in a row without a fall after which the energy falls no more. On hard boards of sudoku6 1 leaves
 * candidates too early, and 3 hardly solves more for the steps it adds (the commits of this file have figures).
 */
const PATIENCE = 2

/** Steps for all candidates of an answer together. */
export const totalSteps = ({ maxSteps, candidates }: Budget): number =>
  (maxSteps ?? Infinity) * candidates

/** Whether a candidate's energy has come to rest, so that its turn is over. */
export const atRest = (progress: Progress, budget: Budget): boolean =>
  progress.idle >= PATIENCE && progress.steps >= budget.minSteps

/** Of candidates in order, some of them stopped: whether the one at `index` steps now. */
export const hasTurn = (
  allocation: Allocation,
  stopped: readonly boolean[],
  index: number,
): boolean => !stopped[index] && (allocation === 'even' || stopped.indexOf(false) === index)
