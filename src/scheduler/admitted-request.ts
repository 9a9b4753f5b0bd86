/** The state of one request that has slots and a context. Integers only. */
import type { PagedContext, PageNames } from './page-tables.js'
import type { ScheduledRequest } from './plan.js'

export interface AdmittedRequest extends ScheduledRequest, PagedContext {
  readonly pages: number[]
  phase: 'observing' | 'refining' | 'held'
  paused: boolean
  /** Tokens before this index are observed in chunks: the prompt, or the whole context after a preemption. */
  prefill: number
  /** The engine has this context, even if it is still empty. */
  opened: boolean
  /** It was preempted, so it observes tokens that it has observed before. */
  reobserves: boolean
  /** It was preempted during descent; the same answer goes on once the context is complete again. */
  resumesAnswer: boolean
  /** Candidates that are still in descent. */
  moving: Set<number>
}

interface AdmissionFields extends Pick<
  AdmittedRequest,
  'requestId' | 'contextId' | 'slots' | 'paused' | 'whole'
> {
  names: PageNames
  /** Length in tokens. */
  prompt: number
}

export const newAdmittedRequest = ({ prompt, ...fields }: AdmissionFields): AdmittedRequest => ({
  ...fields,
  pages: [],
  phase: 'observing',
  observed: 0,
  target: prompt,
  prefill: prompt,
  opened: false,
  reobserves: false,
  resumesAnswer: false,
  moving: new Set(),
})

/** Its pages are gone, so it has to observe all of its context again before its answer goes on. */
export function restartObservation(request: AdmittedRequest): void {
  request.prefill = request.target
  request.reobserves = true
  request.resumesAnswer ||= request.phase === 'refining'
  request.phase = 'observing'
}

/** Everything but the last token of its context is observed, and it may run. */
export const awaitsLastToken = (request: AdmittedRequest): boolean =>
  request.phase === 'observing' &&
  request.opened &&
  !request.paused &&
  !request.resumesAnswer &&
  request.observed === request.target - 1

/** All its candidates have stopped; this step compares them and reads the answer. */
export const isSettling = ({ phase, moving }: AdmittedRequest): boolean =>
  phase === 'refining' && moving.size === 0
