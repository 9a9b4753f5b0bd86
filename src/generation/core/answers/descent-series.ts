/**
 * The descents of one answer that follow each other in its slots: whose turn it is, which descent is over,
 * where the next one begins, which positions it commits, and the best of the descents that have given their
 * slots away. Numbers, and saved states as bytes; it makes no call of the engine, and what it decides is in
 * refine/restarts.ts and refine/commit.ts.
 *
 * Candidates step in rounds, in the order of their index; at first only some of them take part. A round that ends
 * early, because of the limit on steps or because candidates have no slot, is completed later: so an answer that is
 * extended is that of one longer run, and one that had to share its slots is that of one which had them to itself.
 */
import { isAccepted } from '../../../refine/acceptance.js'
import type { Budget, Restarts } from '../../../refine/budget.js'
import { choose, type Outcome } from '../../../refine/candidates.js'
import { commitCount } from '../../../refine/commit.js'
import {
  accepts,
  breadth,
  checkSteps,
  firstStart,
  givesUp,
  guesses,
  mostSteps,
  nextStart,
  type RestartReason,
  standsSomewhere,
  type Start,
} from '../../../refine/restarts.js'
import { askedAnew, certainSteps } from '../../../refine/stop.js'
import type { Candidate } from './candidate.js'

/** What belongs to a descent and not to the slot that it has. */
export type Descent = Omit<Candidate, 'slot' | 'saved' | 'closed' | 'stopped' | 'terms' | 'moves'>

/** A descent that has no slot. */
interface StoredDescent extends Descent {
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
  /** The most steps that it takes. */
  limit: number
  /** The old descent, which is the best so far and is to be saved; undefined where another is. */
  saves: number | undefined
  /** The state of the old descent is where the candidate stands from now on. */
  stands: boolean
  /** The old descent is the one whose readout tells what to guess. */
  reads: boolean
  reason: RestartReason
  /** Of the old descent. */
  steps: number
}

/** What is to be done to the positions of a candidate before its next step. */
export interface Change {
  kind: 'commit' | 'open'
  /** Positions to commit. */
  count: number
  /** Number of the draw, which no other draw of the answer has. */
  draw: number
  saves: number | undefined
}

/** All that a series is, besides its candidates. */
export interface SeriesMemory {
  begun: number
  pastSteps: number
  cursor: number
  end: number
  latest: number
  stored: StoredDescent | undefined
  displaced: boolean
  standings: readonly Standing[]
  known: boolean
  readout: Float32Array | undefined
}

/** Most times that a descent commits positions and no two draws have one number. */
const DRAWS_OF_DESCENT = 256
/** The most numbers of a readout that is kept to guess from. */
const LARGEST_READOUT = 2 ** 18

export class DescentSeries {
  /** Descents that have begun. */
  private begun: number
  /** Steps of descents that have been replaced. */
  private pastSteps = 0
  /** The first candidate of the present round that is still to step, if others have stepped; else 0. */
  private cursor = 0
  /** Candidates from this index on have no part in the present round. */
  private end = 0
  /** The candidate that stepped last. */
  private latest = -1
  private stored: StoredDescent | undefined
  /** The best descent is in a slot, and what is stored is the descent that had this slot before. */
  private displaced = false
  private readonly standings: Standing[]
  /** The first descent is over, so that it can be guessed what it has left in doubt. */
  private known = false
  /** What it read at its end: weights [K, V]. */
  readout: Float32Array | undefined

  constructor(
    private readonly candidates: readonly Candidate[],
    private readonly restarts: Restarts,
    /** Of the answer. */
    private readonly seed: number,
    /** Of a readout: K x V. */
    private readonly numbers: number,
  ) {
    this.begun = candidates.length
    this.standings = candidates.map(() => ({ energy: Infinity, state: undefined }))
    for (const candidate of candidates) {
      candidate.start = firstStart(restarts, seed, candidate.descent)
      candidate.limit = mostSteps(restarts, candidate.start)
    }
    this.beginRound()
  }

  /** For `recall`. */
  get memory(): SeriesMemory {
    const { begun, cursor, displaced, end, known } = this
    const { latest, pastSteps, readout, standings, stored } = this
    return { begun, cursor, displaced, end, known, latest, pastSteps, readout, standings, stored }
  }

