/**
 * One answer in descent: its candidates, how far each has come, and the time it has had. Follows
 * the stop rules of src/refine; knows neither engine nor text.
 */
import type { EnergyResult, StepResult } from '../../energy/engine.js'
import { atRest, hasTurn, totalSteps } from '../../refine/allocation.js'
import type { Budget, StopReason } from '../../refine/budget.js'
import { choose } from '../../refine/candidates.js'
import {
  advance,
  beforeFirstStep,
  certainSteps,
  close,
  decide,
  exhausted,
  extend,
  reopen,
  type Extra,
  type Progress,
} from '../../refine/stop.js'
import { BLANK } from './template.js'

export interface Candidate {
  readonly slot: number
  progress: Progress
  /** Progress with the closing evaluation; descent goes on from `progress`, without it. */
  closed: Progress | undefined
  stopped: StopReason | undefined
}

export interface AnswerShape {
  /** How many answers of this completion came before. */
  index: number
  /** Index of its first position in the completion, in tokens; negative in what is given before. */
  position: number
  /** Positions that count: K, or fewer at the end of a completion. */
  length: number
  /** [K] known tokens, BLANK where the position moves; undefined when all move. */
  clamped: readonly number[] | undefined
}

export class Answer {
  readonly candidates: readonly Candidate[]
  /** The client asked for the best so far. */
  private asked: 'finished' | undefined
  /** Seconds of descent before `since`; the clock stands still while paused or held. */
  private spent = 0

  constructor(
    readonly shape: AnswerShape,
    private budget: Budget,
    slots: readonly number[],
    private since: number | undefined,
    /** Steps beyond the budget that answers before left over; adaptive allocation only. */
    private carried = 0,
  ) {
    this.candidates = slots.map((slot) => ({
      slot,
      progress: beforeFirstStep,
      closed: undefined,
      stopped: undefined,
    }))
    for (const candidate of this.candidates) this.stopWhereExhausted(candidate, 0)
  }

  get limits(): Readonly<Budget> {
    return this.budget
  }

  /** Steps of its total that are left for the answers after it; 0 unless it is adaptive. */
  get unspent(): number {
    const left = this.adaptive ? this.stepsLeft : 0
    return Number.isFinite(left) ? Math.max(0, left) : 0
  }

  get settled(): boolean {
    return this.candidates.every(({ stopped }) => stopped !== undefined)
  }

  /** The first position that moves. */
  get firstMoving(): number {
    return Math.max(0, this.shape.clamped?.indexOf(BLANK) ?? 0)
  }

  elapsed(now: number): number {
    return this.spent + (this.since === undefined ? 0 : now - this.since)
  }

  stopClock(now: number): void {
    this.spent = this.elapsed(now)
    this.since = undefined
  }

  startClock(now: number): void {
    this.since ??= now
  }

  /** Whether a candidate takes a step in the next tick. */
  hasTurn(index: number): boolean {
    const stopped = this.candidates.map((candidate) => candidate.stopped !== undefined)
    return hasTurn(this.budget.allocation ?? 'even', stopped, index)
  }

  /** How many steps each moving candidate is sure to take: see `certainSteps` of refine/stop.ts. */
  certainSteps(now: number, seconds: number): number {
    if (this.adaptive || this.asked) return 1
    const moving = this.candidates.filter(({ stopped }) => stopped === undefined)
    const elapsed = this.elapsed(now)
    return Math.min(
      ...moving.map(({ progress }) => certainSteps(this.budget, progress, elapsed, seconds)),
    )
  }

  /** Takes in a step of one candidate and applies the stop rules. */
  step(candidate: Candidate, result: StepResult, now: number): void {
    candidate.closed = undefined
    candidate.progress = advance(candidate.progress, result, this.budget)
    const limits = this.adaptive ? withoutSteps(this.budget) : this.budget
    candidate.stopped = decide(limits, candidate.progress, this.elapsed(now), this.asked)
    if (this.adaptive) this.passOn(candidate)
  }

  /** Ends the turn of a candidate at rest, and with a limit of the whole answer everybody's. */
  private passOn(candidate: Candidate): void {
    if (atRest(candidate.progress, this.budget)) candidate.stopped ??= 'converged'
    const spent = this.stepsLeft <= 0 ? 'max_steps' : undefined
    const reason = candidate.stopped ?? spent
    const ends = reason !== 'converged' && reason !== 'diverged' ? reason : spent
    if (ends) for (const each of this.candidates) each.stopped ??= ends
  }

