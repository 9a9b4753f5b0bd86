/**
 * One answer in descent: its candidates, how far each has come, and the time it has had. Applies the stop
 * rules of src/refine to the energies of steps; knows no engine, no text and no other answer.
 */
import type { EnergyResult, StepResult } from '../../energy/engine.js'
import { atRest, hasTurn, totalSteps } from '../../refine/allocation.js'
import type { Budget, StopReason } from '../../refine/budget.js'
import { choose } from '../../refine/candidates.js'
import { chooseStanding } from '../../refine/terms/standing.js'
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
import type { AnswerShape } from './answer-shape.js'
import {
  type AnswerTerms,
  type CandidateTerms,
  nothingRead,
  type TermReading,
} from './answer-terms.js'
import { BLANK } from './prepare.js'

/** An answer that was moved out of the engine. */
export interface SavedAnswer {
  /** Of `EnergyEngine.save`. */
  bytes: Uint8Array
  /** `AnswerShape.clamped` at that time. */
  clamped: readonly number[] | undefined
}

export interface Candidate {
  /** Undefined while it is in none: before it begins, and while others need its slot. */
  slot: number | undefined
  /** What it was when it lost its slot; undefined before the first step. */
  saved: SavedAnswer | undefined
  progress: Progress
  /** Progress with the closing evaluation; descent goes on from `progress`, without it. */
  closed: Progress | undefined
  stopped: StopReason | undefined
  /** Where the request has terms. */
  readonly terms: CandidateTerms | undefined
}

export class Answer {
  readonly candidates: readonly Candidate[]
  /** The client wants the best answer so far. */
  private asked: 'finished' | undefined
  /** Seconds that the clock ran before `since`. */
  private spent = 0
  /** Since when the clock runs. Undefined before the descent, while it is paused, and after its end. */
  private since: number | undefined

  constructor(
    readonly shape: AnswerShape,
    private budget: Budget,
    /** Steps beyond the budget that answers before left over; adaptive allocation only. */
    private carried = 0,
    /** What the request adds to the energy. */
    readonly terms?: AnswerTerms,
  ) {
    this.candidates = Array.from({ length: budget.candidates }, () => ({
      slot: undefined,
      saved: undefined,
      progress: beforeFirstStep,
      closed: undefined,
      stopped: undefined,
      terms: terms && nothingRead(),
    }))
    for (const candidate of this.candidates) this.stopWhereExhausted(candidate, 0)
  }

  get limits(): Readonly<Budget> {
    return this.budget
  }

  /** Steps of its total that it leaves to the answers after it; 0 unless allocation is adaptive. */
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

  /** Whether a candidate takes part in the next step. */
  hasTurn(index: number): boolean {
    const stopped = this.candidates.map((candidate) => candidate.stopped !== undefined)
    return hasTurn(this.budget.allocation ?? 'even', stopped, index)
  }

  /** How many steps each candidate in descent is sure to take: see `certainSteps` of refine/stop.ts. */
  certainSteps(now: number, seconds: number): number {
    if (this.adaptive || this.asked) return 1
    const moving = this.candidates.filter(({ stopped }) => stopped === undefined)
    const elapsed = this.elapsed(now)
    return Math.min(
      ...moving.map(({ progress }) => certainSteps(this.budget, progress, elapsed, seconds)),
    )
  }

  /** The state at which a candidate begins or goes on, as its terms read it. */
  beginTerms(candidate: Candidate, reading: TermReading): void {
    if (candidate.terms) this.terms?.begin(candidate.terms, reading)
  }

  /** Takes in a step of one candidate and applies the stop rules. `reading`: where there are terms. */
  step(candidate: Candidate, result: StepResult, now: number, reading?: TermReading): void {
    candidate.closed = undefined
    const judged = this.judge(candidate, result, reading)
    candidate.progress = advance(candidate.progress, judged, this.budget)
    const limits = this.adaptive ? withoutSteps(this.budget) : this.budget
    candidate.stopped = decide(limits, candidate.progress, this.elapsed(now), this.asked)
    if (this.adaptive) this.endTurn(candidate)
  }