  /** Goes on from where another one stood; its candidates do so by themselves. */
  recall(memory: SeriesMemory): void {
    this.begun = memory.begun
    this.pastSteps = memory.pastSteps
    this.cursor = memory.cursor
    this.end = memory.end
    this.latest = memory.latest
    this.stored = memory.stored && { ...memory.stored, ...descentOf(memory.stored) }
    this.displaced = memory.displaced
    this.known = memory.known
    this.readout = memory.readout
    memory.standings.forEach(({ energy, state }, i) => (this.standings[i] = { energy, state }))
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

  /** Whether the energy of a candidate is that of an answer: with guesses committed it is not. */
  isJudged({ commits, start }: Candidate, { commit }: Budget): boolean {
    return !commits || (start.guess === undefined && !commit?.reopen)
  }

  /** Candidates whose descent is over, and which may not begin another. */
  get spent(): Candidate[] {
    const over = this.candidates.filter((candidate) => candidate.over && !candidate.stopped)
    return over.slice(Math.max(0, (this.restarts.most ?? Infinity) - this.restarted))
  }

  /** The candidates that take the next step, where `left` steps remain. */
  turns(left: number): number[] {
    return this.moving.filter((index) => index >= this.cursor && index < this.end).slice(0, left)
  }

  /** How many steps those of the next round are sure to take together. */
  certainSteps(budget: Budget, left: number, elapsed: number, seconds: number): number {
    const { restarts } = this
    if (this.cursor > 0 || restarts.after === 'plateau' || budget.commit) return 1
    const turns = this.turns(left)
    const { until } = breadth(restarts, this.steps)
    const asBroad = Math.ceil((until - this.steps) / turns.length)
    const together = Math.min(asBroad, left / turns.length)
    const each = turns.map((index) => {
      const { limit, progress } = this.candidates[index] as Candidate
      return certainSteps({ ...budget, maxSteps: limit }, progress, elapsed, seconds)
    })
    return Math.max(1, Math.floor(Math.min(together, ...each)))
  }

  /** Takes note of a step of a candidate. `blanks`: positions that the question leaves blank. */
  step(candidate: Candidate, budget: Budget, blanks: number): void {
    const { limit, progress } = candidate
    this.latest = this.candidates.indexOf(candidate)
    candidate.over = givesUp(this.restarts, budget, progress, limit)
    if (candidate.over === 'diverged') return
    candidate.change = this.changeOf(candidate, budget, blanks)
    if (candidate.change) candidate.over = undefined
  }

  private changeOf(
    candidate: Candidate,
    budget: Budget,
    blanks: number,
  ): Candidate['change'] | undefined {
    const { commit } = budget
    const { commits, committedAt, opened, over, progress, start } = candidate
    if (commits && isAccepted(budget, progress))
      return this.isJudged(candidate, budget) ? undefined : 'open'
    if (!commit || start.guess !== undefined || opened) return undefined
    if (!over && progress.steps - committedAt < commit.after) return undefined
    const left = blanks - (commits?.filter((token) => token >= 0).length ?? 0)
    if (commitCount(commit, blanks, left) > 0) return 'commit'
    return commits && commit.reopen ? 'open' : undefined
  }

  /** Decides which candidates take part in the next round. In the middle of a round it does nothing. */
  beginRound(): void {
    if (this.isWithinRound) return
    const { width } = breadth(this.restarts, this.steps)
    this.end = (this.moving[width - 1] ?? this.candidates.length - 1) + 1
  }

  /** Those whose turn it was have stepped; the round is over, unless others of it are still to step. */
  endRound(): void {
    const next = this.latest + 1
    const open = this.moving.some((index) => index >= next && index < this.end)
    this.cursor = open ? next : 0
  }

  /** Candidates of the present round are still to step. */
  get isWithinRound(): boolean {
    return this.cursor > 0
  }

  /** What descent follows one that is over. `outcome`: what the old one has found. */
  restart(index: number, outcome: Outcome, budget: Budget): Restart {
    const candidate = this.candidates[index] as Candidate
    const { descent: old, over, progress } = candidate
    if (!over) throw new RangeError(`the descent of candidate ${index} is not over`)
    const { restarts, seed } = this
    const saves = this.store(candidate, outcome, budget)
    const standing = this.standings[index] as Standing
    const stands =
      standsSomewhere(restarts) && accepts(restarts, seed, old, progress.final, standing.energy)
    if (stands) this.standings[index] = { energy: progress.final, state: undefined }
    const reads = old === 0 && this.mayGuess(budget)
    this.known ||= reads
    const descent = this.begun++
    const energies = this.standings.map(({ energy }) => energy)
    const start = nextStart(restarts, seed, descent, index, energies, this.known)
    this.pastSteps += progress.steps
    const limit = mostSteps(restarts, start)
    return { descent, start, limit, saves, stands, reads, reason: over, steps: progress.steps }
  }

  /** Positions are committed or opened: the same descent goes on with another question. */
  change(index: number, outcome: Outcome, budget: Budget, blanks: number): Change {
    const candidate = this.candidates[index] as Candidate
    const { change: kind, commits, descent, progress, rounds } = candidate
    if (!kind) throw new RangeError(`nothing is to change in candidate ${index}`)
    const saves = commits ? undefined : this.store(candidate, outcome, budget)
    const left = blanks - (commits?.filter((token) => token >= 0).length ?? 0)
    const count = kind === 'commit' && budget.commit ? commitCount(budget.commit, blanks, left) : 0
    candidate.change = undefined
    candidate.progress = askedAnew(progress)
    candidate.closed = undefined
    if (kind === 'open') this.open(candidate)
    else {
      candidate.rounds++
      candidate.committedAt = progress.steps
      candidate.limit = progress.steps + mostSteps(this.restarts, candidate.start)
    }
    return { kind, count, saves, draw: descent * DRAWS_OF_DESCENT + rounds }
  }

  /** `commits`: [K] tokens of committed positions, BLANK elsewhere; undefined where there was none to commit. */
  commit(index: number, commits: readonly number[] | undefined): void {
    const candidate = this.candidates[index] as Candidate
    if (commits) candidate.commits = commits
    else if (candidate.commits) candidate.change = 'open'
    else this.open(candidate)
  }

  /** The engine has saved a descent; a better one may have ended in the same round. */
  keepState(descent: number, state: Uint8Array): void {
    if (this.stored?.descent === descent) this.stored.state ??= state
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
    this.pastSteps += candidate.progress.steps - stored.progress.steps
    this.stored = { ...descentOf(candidate), outcome, state }
    this.displaced = !this.displaced
    Object.assign(candidate, { ...descentOf(stored), closed: undefined })
  }

  /** What was found so far answers another question: it is forgotten, and descents go on. */
  forget(): void {
    this.stored = undefined
    this.displaced = false
    this.known = false
    this.readout = undefined
    for (const standing of this.standings)
      Object.assign(standing, { energy: Infinity, state: undefined })
  }

  /** The number of a descent that is stored because it is better than the one that is; else undefined. */
  private store(candidate: Candidate, outcome: Outcome, budget: Budget): number | undefined {
    if (!this.isJudged(candidate, budget)) return undefined
    const { stored } = this
    const better = choose(stored ? [stored.outcome, outcome] : [outcome], budget.select)
    if (better !== (stored ? 1 : 0)) return undefined
    this.stored = { ...descentOf(candidate), outcome, state: undefined }
    return candidate.descent
  }

  private open(candidate: Candidate): void {
    candidate.opened = true
    candidate.commits = undefined
    candidate.limit = candidate.progress.steps + checkSteps(this.restarts)
  }

  /** Guesses are refuted by the energy, so a target is needed. */
  private mayGuess({ commit, energyTarget }: Budget): boolean {
    const judged = energyTarget !== undefined && !commit
    return guesses(this.restarts) && judged && this.numbers <= LARGEST_READOUT
  }

  private get moving(): number[] {
    return [...this.candidates.keys()].filter((index) => !this.candidates[index]?.stopped)
  }
}

export const descentOf = (from: Descent): Descent => ({
  change: from.change,
  commits: from.commits,
  committedAt: from.committedAt,
  descent: from.descent,
  limit: from.limit,
  opened: from.opened,
  over: from.over,
  progress: from.progress,
  rounds: from.rounds,
  start: from.start,
})
