/**
 * One answer in descent: its candidates, how far each has come, and the time it has had. Applies the stop
 * rules of src/refine to the energies of steps; knows no engine, no text and no other answer.
 */
import type { EnergyResult, StepResult } from '../../../energy/engine.js'
import { atRest, hasTurn, totalSteps } from '../../../refine/allocation.js'
import type { Budget, StopReason } from '../../../refine/budget.js'
import { isAccepted } from '../../../refine/acceptance.js'
import { choose, type Outcome } from '../../../refine/candidates.js'
import { modelStart, type Start } from '../../../refine/restarts.js'
import { chooseStanding } from '../../../refine/terms/standing.js'
import {
  advance,
  askedAnew,
  beforeFirstStep,
  certainSteps,
  close,
  decide,
  exhausted,
  extend,
  reopen,
  type Extra,
  type Progress,
} from '../../../refine/stop.js'
import { type AnswerShape, BLANK } from './answer-shape.js'
import {
  type AnswerTerms,
  type CandidateTerms,
  nothingRead,
  type TermReading,
} from './answer-terms.js'
import type { Candidate, SavedAnswer } from './candidate.js'
import {
  type Change,
  type Descent,
  descentOf,
  DescentSeries,
  type Restart,
  type SeriesMemory,
} from './descent-series.js'
import { type Move, Moves, type MovesMemory, type StateBefore } from './metropolis.js'

/** A candidate outside of the engine. Numbers that are the same for every new one are left out. */
export interface CandidateMemory extends Descent {
  closed: Progress | undefined
  stopped: StopReason | undefined
  /** Of `EnergyEngine.save`; undefined before its first step. */
  saved: SavedAnswer | undefined
  terms: CandidateTerms | undefined
  moves: MovesMemory | undefined
}

/** All that an answer in descent is. */
export interface AnswerMemory {
  shape: AnswerShape
  budget: Budget
  carried: number
  asked: 'finished' | undefined
  /** Seconds that its clock has run. */
  spent: number
  candidates: readonly CandidateMemory[]
  series: SeriesMemory | undefined
}

