/** A candidate of an answer: the slot that it descends in, and how far its present descent has come. */
import type { StopReason } from '../../../refine/budget.js'
import type { RestartReason, Start } from '../../../refine/restarts.js'
import type { Progress } from '../../../refine/stop.js'
import type { CandidateTerms } from './answer-terms.js'
import type { Moves } from './metropolis.js'

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
  /** Number of its descent among those of the answer: its own index until it begins anew. */
  descent: number
  /** Where this descent began. */
  start: Start
  /** Steps after which this descent is over. */
  limit: number
  /** Why this descent is over, so that another begins before its next step. */
  over: RestartReason | undefined
  /** What is done to its positions before its next step. */
  change: 'commit' | 'open' | undefined
  /** [K] tokens of positions that are committed, BLANK elsewhere; undefined while none is. */
  commits: readonly number[] | undefined
  /** How often this descent has committed positions. */
  rounds: number
  /** Its steps when it last committed positions. */
  committedAt: number
  /** Its commits have been opened, after which it commits no more. */
  opened: boolean
  /** Where the request has terms. */
  readonly terms: CandidateTerms | undefined
  /** Where steps may be undone. */
  readonly moves: Moves | undefined
}
