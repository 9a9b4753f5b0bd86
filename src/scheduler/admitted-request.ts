/** A request that has its slots and its context: where it stands. Integers only. */
import type { PagedContext, PageNames } from './contexts.js'
import type { ScheduledRequest } from './plan.js'

export interface AdmittedRequest extends ScheduledRequest, PagedContext {
  readonly pages: number[]
  phase: 'observing' | 'refining' | 'held'
  paused: boolean
  /** Tokens up to here are observed in chunks: the prompt, or all there was when it was preempted. */
  prefill: number
  /** The engine knows this context, if only as an empty one. */
  opened: boolean
  /** It was preempted once: what it observes now, it has observed before. */
  again: boolean
  /** Preempted while its answer was in descent, which goes on when the context is back. */
  interrupted: boolean
  /** Candidates still in descent. */
  moving: Set<number>
}

interface Given extends Pick<
  AdmittedRequest,
  'requestId' | 'contextId' | 'slots' | 'paused' | 'whole'
> {
  names: PageNames
  /** Tokens. */
  prompt: number
}

export const admitted = ({ prompt, ...given }: Given): AdmittedRequest => ({
  ...given,
  pages: [],
  phase: 'observing',
  observed: 0,
  target: prompt,
  prefill: prompt,
  opened: false,
  again: false,
  interrupted: false,
  moving: new Set(),
})

/** Its pages are gone: it observes all of its context again, then goes on where it was. */
export function interrupt(s: AdmittedRequest): void {
  s.prefill = s.target
  s.again = true
  s.interrupted ||= s.phase === 'refining'
  s.phase = 'observing'
}

/** All of its context but the last token is observed, and nothing is in its way. */
export const awaitsToken = (s: AdmittedRequest): boolean =>
  s.phase === 'observing' && s.opened && !s.paused && !s.interrupted && s.observed === s.target - 1

/** Its candidates are at rest, and in this tick its answer is judged and read. */
export const isSettling = ({ phase, moving }: AdmittedRequest): boolean =>
  phase === 'refining' && moving.size === 0
