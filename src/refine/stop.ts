/**
 * The rules that stop the descent of one candidate: `advance` folds each step's energies into a
 * `Progress` of constant size, and `decide` says which rule holds then. Pure: elapsed seconds are an
 * argument; this file knows no clock and no tensor.
 */
import { isAccepted } from './acceptance.js'
import type { Budget, StopReason } from './budget.js'

/** What one step reports about the state that it started from (docs/mathematics.md). */
export interface StepEnergies {
  energy: number
  gradientNorm: number
  /** Lowest energy among the answers so far; Infinity while there is none. */
  best: number
  parts?: { disagreement: number; doubt: number }
}

export interface Progress {
  /** Steps taken. */
  readonly steps: number
  /** Energy at the starting point. */
  readonly initial: number
  /** Energy of the latest state that was evaluated. */
  readonly final: number
  /** Energy of the best answer so far. */
  readonly best: number
  readonly gradientNorm: number
  /** Steps in a row whose energy changed by no more than the tolerance. */
  readonly calmSteps: number
  /** Steps in a row that hardly lowered the best energy: see LEAST_FALL_SHARE. */
  readonly idleSteps: number
  /** The best energy when it last fell by more than the tolerance. */
  readonly plateauEnergy: number
  /** Steps since then. */
  readonly plateauSteps: number
  /** What a line search multiplies the size of the next step by, in (0, 1]. */
  readonly stepShare: number
  readonly parts: { readonly disagreement: number; readonly doubt: number } | undefined
}

export const beforeFirstStep: Progress = Object.freeze({
  steps: 0,
  initial: Infinity,
  final: Infinity,
  best: Infinity,
  gradientNorm: Infinity,
  calmSteps: 0,
  idleSteps: 0,
  plateauEnergy: Infinity,
  plateauSteps: 0,
  stepShare: 1,
  parts: undefined,
})

/** A relative change is measured against |E|, but never against less than this. */
const ENERGY_FLOOR = 1e-6

/** A step is idle unless it lowers the best energy by more than this share of its fall so far. */
const LEAST_FALL_SHARE = 0.01

function idleStepsAfter(before: Progress, best: number): number {
  if (!Number.isFinite(before.best)) return 0
  const fell = before.best - best
  return fell > LEAST_FALL_SHARE * Math.max(0, before.initial - before.best)
    ? 0
    : before.idleSteps + 1
}

const allowedChange = (budget: Budget, energy: number): number =>
  (budget.tolerance ?? 0) * Math.max(Math.abs(energy), ENERGY_FLOOR)

/** Small falls count together: the plateau ends once they add up to more than the tolerance. */
function plateauAfter(
  before: Progress,
  best: number,
  budget: Budget,
): Pick<Progress, 'plateauEnergy' | 'plateauSteps'> {
  const { plateauEnergy, plateauSteps } = before
  const goesOn =
    Number.isFinite(plateauEnergy) && plateauEnergy - best <= allowedChange(budget, plateauEnergy)
  return goesOn
    ? { plateauEnergy, plateauSteps: plateauSteps + 1 }
    : { plateauEnergy: best, plateauSteps: 0 }
}

/** A line search whose step size is at or below this share has converged: shorter steps vanish in float32. */
const SHORTEST_STEP_SHARE = 2 ** -12

/** A step that was not taken leaves the energy bit for bit the same. */
function stepShareAfter({ lineSearch }: Budget, before: Progress, energy: number): number {
  if (!lineSearch || before.steps === 0) return 1
  return energy === before.final ? before.stepShare / 2 : Math.min(1, before.stepShare * 2)
}

/** The progress after one more step. */
export function advance(before: Progress, step: StepEnergies, budget: Budget): Progress {
  const change = Math.abs(step.energy - before.final)
  const stepShare = stepShareAfter(budget, before, step.energy)
  const searching = stepShare < before.stepShare && stepShare > SHORTEST_STEP_SHARE
  const calm =
    before.steps > 0 &&
    !searching &&
    budget.tolerance !== undefined &&
    change <= allowedChange(budget, step.energy)
  return {
    steps: before.steps + 1,
    initial: before.steps === 0 ? step.energy : before.initial,
    final: step.energy,
    best: step.best,
    gradientNorm: step.gradientNorm,
    calmSteps: calm ? before.calmSteps + 1 : 0,
    idleSteps: idleStepsAfter(before, step.best),
    ...plateauAfter(before, step.best, budget),
    stepShare,
    parts: step.parts,
  }
}

