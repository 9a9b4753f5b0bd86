/**
 * The descents of one answer that follow each other in its slots: whose turn it is, which descent is over,
 * where the next one begins, and the best of those that have given their slots away. Numbers, and saved
 * states as bytes; it makes no call of the engine, and what it decides is in refine/restarts.ts.
 *
 * Candidates step in rounds, in the order of their index. A round that ends early, because of the limit on steps
 * or because candidates have no slot, is completed later: so an answer that is extended is that of one longer
 * run, and one that had to share its slots is that of one which had them to itself.
 */
import type { Budget, Restarts } from '../../refine/budget.js'
import { choose, type Outcome } from '../../refine/candidates.js'
import {
  accepts,
  firstStart,
  givesUp,
  mayStepsOf,
  nextStart,
  type RestartReason,
  standsSomewhere,
  type Start,
} from '../../refine/restarts.js'
import { beforeFirstStep, certainSteps, type Progress } from '../../refine/stop.js'
import type { Candidate } from './candidate.js'

/** A descent that has no slot. */
interface StoredDescent {
  descent: number
  start: Start
  over: RestartReason | undefined
  progress: Progress
  outcome: Outcome
  /** For `restore`; undefined until the engine has saved it. */
  state: Uint8Array | undefined
}

/** Where a candidate stands, for policies that begin there. */
interface Standing {
  energy: number
  /** [K, W]; undefined until the engine has given it. */
  state: Float32Array | undefined
}

/** What is to be done before the next step of a candidate whose descent is over. */
export interface Restart {
  /** Number of the new descent, and where it begins. */
  descent: number
  start: Start
  /** The old descent, which is the best so far and is to be saved; undefined where another is. */
  saves: number | undefined
  /** The state of the old descent is where the candidate stands from now on. */
  stands: boolean
  reason: RestartReason
  /** Of the old descent. */
  steps: number
}

export class DescentSeries {
  /** Descents that have begun. */
  private begun: number
  /** Steps of descents that have been replaced. */
  private pastSteps = 0
  /** The first candidate of the present round that is still to step, if others have stepped; else 0. */
  private cursor = 0
  /** The candidate that stepped last. */
  private latest = -1
  private stored: StoredDescent | undefined
  /** The stored descent is not the best one, but the one whose slot the best one has. */
  private displaced = false
  private readonly standings: Standing[]

  constructor(
    private readonly candidates: readonly Candidate[],
    private readonly restarts: Restarts,
    /** Of the answer. */
    private readonly seed: number,
  ) {
    this.begun = candidates.length
    this.standings = candidates.map(() => ({ energy: Infinity, state: undefined }))
    for (const candidate of candidates)
      candidate.start = firstStart(restarts, seed, candidate.descent)
  }

  /** Descents that took the place of another. */
  get restarted(): number {
    return this.begun - this.candidates.length
  }

  /** 0 in the first descent of a candidate; then 1, 2, ... in the order in which new ones began. */
  restartOf({ descent }: Candidate): number {
    return Math.max(0, descent - this.candidates.length + 1)
  }

  /** Steps of all descents. */
  get steps(): number {
    return this.candidates.reduce((sum, { progress }) => sum + progress.steps, this.pastSteps)
  }

  /** What the best descent without a slot has found. */
  get storedOutcome(): Outcome | undefined {
    return this.displaced ? undefined : this.stored?.outcome
  }

  /** For `restore`: the best descent, or the one that it displaced. */
  get storedState(): Uint8Array | undefined {
    return this.stored?.state
  }

  /** The best descent has taken the slot of one that has not ended. */
  get hasDisplaced(): boolean {
    return this.displaced
  }

  /** Where a candidate stands: [K, W]. */
  standingState(index: number): Float32Array | undefined {
    return this.standings[index]?.state
  }

  /** The candidates that take the next step, where `left` steps remain. */
  turns(left: number): number[] {
    if (this.firstIsAlone) return [0]
    return this.moving.filter((index) => index >= this.cursor).slice(0, left)
  }

  /** How many steps those of the next round are sure to take together. */
  certainSteps(budget: Budget, left: number, elapsed: number, seconds: number): number {
    const { restarts } = this
    if (this.cursor > 0 || restarts.after === 'plateau') return 1
    const turns = this.turns(left)
    const alone = this.firstIsAlone ? restarts.alone - this.steps : Infinity
    const together = Math.min(alone, left / turns.length)
    const each = turns.map((index) => {
      const { descent, over, progress } = this.candidates[index] as Candidate
      const present = over ? beforeFirstStep : progress
      const maxSteps = mayStepsOf(restarts, over ? this.begun : descent)
      return certainSteps({ ...budget, maxSteps }, present, elapsed, seconds)
    })
    return Math.max(1, Math.floor(Math.min(together, ...each)))
  }