  /** Stops every candidate that has an answer; one without a step takes its first, then stops. */
  finish(): void {
    this.asked = 'finished'
    const begun = this.candidates.some(({ progress }) => progress.steps > 0)
    for (const candidate of this.candidates) {
      if (candidate.progress.steps > 0 || (this.adaptive && begun)) candidate.stopped ??= 'finished'
    }
  }

  extend(extra: Extra): void {
    this.budget = extend(this.budget, extra)
  }

  /**
   * Goes on from where it stands, as though the budget had been larger: candidates that a limit
   * stopped move again, and only if there are none, those that had converged. Returns them.
   */
  reopen(extra: Extra, now: number): Candidate[] {
    const finite = this.candidates.filter(({ stopped }) => stopped !== 'diverged')
    const limited = finite.filter(
      ({ stopped }) => stopped !== 'converged' && stopped !== 'energy_target',
    )
    const moving = limited.length > 0 ? limited : finite
    const steps = Math.max(0, ...moving.map(({ progress }) => progress.steps))
    this.budget = extend(this.budget, extra, { steps, seconds: this.elapsed(now) })
    if (extra.steps !== undefined) this.grantAnew(extra.steps)
    this.asked = undefined
    this.startClock(now)
    for (const candidate of moving) {
      if (candidate.stopped) candidate.progress = reopen(candidate.progress, candidate.stopped)
      candidate.closed = undefined
      candidate.stopped = undefined
      this.stopWhereExhausted(candidate, this.elapsed(now))
    }
    return moving.filter(({ stopped }) => stopped === undefined)
  }

  /**
   * Candidates whose last state has to be judged before they are compared: energies of steps judge
   * the state before the step, except residual ones (docs/mathematics.md).
   */
  unclosed(residual: boolean): Candidate[] {
    const begun = this.stepsSpent > 0
    return this.candidates.filter(
      ({ progress, stopped, closed }) =>
        !closed &&
        stopped !== 'diverged' &&
        // A candidate whose turn never came is no answer.
        (progress.steps > 0 || !begun) &&
        (progress.steps === 0 || (!residual && this.budget.keep === 'best')),
    )
  }

  close(candidate: Candidate, result: EnergyResult): void {
    candidate.closed = close(candidate.progress, result)
  }

  /** The candidate that becomes the answer; undefined when none has a finite energy. */
  chosen(): Candidate | undefined {
    const outcomes = this.candidates.map((candidate) => {
      const { initial, final, best } = summit(candidate)
      return { initial, energy: this.reads(candidate) === 'best' ? finiteOr(best, final) : final }
    })
    return this.candidates[choose(outcomes, this.budget.select)]
  }

  /** Which of a candidate's answers is read: the best, unless the last is wanted and sound. */
  reads(candidate: Candidate): 'best' | 'last' {
    return this.budget.keep === 'last' && Number.isFinite(summit(candidate).final) ? 'last' : 'best'
  }

  private get adaptive(): boolean {
    return this.budget.allocation === 'adaptive'
  }

  private get stepsSpent(): number {
    return this.candidates.reduce((sum, { progress }) => sum + progress.steps, 0)
  }

  private get stepsLeft(): number {
    return totalSteps(this.budget) + this.carried - this.stepsSpent
  }

  /** `steps` per candidate are left from here on, whatever was spent. */
  private grantAnew(steps: number): void {
    const left = steps * this.budget.candidates
    this.carried = Number.isFinite(this.stepsLeft) ? this.carried + left - this.stepsLeft : 0
  }

  private stopWhereExhausted(candidate: Candidate, elapsed: number): void {
    const limits = this.adaptive && this.stepsLeft > 0 ? withoutSteps(this.budget) : this.budget
    candidate.stopped = exhausted(limits, candidate.progress, elapsed)
  }
}

function withoutSteps(budget: Budget): Budget {
  const others = { ...budget }
  delete others.maxSteps
  return others
}

/** Where a candidate stands, its closing evaluation included. */
export const summit = (candidate: Candidate): Progress => candidate.closed ?? candidate.progress

export const finiteOr = (value: number, otherwise: number): number =>
  Number.isFinite(value) ? value : otherwise
