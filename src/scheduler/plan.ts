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
  /** M: slots that it needs, one for each candidate. */
  candidates: number
}

/** A request that has been admitted. */
export interface ScheduledRequest {
  readonly requestId: number
  /** The engine's index of the context. */
  readonly contextId: number
  /** One slot for each candidate. */
  readonly slots: readonly number[]
  readonly pages: readonly number[]
}

export interface ObserveRange extends ScheduledRequest {
  /** Tokens [from, to) of the context. Empty only for a context that begins without tokens. */
  from: number
  to: number
}

export interface DescendingRow {
  requestId: number
  candidate: number
  slot: number
}

/** What one step does, in the order of these fields. */
export interface Plan {
  /** Held requests that lost their slots and pages to others. */
  evicted: readonly ScheduledRequest[]
  admitted: readonly ScheduledRequest[]
  /** Requests that lost their pages and wait until they can observe their contexts again. */
  preempted: readonly ScheduledRequest[]
  /** Preempted requests whose contexts are complete again and whose answers go on. */
  resumed: readonly ScheduledRequest[]
  observe: readonly ObserveRange[]
  /** Requests whose contexts are complete: their answers begin, and their rows are in `descend`. */
  begin: readonly ScheduledRequest[]
  descend: readonly DescendingRow[]
}

/** Totals since the scheduler was made. */
export interface CacheCounts {
  /** Prompt tokens that were looked up among the pages of earlier contexts. */
  queries: number
  /** Those of them that were found. */
  hits: number
  preemptions: number
}
