/** What a scheduler is asked, and what it answers. Integers only. */

export interface Capacity {
  slots: number
  contexts: number
  pages: number
  pageSize: number
  /** Whether contexts that begin alike may share pages. */
  sharesPages?: boolean
}

export interface Request {
  /** Takes turns with others; contexts of different clients share no page. */
  client: string
  /** Tokens to observe before the first answer; those of settled answers join them. */
  context: readonly number[]
  /** Something is made of every token: it observes all of them itself, from 0 on again if preempted. */
  whole?: boolean
  /** The most positions that its context and answers take together. */
  positions: number
  /** M: slots it needs. */
  candidates: number
}

/** An admitted request. */
export interface ScheduledRequest {
  readonly requestId: number
  /** The engine's index of the context. */
  readonly contextId: number
  /** One per candidate. */
  readonly slots: readonly number[]
  readonly pages: readonly number[]
}

export interface ObserveRange extends ScheduledRequest {
  /** Tokens [from, to) of the context; empty only for a context that begins without tokens. */
  from: number
  to: number
}

export interface DescendingRow {
  requestId: number
  candidate: number
  slot: number
}

/** What one tick does, in this order. */
export interface Plan {
  /** Held sequences that had to give way. */
  evicted: readonly ScheduledRequest[]
  admitted: readonly ScheduledRequest[]
  /** They gave up their pages and wait. */
  preempted: readonly ScheduledRequest[]
  /** Their contexts are complete again. */
  resumed: readonly ScheduledRequest[]
  observe: readonly ObserveRange[]
  /** Their context is complete: their answers begin, and are among the rows that descend. */
  begin: readonly ScheduledRequest[]
  descend: readonly DescendingRow[]
}

/** Since the scheduler began. */
export interface CacheCounts {
  /** Prompt tokens that were looked for among the pages of earlier contexts, and those found. */
  queries: number
  hits: number
  preemptions: number
}
