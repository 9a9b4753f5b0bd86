/** The scheduler's vocabulary: what it is asked and what it answers. Integers only. */

/** What the engine has room for. */
export interface Capacity {
  slots: number
  contexts: number
  pages: number
  /** Positions that a page holds. */
  pageSize: number
  /** Whether contexts that begin with the same tokens may share pages. */
  sharesPages?: boolean
}

/** What a request needs in order to run. */
export interface RequestNeeds {
  /** Requests of different clients are admitted in turns, and their contexts share no page. */
  client: string
  /** Tokens to observe before the first answer. The caller appends the tokens of settled answers. */
  context: readonly number[]
  /**
   * The request reads a result from every token (an embedding does), so it observes all of its context
   * itself and, once preempted, begins again at token 0.
   */
  whole?: boolean
  /** The most positions that the context and all answers take together. */
  positions: number
  /** M: it makes use of as many slots, one for each candidate, and goes on with as few as one. */
  candidates: number
  /**
   * In which order candidates descend. `sequence`: one after the other, so that one slot is enough. `rounds`:
   * those that `takeTurns` names, the first of these first. Absent: each for itself.
   */
  order?: 'sequence' | 'rounds'
}

/** A request that has been admitted. */
export interface ScheduledRequest {
  readonly requestId: number
  /** The engine's index of the context; -1 while the request has none. */
  readonly contextId: number
  readonly pages: readonly number[]
}

export interface ObserveRange extends ScheduledRequest {
  /** Tokens [from, to) of the context. Empty only for a context that begins without tokens. */
  from: number
  to: number
}

/** A candidate and the slot that it is in, leaves or enters. */
export interface SlotRow {
  requestId: number
  candidate: number
  slot: number
}

/** What one step does, in the order of these fields. */
export interface Plan {
  /** Held requests that lost their slots and pages to others. */
  evicted: readonly ScheduledRequest[]
  admitted: readonly ScheduledRequest[]
  /** Requests that lost context and pages, and wait until they can observe their contexts again. */
  preempted: readonly ScheduledRequest[]
  /** Candidates whose answers are saved, since others need their slots. */
  moveOut: readonly SlotRow[]
  /** Contexts that the engine lets go of, when the answers above are saved. */
  release: readonly number[]
  /** Preempted requests whose contexts are complete again and whose answers go on. */
  resumed: readonly ScheduledRequest[]
  observe: readonly ObserveRange[]
  /** Requests whose contexts are complete: their answers begin. */
  begin: readonly ScheduledRequest[]
  /** Candidates that begin, or whose saved answers are restored, in these slots. */
  moveIn: readonly SlotRow[]
  descend: readonly SlotRow[]
}

/** Totals since the scheduler was made. */
export interface CacheCounts {
  /** Prompt tokens that were looked up among the pages of earlier contexts. */
  queries: number
  /** Those of them that were found. */
  hits: number
  preemptions: number
  /** Answers that were saved because other clients needed their slots. */
  movedOut: number
}