/** The progress after a closing evaluation: the energy of the state after the last step, without a step. */
export function close(before: Progress, closing: Omit<StepEnergies, 'gradientNorm'>): Progress {
  return {
    ...before,
    initial: before.steps === 0 ? closing.energy : before.initial,
    final: closing.energy,
    best: closing.best,
    parts: closing.parts,
  }
}

/** Whether a descent stands still, by the rules of its budget. */
export function converged(budget: Budget, progress: Progress): boolean {
  if (progress.steps < budget.minSteps) return false
  const { tolerance, patience, plateau = Infinity } = budget
  const calm =
    tolerance !== undefined && (progress.calmSteps >= patience || progress.plateauSteps >= plateau)
  const flat =
    budget.gradientTolerance !== undefined && progress.gradientNorm <= budget.gradientTolerance
  return calm || flat
}

/** The limit that forbids a further step, if one does. It is asked before the first step too. */
export function exhausted(
  budget: Budget,
  progress: Progress,
  elapsedSeconds: number,
): StopReason | undefined {
  if (budget.maxSteps !== undefined && progress.steps >= budget.maxSteps) return 'max_steps'
  if (budget.maxSeconds !== undefined && elapsedSeconds >= budget.maxSeconds) return 'max_seconds'
  return undefined
}

/** The first rule that holds after a step, in the order of `StopReason`; undefined where descent goes on. */
export function decide(
  budget: Budget,
  progress: Progress,
  elapsedSeconds: number,
  asked?: 'finished' | 'cancelled',
): StopReason | undefined {
  if (!Number.isFinite(progress.final)) return 'diverged'
  if (converged(budget, progress)) return 'converged'
  if (isAccepted(budget, progress)) return 'energy_target'
  return exhausted(budget, progress, elapsedSeconds) ?? asked
}

/**
 * How many steps will be taken whatever their energies are: no rule but divergence can hold before the
 * last of them. 0 if a limit holds already. `seconds`: about how long that many steps may take.
 */
export function certainSteps(
  budget: Budget,
  progress: Progress,
  elapsedSeconds: number,
  seconds: number,
): number {
  if (exhausted(budget, progress, elapsedSeconds)) return 0
  const { energyTarget, gradientTolerance, lineSearch, metropolis, minSteps, tolerance } = budget
  const { maxSeconds = Infinity, maxSteps = Infinity, patience, plateau = Infinity } = budget
  const late = elapsedSeconds + seconds >= maxSeconds
  const judged = lineSearch || metropolis !== undefined
  if (late || judged || energyTarget !== undefined || gradientTolerance !== undefined) return 1
  const rest =
    tolerance === undefined
      ? Infinity
      : Math.max(
          Math.min(patience - progress.calmSteps, plateau - progress.plateauSteps),
          minSteps - progress.steps,
        )
  return Math.max(1, Math.min(maxSteps - progress.steps, rest))
}

/** What a client's `extend` adds to a budget. */
export interface Extra {
  steps?: number
  seconds?: number
}

/**
 * Raises the limits of a budget; absent limits stay absent. While the answer descends, `extra` is added
 * to the limits. Once it has stopped, `extra` is added to what it has used (`stood`), so an answer that
 * converged early gets all of the extra steps.
 */
export function extend(
  budget: Budget,
  extra: Extra,
  stood?: { steps: number; seconds: number },
): Budget {
  const raised = { ...budget }
  if (extra.steps !== undefined && budget.maxSteps !== undefined) {
    raised.maxSteps = (stood?.steps ?? budget.maxSteps) + extra.steps
  }
  if (extra.seconds !== undefined && budget.maxSeconds !== undefined) {
    raised.maxSeconds = (stood?.seconds ?? budget.maxSeconds) + extra.seconds
  }
  return raised
}

/** The same descent on another landscape: what was found on the one before counts no more. */
export const askedAnew = ({ initial, steps }: Progress): Progress => ({
  ...beforeFirstStep,
  steps,
  initial,
})

/** The progress with which a stopped candidate goes on: convergence is counted from zero again. */
export function reopen(progress: Progress, reason: StopReason): Progress {
  return reason === 'converged'
    ? { ...progress, calmSteps: 0, idleSteps: 0, plateauSteps: 0 }
    : progress
}
