/** The state of one request that has been admitted. Integers only. */
import type { PagedContext, PageNames } from './page-tables.js'
import type { RequestNeeds, ScheduledRequest } from './plan.js'

export interface AdmittedRequest extends ScheduledRequest, PagedContext {
  readonly needs: RequestNeeds
  contextId: number
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
  /** By candidate: the slot that it is in, undefined where it is in none. */
  readonly slots: (number | undefined)[]
  /** By candidate: the step in which it last entered or left a slot; -1 before the first. */
  readonly movedAt: number[]
  /** Candidates that are still in descent, or are to step next in this round, in ascending order. */
  moving: Set<number>
  /** Candidates that have stopped and are to be read, so that they need slots once more. */
  reading: Set<number>
  /** Something is computed around its answer in the slots that it has: they stay with it. */
  pinned: boolean
  /** The most candidates that may be in slots, by its client's share. 0: it observes nothing either. */
  granted: number
}

export const newAdmittedRequest = (
  { contextId, paused, requestId }: Pick<AdmittedRequest, 'requestId' | 'contextId' | 'paused'>,
  needs: RequestNeeds,
  names: PageNames,
): AdmittedRequest => ({
  requestId,
  contextId,
  paused,
  needs,
  names,
  whole: needs.whole ?? false,
  pages: [],
  phase: 'observing',
  observed: 0,
  target: needs.context.length,
  prefill: needs.context.length,
  opened: false,
  reobserves: false,
  resumesAnswer: false,
  slots: new Array<number | undefined>(needs.candidates).fill(undefined),
  movedAt: new Array<number>(needs.candidates).fill(-1),
  moving: new Set(),
  reading: new Set(),
  pinned: false,
  granted: 0,
})

/** Context and pages are gone, so it has to observe all of its context again before its answer goes on. */
export function restartObservation(request: AdmittedRequest): void {
  request.contextId = -1
  request.opened = false
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

/** It takes part in steps: neither paused nor held. */
export const isActive = ({ paused, phase }: AdmittedRequest): boolean => !paused && phase !== 'held'

/** All its candidates have stopped: they are compared and the answer is read, as soon as they are in slots. */
export const isSettling = ({ phase, moving }: AdmittedRequest): boolean =>
  phase === 'refining' && moving.size === 0

/** Slots that a request with so many candidates in descent makes use of. */
export const slotsFor = ({ order }: RequestNeeds, candidates: number): number =>
  order === 'sequence' ? Math.min(1, candidates) : candidates

/** Candidates that need slots now. */
export function wantedCandidates(request: AdmittedRequest): number[] {
  const { moving, needs, reading } = request
  if (request.phase !== 'refining' || request.paused) return []
  const inTurn = [...moving].slice(0, slotsFor(needs, moving.size))
  return reading.size === 0 ? inTurn : [...new Set([...reading, ...inTurn])]
}

/** Slots that it needs now, or will need when its context is observed. */
export function claimedSlots(request: AdmittedRequest): number {
  if (!isActive(request)) return 0
  const { moving, needs, phase, reading } = request
  if (phase === 'observing') return slotsFor(needs, needs.candidates)
  // Asked of every request at every step: it makes no list of them where it need not.
  return reading.size === 0 ? slotsFor(needs, moving.size) : wantedCandidates(request).length
}
