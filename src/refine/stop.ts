/**
 * The stop rules as a state machine over the steps of one candidate: fold each step's energies into
 * `Progress`, then ask whether a rule holds. Constant memory, whatever the number of steps. Seconds
 * are passed in; knows no clock and no tensor.
 */
import type { Budget, StopReason } from './budget.js'

/** What one step reports about the state it started from (see docs/mathematics.md). */
export interface Judged {
  energy: number
  gradientNorm: number
  /** Lowest energy among the answers seen so far; Infinity while there was none. */
  best: number
  terms?: { disagreement: number; doubt: number }
}

export interface Progress {
  /** Steps taken. */
  readonly steps: number
  /** Energies: at the starting point, of the latest judged state, of the best answer so far. */
  readonly initial: number
  readonly final: number
  readonly best: number
  readonly gradientNorm: number
  /** Steps in a row whose energy changed by no more than the tolerance. */
  readonly calm: number
  /** Steps in a row by which the best energy hardly fell. */
  readonly idle: number
  /** The best energy when it last fell by more than the tolerance, and the steps since. */
  readonly mark: number
  readonly since: number
  /** Share of the step size that a line search takes next. */
  readonly searched: number
  readonly terms: { readonly disagreement: number; readonly doubt: number } | undefined
}

export const beforeFirstStep: Progress = Object.freeze({
  steps: 0,
  initial: Infinity,
  final: Infinity,
  best: Infinity,
  gradientNorm: Infinity,
  calm: 0,
  idle: 0,
  mark: Infinity,
  since: 0,
  searched: 1,
  terms: undefined,
})

/** The smallest |E| that a relative change is measured against. */
const ENERGY_FLOOR = 1e-6

/** A step lets the energy fall if it adds this share to what the steps before it did. */
const FALL = 0.01

function idleAfter(before: Progress, best: number): number {
  if (!Number.isFinite(before.best)) return 0
  const fell = before.best - best
  return fell > FALL * Math.max(0, before.initial - before.best) ? 0 : before.idle + 1
}

const allowance = (budget: Budget, energy: number): number =>
  (budget.tolerance ?? 0) * Math.max(Math.abs(energy), ENERGY_FLOOR)

/** A best energy that falls little by little has fallen once its falls add up to the tolerance. */
function markedAfter(before: Progress, best: number, budget: Budget) {
  const { mark, since } = before
  return Number.isFinite(mark) && mark - best <= allowance(budget, mark)
    ? { mark, since: since + 1 }
    : { mark: best, since: 0 }
}

/** Below this a line search has nothing left to find: its steps are lost in float32. */
const SHORTEST = 2 ** -12

/** A step that was not taken leaves the energy as it was, to the bit. */
function searchedAfter({ lineSearch }: Budget, before: Progress, energy: number): number {
  if (!lineSearch || before.steps === 0) return 1
  return energy === before.final ? before.searched / 2 : Math.min(1, before.searched * 2)
}

export function advance(before: Progress, judged: Judged, budget: Budget): Progress {
  const change = Math.abs(judged.energy - before.final)
  const searched = searchedAfter(budget, before, judged.energy)
  const searching = searched < before.searched && searched > SHORTEST
  const still =
    before.steps > 0 &&
    !searching &&
    budget.tolerance !== undefined &&
    change <= allowance(budget, judged.energy)
  return {
    steps: before.steps + 1,
    initial: before.steps === 0 ? judged.energy : before.initial,
    final: judged.energy,
    best: judged.best,
    gradientNorm: judged.gradientNorm,
    calm: still ? before.calm + 1 : 0,
    idle: idleAfter(before, judged.best),
    ...markedAfter(before, judged.best, budget),
    searched,
    terms: judged.terms,
  }
}

/** A closing evaluation: it judges the state after the last step, and is no step. */
export function close(before: Progress, judged: Omit<Judged, 'gradientNorm'>): Progress {
  return {
    ...before,
    initial: before.steps === 0 ? judged.energy : before.initial,
    final: judged.energy,
    best: judged.best,
    terms: judged.terms,
  }
}

function converged(budget: Budget, progress: Progress): boolean {
  if (progress.steps < budget.minSteps) return false
  const { tolerance, patience, plateau = Infinity } = budget
  const calm = tolerance !== undefined && (progress.calm >= patience || progress.since >= plateau)
  const flat =
    budget.gradientTolerance !== undefined && progress.gradientNorm <= budget.gradientTolerance
  return calm || flat
}

/** The limit that forbids a further step, if one does. Asked before the first step too. */
export function exhausted(
  budget: Budget,
  progress: Progress,
  elapsedSeconds: number,
): StopReason | undefined {
  if (budget.maxSteps !== undefined && progress.steps >= budget.maxSteps) return 'max_steps'
  if (budget.maxSeconds !== undefined && elapsedSeconds >= budget.maxSeconds) return 'max_seconds'
  return undefined
}

/** After a step: the first rule that holds, in the order of `StopReason`; undefined to go on. */
export function decide(
  budget: Budget,
  progress: Progress,
  elapsedSeconds: number,
  asked?: 'finished' | 'cancelled',
): StopReason | undefined {
  if (!Number.isFinite(progress.final)) return 'diverged'
  if (converged(budget, progress)) return 'converged'
  if (budget.energyTarget !== undefined && progress.best <= budget.energyTarget) {
    return 'energy_target'
  }
  return exhausted(budget, progress, elapsedSeconds) ?? asked
}

/**
 * How many steps are certain, whatever they find, 0 if a limit holds already: no rule but divergence can
 * hold before the last of them. `seconds`: about how long such steps may take.
 */
export function certainSteps(
  budget: Budget,
  progress: Progress,
  elapsedSeconds: number,
  seconds: number,
): number {
  if (exhausted(budget, progress, elapsedSeconds)) return 0
  const { energyTarget, gradientTolerance, lineSearch, minSteps, tolerance } = budget
  const { maxSeconds = Infinity, maxSteps = Infinity, patience, plateau = Infinity } = budget
  const late = elapsedSeconds + seconds >= maxSeconds
  if (late || lineSearch || energyTarget !== undefined || gradientTolerance !== undefined) return 1
  const rest =
    tolerance === undefined
      ? Infinity
      : Math.max(
          Math.min(patience - progress.calm, plateau - progress.since),
          minSteps - progress.steps,
        )
  return Math.max(1, Math.min(maxSteps - progress.steps, rest))
}

/** What an `extend` adds to a budget. */
export interface Extra {
  steps?: number
  seconds?: number
}

/**
 * Raises a budget. While the answer descends the limits grow; once it has stopped they count from
 * where it stands, so that an answer which converged early gets all of the extra steps. Absent
 * limits stay absent.
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

/** A stopped candidate goes on: what ended it, other than a limit, has to hold anew. */
export function reopen(progress: Progress, reason: StopReason): Progress {
  return reason === 'converged' ? { ...progress, calm: 0, idle: 0, since: 0 } : progress
}
