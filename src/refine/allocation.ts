/**
 * How the candidates of one answer share its steps. Pure functions of integers and energies.
 *
 * `even`: the candidates descend side by side, each for at most max_steps. `adaptive`: they share a total
 * of max_steps x candidates and descend one after the other, each for as long as its energy falls; steps
 * that an answer of a completion leaves over may be used by the next answer.
 */
import type { Allocation, Budget } from './budget.js'
import type { Progress } from './stop.js'

/**
 * Idle steps in a row (`Progress.idleSteps`) after which a candidate's turn is over. On hard boards of
 * sudoku6 1 abandons candidates too early, and 3 hardly solves more for the steps that it adds.
 */
const STEPS_WITHOUT_FALL = 2

/** Steps for all candidates of an answer together. */
export const totalSteps = ({ maxSteps = Infinity, candidates, restarts }: Budget): number =>
  restarts ? maxSteps : maxSteps * candidates

/** Whether a candidate's energy has stopped falling, so that its turn is over. */
export const atRest = (progress: Progress, budget: Budget): boolean =>
  progress.idleSteps >= STEPS_WITHOUT_FALL && progress.steps >= budget.minSteps

/** Whether candidate `index` steps now. `stopped`: which of the candidates, in order, have stopped. */
export const hasTurn = (
  allocation: Allocation,
  stopped: readonly boolean[],
  index: number,
): boolean => !stopped[index] && (allocation === 'even' || stopped.indexOf(false) === index)