  /** Takes note of a step of a candidate: its descent may be over. */
  step(candidate: Candidate, budget: Budget): void {
    this.latest = this.candidates.indexOf(candidate)
    candidate.over = givesUp(this.restarts, budget, candidate)
  }

  /** Those whose turn it was have stepped; the round is over, unless others of it are still to step. */
  endRound(): void {
    const firstWasAlone = this.onlyFirstStepped && this.steps <= this.restarts.alone
    const next = this.latest + 1
    const open = !firstWasAlone && this.moving.some((index) => index >= next)
    this.cursor = open ? next : 0
  }

  /** Candidates of the present round are still to step. */
  get isWithinRound(): boolean {
    return this.cursor > 0
  }

  /** Candidates whose descent is over, and which may not begin another. */
  get spent(): Candidate[] {
    const over = this.candidates.filter((candidate) => candidate.over && !candidate.stopped)
    return over.slice(Math.max(0, (this.restarts.most ?? Infinity) - this.restarted))
  }

  /**
   * Begins a new descent in place of one that is over. `outcome`: what the old one has found; `select`: how
   * descents are compared.
   */
  restart(index: number, outcome: Outcome, { select }: Budget): Restart {
    const candidate = this.candidates[index] as Candidate
    const { descent: old, over, progress, start } = candidate
    if (!over) throw new RangeError(`the descent of candidate ${index} is not over`)
    const { restarts, seed } = this
    const descent = this.begun++
    const better = choose(this.stored ? [this.stored.outcome, outcome] : [outcome], select)
    const saves = better === (this.stored ? 1 : 0)
    if (saves) this.stored = { descent: old, start, over, progress, outcome, state: undefined }
    const standing = this.standings[index] as Standing
    const stands =
      standsSomewhere(restarts) && accepts(restarts, seed, old, progress.final, standing.energy)
    if (stands) this.standings[index] = { energy: progress.final, state: undefined }
    const energies = this.standings.map(({ energy }) => energy)
    this.pastSteps += progress.steps
    candidate.progress = beforeFirstStep
    candidate.closed = undefined
    candidate.over = undefined
    candidate.descent = descent
    candidate.start = nextStart(restarts, seed, descent, index, energies)
    return {
      descent,
      start: candidate.start,
      saves: saves ? old : undefined,
      stands,
      reason: over,
      steps: progress.steps,
    }
  }

  /** The engine has saved a descent; a better one may have ended in the same round. */
  keepState(descent: number, state: Uint8Array): void {
    if (this.stored?.descent === descent) this.stored.state = state
  }

  /** The engine has given the state where a candidate stands. */
  keepStanding(index: number, state: Float32Array): void {
    const standing = this.standings[index]
    if (standing) standing.state = state
  }

  /**
   * The engine has put the stored descent into the slot of a candidate and saved what was there: `state`.
   * Done again, it brings back what was there.
   */
  swap(index: number, outcome: Outcome, state: Uint8Array): void {
    const candidate = this.candidates[index] as Candidate
    const { stored } = this
    if (!stored) throw new RangeError('no descent is stored')
    const { descent, over, progress, start } = candidate
    this.stored = { descent, over, progress, start, outcome, state }
    this.displaced = !this.displaced
    this.pastSteps += progress.steps - stored.progress.steps
    candidate.descent = stored.descent
    candidate.over = stored.over
    candidate.progress = stored.progress
    candidate.start = stored.start
    candidate.closed = undefined
  }

  /** What was found so far answers another question: it is forgotten, and descents go on. */
  forget(): void {
    this.stored = undefined
    this.displaced = false
    this.standings.forEach((standing) => {
      standing.energy = Infinity
      standing.state = undefined
    })
  }

  private get moving(): number[] {
    return [...this.candidates.keys()].filter((index) => !this.candidates[index]?.stopped)
  }

  private get onlyFirstStepped(): boolean {
    const [first] = this.candidates
    return this.steps === first?.progress.steps
  }

  private get firstIsAlone(): boolean {
    const [first] = this.candidates
    const goesOn = first !== undefined && !first.stopped && !first.over
    return goesOn && this.onlyFirstStepped && this.steps < this.restarts.alone
  }
}
