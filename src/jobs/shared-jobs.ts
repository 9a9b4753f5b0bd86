/**
 * Durable jobs of several processes: a queue from which each of them takes what it can run, and the store that they
 * share. Implemented in fleet/, which is loaded only where it is asked for.
 */
import { BasinError } from '../errors.js'
import type { Steer } from '../generation/protocol.js'
import type { Checkpoint, JobRecord, JobStore } from './store.js'

/** What a process may want of a job that runs in another one. `state`: all of it as it is now. */
export type RemoteControl = Steer | { type: 'cancel' } | { type: 'state' }

/**
 * `ended`: nothing is left to do. `left`: another process is to go on. `unserved`: its model is not served here;
 * `busy`: there is no room for its model now.
 */
export type Outcome = 'ended' | 'left' | 'unserved' | 'busy'

/** Whoever computes jobs in this process. */
export interface JobRunner {
  /** Models whose jobs it takes. */
  readonly models: readonly string[]
  /** Runs a job that this process has taken, until it ends or is left. `tries`: since its last checkpoint. */
  run: (id: string, tries: number) => Promise<Outcome>
  /** Whether this process runs it now. */
  runs: (id: string) => boolean
  /**
   * Does what another process wants, and returns what it is told, which is JSON. `inRecord`: called before the
   * control changes the record. Undefined where the job cannot take it yet: then `SharedJobs.steerable` is called
   * later. Throws a BasinError that the other process throws in turn.
   */
  apply: (id: string, control: RemoteControl, inRecord: () => void) => Promise<object | undefined>
}

/** Jobs of one model by what the queue says of them. */
export interface QueueCounts {
  waiting: number
  running: number
}

/** `mine`: nobody has the name, and whoever asked has it now. `running`, `kept`: another request had it before. */
export type Claim =
  { state: 'mine'; claim: string } | { state: 'running' | 'kept'; hash: string; reply: string }

/** Replies by the names that clients give them. All throw `idempotency_unavailable`. */
export interface SharedReplies {
  /** `hash`: of the request. */
  claim: (name: string, hash: string) => Promise<Claim>
  keep: (name: string, claim: string, reply: string, milliseconds: number) => Promise<void>
  forget: (name: string, claim: string) => Promise<void>
}

/** What a job has before it runs: its first events, and where it begins, if not at its prompt. */
export interface FirstEntry {
  events: readonly string[]
  checkpoint?: Checkpoint
}

/** Counts what happens to jobs that this process takes. */
export interface FleetListener {
  /** `lost`: another process ran it and did not answer any more; `left`: another one left it in good order. */
  taken: (model: string, how: TakenHow) => void
  /** From the moment when another process began to leave it until it was taken here. */
  moved: (model: string, seconds: number) => void
}

export type TakenHow = 'queued' | 'left' | 'lost'

export interface SharedJobs {
  readonly store: JobStore
  readonly replies: SharedReplies
  /** Writes a job and queues it. Throws `storage_unavailable`. */
  add: (record: JobRecord, first: FirstEntry) => Promise<void>
  /** From now on this process takes jobs. */
  start: (runner: JobRunner) => void
  /** Models that this process serves have come or gone. */
  modelsChanged: () => void
  /** A job that this process runs takes controls now. */
  steerable: (id: string) => void
  /** Events of a job after this number as they come, to its end or until `left` aborts. */
  follow: (id: string, after: number, left: AbortSignal) => AsyncIterable<string>
  /** Asks the process that runs the job. Throws what it throws, `not_found`, and `owner_unavailable`. */
  control: (id: string, control: RemoteControl) => Promise<object>
  /**
   * Takes a job that nobody runs out of the queue, so that this process ends it and calls what is returned then.
   * Undefined where somebody runs it.
   */
  withdraw: (record: JobRecord) => Promise<(() => void) | undefined>
  /** This process takes no more jobs; `left` of those that it runs go back to the queue. */
  drain: () => Promise<void>
  counts: () => Promise<ReadonlyMap<string, QueueCounts>>
  /** Is told of jobs that this process takes. */
  listen: (listener: FleetListener) => void
  /** It takes jobs, and can reach what it shares with others. */
  readonly takes: boolean
  close: () => Promise<void>
}

/** Of a request that is to be steered and runs nowhere. */
export const notRunning = (id: string): BasinError =>
  new BasinError('not_found', { param: 'id', what: `A running request ${id}` })