export class Answer {
  readonly candidates: readonly Candidate[]
  /** Its descents, where those that are over give their slots to new ones. */
  readonly series: DescentSeries | undefined
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
    const { candidates, metropolis, restarts } = budget
    this.candidates = Array.from({ length: candidates }, (_, index) =>
      newCandidate(
        index,
        terms && nothingRead(),
        metropolis === undefined ? undefined : new Moves(),
      ),
    )
    this.series =
      restarts && new DescentSeries(this.candidates, restarts, shape.seed, shape.readout)
    for (const candidate of this.candidates) this.stopWhereExhausted(candidate, 0)
  }

  /**
   * For `recalled`. `saved`: by candidate, the states of those that are in slots; `now`: seconds of the clock.
   */
  memory(saved: readonly (Uint8Array | undefined)[], now: number): AnswerMemory {
    const { asked, budget, carried, series, shape } = this
    const candidates = this.candidates.map((candidate, i): CandidateMemory => {
      const bytes = saved[i]
      return {
        ...descentOf(candidate),
        closed: candidate.closed,
        stopped: candidate.stopped,
        saved: bytes ? { bytes, clamped: shape.clamped } : candidate.saved,
        terms: candidate.terms,
        moves: candidate.moves?.memory,
      }
    })
    const spent = this.elapsed(now)
    return { shape, budget, carried, asked, spent, candidates, series: series?.memory }
  }

  /** The answer that `memory` was, with no candidate in a slot and its clock at rest. */
  static recalled(memory: AnswerMemory, terms?: AnswerTerms): Answer {
    const { budget, carried, shape } = memory
    const answer = new Answer(shape, budget, carried, terms)
    answer.asked = memory.asked
    answer.spent = memory.spent
    answer.candidates.forEach((candidate, i) => {
      const { moves, terms: read, saved, ...others } = memory.candidates[i] as CandidateMemory
      Object.assign(candidate, descentOf(others))
      candidate.closed = others.closed
      candidate.stopped = others.stopped
      // Of equal clamped positions one array is kept: another one stands for another question.
      const asked = JSON.stringify(saved?.clamped) === JSON.stringify(shape.clamped)
      candidate.saved = saved && { ...saved, clamped: asked ? shape.clamped : saved.clamped }
      if (candidate.terms) Object.assign(candidate.terms, nothingRead(), read)
      if (moves) candidate.moves?.recall(moves)
    })
    if (memory.series) answer.series?.recall(memory.series)
    return answer
  }

  /** A candidate of it has stopped because its time was over, which is no function of its seed. */
  get stoppedByClock(): boolean {
    return this.candidates.some(({ stopped }) => stopped === 'max_seconds')
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
    if (this.series) return this.seriesTurns(this.series).includes(index)
    const stopped = this.candidates.map((candidate) => candidate.stopped !== undefined)
    return hasTurn(this.budget.allocation ?? 'even', stopped, index)
  }

  /** Candidates of a series that are to step next, in this order. */
  get turns(): number[] {
    return this.series?.turns(this.stepsLeft) ?? []
  }

  /** Those of them that can step now: none steps before those whose turns come before, and have no slot. */
  private seriesTurns(series: DescentSeries): number[] {
    // It is about to get its slot back.
    if (series.hasDisplaced) return []
    const { turns } = this
    const first = turns.findIndex((index) => this.candidates[index]?.slot === undefined)
    return first < 0 ? turns : turns.slice(0, first)
  }

  /** How many steps each candidate in descent is sure to take: see `certainSteps` of refine/stop.ts. */
  certainSteps(now: number, seconds: number): number {
    if (this.adaptive || this.asked) return 1
    const elapsed = this.elapsed(now)
    if (this.series) {
      const isWhole = this.seriesTurns(this.series).length === this.turns.length
      if (!isWhole) return 1
      return this.series.certainSteps(this.budget, this.stepsLeft, elapsed, seconds)
    }
    const moving = this.candidates.filter(({ stopped }) => stopped === undefined)
    return Math.min(
      ...moving.map(({ progress }) => certainSteps(this.budget, progress, elapsed, seconds)),
    )
  }

  /** The state at which a candidate begins or goes on, as its terms read it. */
  beginTerms(candidate: Candidate, reading: TermReading): void {
    if (candidate.terms) this.terms?.begin(candidate.terms, reading)
  }

  /**
   * Takes in a step of one candidate and applies the stop rules, but for those of `endRound`. `reading`: where
   * there are terms; `before`: the saved state before the step, where steps may be undone. Returns what became
   * of the step before it.
   */
  step(
    candidate: Candidate,
    result: StepResult,
    now: number,
    reading?: TermReading,
    before?: Uint8Array,
  ): Move | undefined {
    candidate.closed = undefined
    const terms = candidate.terms && { latest: candidate.terms.latest, push: candidate.terms.push }
    const judged = this.judge(candidate, result, reading)
    const move = before && this.move(candidate, result.energy, { bytes: before, terms })
    candidate.progress = advance(candidate.progress, judged, this.budget)
    this.stopAfter(candidate, now)
    return move
  }

  private stopAfter(candidate: Candidate, now: number): void {
    if (this.series) {
      this.series.step(candidate, this.budget, this.blanks)
      return
    }
    const limits = this.adaptive ? withoutSteps(this.budget) : this.budget
    candidate.stopped = decide(limits, candidate.progress, this.elapsed(now), this.asked)
    if (this.adaptive) this.endTurn(candidate)
  }

  /** Metropolis: what becomes of a step that led to this energy. */
  private move(candidate: Candidate, energy: number, before: StateBefore): Move | undefined {
    const { descent, moves, progress, terms } = candidate
    const { metropolis } = this.budget
    if (!moves || metropolis === undefined) return undefined
    const at = { seed: this.shape.seed, descent, step: progress.steps }
    const move = moves.judge(metropolis, at, terms ? terms.total : energy, before)
    if (moves.undo && terms) Object.assign(terms, moves.undo.terms)
    return move
  }

  /** With terms, stop rules judge by the best state whose required terms hold. */
  private judge(candidate: Candidate, result: StepResult, reading?: TermReading): StepResult {
    if (!this.terms || !candidate.terms || !reading) return result
    return this.terms.step(candidate.terms, result, reading, candidate.progress.steps)
  }

  /** Every candidate whose turn it was has stepped: where descents follow each other, the answer may end. */
  endRound(now: number): void {
    const { series } = this
    if (!series) return
    series.endRound()
    const reason = this.endOfSeries(series, now)
    if (reason) for (const candidate of this.candidates) candidate.stopped ??= reason
    for (const candidate of series.spent)
      candidate.stopped = candidate.over === 'steps' ? 'max_steps' : candidate.over
    series.beginRound()
  }

  private endOfSeries(series: DescentSeries, now: number): StopReason | undefined {
    // Whoever steps later in this round may find a lower energy still.
    const judges = !series.isWithinRound || this.stepsLeft <= 0
    const found = (candidate: Candidate): boolean =>
      series.isJudged(candidate, this.budget) && isAccepted(this.budget, candidate.progress)
    if (judges && this.candidates.some(found)) return 'energy_target'
    if (this.stepsLeft <= 0) return 'max_steps'
    return exhausted(withoutSteps(this.budget), beforeFirstStep, this.elapsed(now)) ?? this.asked
  }

  /** Begins a new descent in place of a candidate's, if that is over. */
  restart(index: number): Restart | undefined {
    const candidate = this.candidates[index]
    if (!candidate?.over || candidate.stopped) return undefined
    candidate.moves?.forget()
    const restart = this.series?.restart(index, this.outcomeOf(candidate), this.budget)
    if (restart) beginDescent(candidate, restart.descent, restart.start, restart.limit)
    return restart
  }

  /** Commits or opens positions of a candidate, if that is due. */
  change(index: number): Change | undefined {
    const candidate = this.candidates[index]
    if (!candidate?.change || candidate.stopped) return undefined
    return this.series?.change(index, this.outcomeOf(candidate), this.budget, this.blanks)
  }

  /** The engine has put the stored descent into the slot of a candidate, whose own state was `state`. */
  swap(index: number, state: Uint8Array): void {
    const candidate = this.candidates[index]
    candidate?.moves?.forget()
    if (candidate) this.series?.swap(index, this.outcomeOf(candidate), state)
  }

  /** The question is another one: what was found before is no answer to it. */
  askAnew(): void {
    this.series?.forget()
    for (const candidate of this.candidates) {
      if (candidate.terms) this.terms?.forget(candidate.terms)
      candidate.moves?.forget()
      const { descent, limit, progress, start } = candidate
      beginDescent(candidate, descent, start, limit)
      candidate.progress = askedAnew(progress)
    }
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
    const begun = this.stepsSpent > 0
    for (const candidate of this.candidates) {
      if (candidate.progress.steps > 0 || (this.sharesSteps && begun))
        candidate.stopped ??= 'finished'
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
    const steps = this.series?.steps ?? Math.max(0, ...moving.map(({ progress }) => progress.steps))
    this.budget = extend(this.budget, extra, { steps, seconds: this.elapsed(now) })
    if (extra.steps !== undefined && this.adaptive) this.grantAnew(extra.steps)
    this.asked = undefined
    this.startClock(now)
    for (const candidate of moving) {
      if (candidate.stopped) candidate.progress = reopen(candidate.progress, candidate.stopped)
      candidate.closed = undefined
      candidate.stopped = undefined
      this.stopWhereExhausted(candidate, this.elapsed(now))
    }
    // What may not begin anew goes on with its present descent.
    for (const candidate of this.series?.spent ?? []) candidate.over = undefined
    this.series?.beginRound()
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

  /**
   * The index of the candidate that becomes the answer; undefined when none has a finite energy. `stored`: the
   * answer is a descent without a slot, which is to be put into that of the candidate.
   */
  chosen(): { index: number; stored: boolean } | undefined {
    if (this.terms) return this.chosenByTerms()
    const { budget, series } = this
    const all = this.candidates.map((candidate) => this.outcomeOf(candidate))
    const stored = series?.storedOutcome
    const judged = all.map((outcome, i) =>
      series?.isJudged(this.candidates[i] as Candidate, budget) === false ? none : outcome,
    )
    // Where nothing else was found, an answer with committed positions is better than none.
    const outcomes = stored || choose(judged, budget.select) >= 0 ? judged : all
    const index = choose(stored ? [...outcomes, stored] : outcomes, budget.select)
    if (index < 0) return undefined
    return index < outcomes.length ? { index, stored: false } : { index: 0, stored: true }
  }

  /** Steps that the answer has taken, if a candidate is chosen: its own, or those of all descents of a series. */
  stepsOf(candidate: Candidate): number {
    return this.series?.steps ?? candidate.progress.steps
  }

  /** Positions that the question leaves blank. */
  private get blanks(): number {
    const { clamped, length } = this.shape
    return clamped?.filter((token) => token === BLANK).length ?? length
  }

  private outcomeOf(candidate: Candidate): Outcome {
    const { initial, final, best } = progressOf(candidate)
    // With terms the best of all its descents is kept as a readout, so no descent has to be stored.
    if (candidate.terms) return { initial, energy: Infinity }
    return { initial, energy: this.reads(candidate) === 'best' ? finiteOr(best, final) : final }
  }

  private chosenByTerms(): { index: number; stored: boolean } | undefined {
    const outcomes = this.candidates.map((candidate) => {
      const { initial } = progressOf(candidate)
      return { initial, standing: candidate.terms?.best?.standing }
    })
    const index = chooseStanding(outcomes, this.budget.select)
    return index < 0 ? undefined : { index, stored: false }
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

  /** The candidates share the steps of the answer. */
  private get sharesSteps(): boolean {
    return this.adaptive || this.series !== undefined
  }

  /** Steps of all candidates and all their descents. */
  get stepsSpent(): number {
    if (this.series) return this.series.steps
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
    if (this.series && this.stepsLeft <= 0) {
      candidate.stopped = 'max_steps'
      return
    }
    const limits = this.sharesSteps && this.stepsLeft > 0 ? withoutSteps(this.budget) : this.budget
    candidate.stopped = exhausted(limits, candidate.progress, elapsed)
  }
}

/** Of a candidate that has found nothing. */
const none: Outcome = { initial: Infinity, energy: Infinity }

function withoutSteps(budget: Budget): Budget {
  const others = { ...budget }
  delete others.maxSteps
  return others
}

/** The candidates that are in slots, with their indexes. */
export const inSlots = ({ candidates }: Answer): { index: number; slot: number }[] =>
  candidates.flatMap(({ slot }, index) => (slot === undefined ? [] : [{ index, slot }]))

/** How far a candidate has come, its closing evaluation included. */
export const progressOf = (candidate: Candidate): Progress => candidate.closed ?? candidate.progress

export const finiteOr = (value: number, otherwise: number): number =>
  Number.isFinite(value) ? value : otherwise

/** The tokens of positions that do not move: those that the question gives, and those that are committed. */
export const clampedOf = (
  given: readonly number[] | undefined,
  { commits }: Pick<Candidate, 'commits'>,
  blank: number,
): readonly number[] | undefined =>
  commits && given
    ? given.map((token, i) => (token === blank ? (commits[i] ?? blank) : token))
    : (commits ?? given)

/** Throws a RangeError where the candidate is in no slot. */
export function slotOf({ slot }: Candidate): number {
  if (slot === undefined) throw new RangeError('the candidate is in no slot')
  return slot
}

/** A candidate before its first step. `index`: among those of its answer. */
function newCandidate(
  index: number,
  terms: Candidate['terms'],
  moves: Candidate['moves'],
): Candidate {
  const candidate = { slot: undefined, saved: undefined, stopped: undefined, terms, moves }
  return beginDescent(candidate, index, modelStart, Infinity)
}

/**
 * Makes `candidate` one that begins its descent `descent`. Its fields are set one after another, since a text has
 * an answer for each token: a spread of defaults took 10 microseconds of each.
 */
function beginDescent(
  candidate: Pick<Candidate, 'slot' | 'saved' | 'stopped' | 'terms' | 'moves'> & Partial<Candidate>,
  descent: number,
  start: Start,
  limit: number,
): Candidate {
  candidate.descent = descent
  candidate.start = start
  candidate.limit = limit
  candidate.progress = beforeFirstStep
  candidate.closed = undefined
  candidate.over = undefined
  candidate.change = undefined
  candidate.commits = undefined
  candidate.rounds = 0
  candidate.committedAt = 0
  candidate.opened = false
  return candidate as Candidate
}
