/** What a fleet knows of a replica, whether it takes every step of its engine or jumps over those in which nothing changes. */
import type { Awaitable } from '../../src/energy/engine.js'
import type { BufferedRequestStream } from '../../src/generation/client/request-stream.js'
import type { SimulatedRequest, Kept } from './jobs.js'

/** A request that a replica has ended. */
export interface Ended {
  job: SimulatedRequest
  right: boolean
  /** Of all its candidates, since it began; those before it moved here included. */
  steps: number
}

/** A request whose replica is gone. */
export interface Left {
  job: SimulatedRequest
  /** Of all its candidates, since it began. */
  steps: number
  kept: Kept | undefined
}

/** Totals of the work of a replica. */
export interface ReplicaWork {
  /** Seconds in which its engine computed. */
  busy: number
  /** Steps of single candidates. */
  steps: number
  /** Seconds of all slots in which a candidate stepped. */
  slotSeconds: number
}

export interface ReplicaOptions {
  slots: number
  /** `--checkpoint-seconds`: between two checkpoints of a background request; 0: none. */
  checkpointSeconds: number
}

export interface Replica {
  /** When it next has something to do; Infinity: when a request comes. */
  readonly nextAt: number
  readonly work: ReplicaWork
  /** Requests that wait for their admission. */
  readonly waiting: number
  /** Requests that it has. */
  readonly outstanding: number
  /** For `refuseIfFull`: the requests that it has, in order of submission. */
  streams(): Iterable<Waiting>
  /** A request has come, which is taken between two steps. */
  submit(job: SimulatedRequest, now: number): void
  /**
   * Between two steps: gives what has ended, takes what has come and goes on. `until`: when the next message may
   * come, by which a long call of the engine is interrupted.
   */
  proceed(now: number, until: number): Awaitable<readonly Ended[]>
  /**
   * It is gone. Returns what it had: every request, its steps until now, and where it can go on, which is its last
   * checkpoint; where the replica `saves` first, as a server does that drains, it is where background requests are now.
   */
  leave(now: number, saves: boolean): Awaitable<readonly Left[]>
}

/** A request as the admission of the server sees it. */
export type Waiting = Pick<BufferedRequestStream, 'candidates' | 'client' | 'stage'>

export const streamOf = ({ client, kind }: SimulatedRequest, stage: Waiting['stage']): Waiting => ({
  client,
  candidates: kind.budget.candidates,
  stage,
})

/** Prompt tokens that a step observes, by the default of `--prefill-chunk`. */
export const PREFILL_CHUNK = 256

/** A request that its replica had not begun. */
export const leftUnread = (job: SimulatedRequest): Left => ({
  job,
  steps: job.kept?.steps ?? 0,
  kept: job.kept,
})