  /** With terms, stop rules judge by the best state whose required terms hold. */
  private judge(candidate: Candidate, result: StepResult, reading?: TermReading): StepResult {
    if (!this.terms || !candidate.terms || !reading) return result
    return this.terms.step(candidate.terms, result, reading, candidate.progress.steps)
  }

  /** Ends the turn of a candidate at rest; a limit of the whole answer ends those of all candidates. */
  private endTurn(candidate: Candidate): void {
    if (atRest(candidate.progress, this.budget)) candidate.stopped ??= 'converged'
    const spent = this.stepsLeft <= 0 ? 'max_steps' : undefined
    const reason = candidate.stopped ?? spent
    const ends = reason !== 'converged' && reason !== 'diverged' ? reason : spent
    if (ends) for (const each of this.candidates) each.stopped ??= ends
  }

  /** Stops every candidate that has taken a step; the others stop after their first. */
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
   * Goes on from where it stands, as though the budget had been larger: candidates that a limit stopped
   * descend again, and only if there are none, those that had converged. Returns those that descend.
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
   * Candidates, by index, whose last state needs an energy of its own before they are compared: the energy
   * that a step reports is of the state before it, except for residual energies (docs/mathematics.md).
   */
  unclosed(residual: boolean): number[] {
    const begun = this.stepsSpent > 0
    return this.candidates.flatMap(({ closed, progress, stopped }, index) =>
      !closed &&
      stopped !== 'diverged' &&
      // A candidate whose turn never came has no answer.
      (progress.steps > 0 || !begun) &&
      (progress.steps === 0 || (!residual && this.budget.keep === 'best'))
        ? [index]
        : [],
    )
  }

  close(candidate: Candidate, result: EnergyResult): void {
    const judged =
      this.terms && candidate.terms
        ? { ...result, best: this.terms.close(candidate.terms, result.energy) }
        : result
    candidate.closed = close(candidate.progress, judged)
  }

  /** The index of the candidate that becomes the answer; undefined when none has a finite energy. */
  chosen(): number | undefined {
    if (this.terms) return this.chosenByTerms()
    const outcomes = this.candidates.map((candidate) => {
      const { initial, final, best } = progressOf(candidate)
      return { initial, energy: this.reads(candidate) === 'best' ? finiteOr(best, final) : final }
    })
    const index = choose(outcomes, this.budget.select)
    return index < 0 ? undefined : index
  }

  private chosenByTerms(): number | undefined {
    const outcomes = this.candidates.map((candidate) => {
      const { initial } = progressOf(candidate)
      return { initial, standing: candidate.terms?.best?.standing }
    })
    const index = chooseStanding(outcomes, this.budget.select)
    return index < 0 ? undefined : index
  }

  /** Which state of a candidate is read: the best, unless the last is wanted and its energy is finite. */
  reads(candidate: Candidate): 'best' | 'last' {
    if (candidate.terms) return 'best'
    return this.budget.keep === 'last' && Number.isFinite(progressOf(candidate).final)
      ? 'last'
      : 'best'
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

  /** Leaves `steps` per candidate from here on, however many were spent. */
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

/** The candidates that are in slots, with their indexes. */
export const inSlots = ({ candidates }: Answer): { index: number; slot: number }[] =>
  candidates.flatMap(({ slot }, index) => (slot === undefined ? [] : [{ index, slot }]))

/** Throws a RangeError where the candidate is in no slot. */
export function slotOf({ slot }: Candidate): number {
  if (slot === undefined) throw new RangeError('the candidate is in no slot')
  return slot
}

/** How far a candidate has come, its closing evaluation included. */
export const progressOf = (candidate: Candidate): Progress => candidate.closed ?? candidate.progress

export const finiteOr = (value: number, otherwise: number): number =>
  Number.isFinite(value) ? value : otherwise
