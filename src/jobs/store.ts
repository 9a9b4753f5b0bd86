/**
 * Where the request, the events and the result of each job are kept. Three stores implement one interface: in
 * the memory of the process, in a folder, and in a Redis that several processes share. A store knows no engine
 * and no transport; requests, results and events are JSON to it.
 */
import type { Awaitable } from '../energy/engine.js'
import type { EngineRequest, Of, Steer } from '../generation/protocol.js'

export interface JobRecord {
  id: string
  /** The client that may see it. */
  owner: string
  /** It goes on without its connection, and after a restart. */
  durable: boolean
  /** A client has changed its course while it ran, so its seed alone does not give its result. */
  steered: boolean
  /** By what, in this order. Absent: it was not. */
  steers?: Steer[]
  /** It began at the checkpoint of another job, without which it cannot be computed again. */
  continued?: boolean
  model: string
  job: Omit<EngineRequest, 'id'>
  /** The request body, as the API defines it. JSON. */
  request: unknown
  /** The result so far, as the API defines it; final once `expires` is set. JSON. */
  result: unknown
  /** When it is deleted, in milliseconds of Unix time; null while it runs. */
  expires: number | null
}

/** What a job goes on from after its process or its engine was lost. */
export interface Checkpoint extends Pick<Of<'saved'>, 'limits' | 'steered' | 'steps' | 'thought'> {
  /** The number of the event that follows it. */
  next: number
  /** Of the writer of its events: JSON. */
  writer: unknown
}

export interface Entry {
  record: JobRecord | undefined
  from: number
  events: readonly string[]
  /** In place of the one before. It is forgotten with the end of the job. */
  checkpoint?: Checkpoint
}

/** Another process runs the job now, or it has ended: who wrote to it has no part in it any more. */
export class JobTaken extends Error {
  constructor(readonly id: string) {
    super(`the job ${id} has been taken by another process`)
  }
}

/** The store has lost events that were written before, as a Redis may that was killed. */
export class EventsMissing extends Error {
  /** `count`: of the events that it has. */
  constructor(readonly count: number) {
    super(`the store has only ${count} events`)
  }
}

export interface JobStore {
  /** Whether what is written outlives this process. */
  readonly durable: boolean
  /** The last write failed; so will the next one, unless the cause is gone. */
  readonly failing: boolean
  /** Throws `damaged` for a job whose stored values are. */
  get(id: string): Awaitable<JobRecord | undefined>
  /**
   * Writes events from number `from` on and, if they have changed, the record and the checkpoint, all or
   * nothing. Resolves when they would survive the death of the process (if the store is durable). Rejects with
   * `JobTaken` or `EventsMissing` where the store is shared.
   */
  write(id: string, entry: Entry): Promise<void>
  /** At most `most` events from number `from` on, in order. Throws `damaged`. */
  events(id: string, from: number, most: number): Awaitable<string[]>
  /** The latest one; undefined where there is none, or it is damaged. */
  checkpoint(id: string): Awaitable<Checkpoint | undefined>
  delete(id: string): Promise<void>
  /** Records of jobs that have not ended. */
  unfinished(): Awaitable<JobRecord[]>
  /** Deletes expired jobs, and the oldest ended jobs while the store exceeds its limit on characters. */
  sweep(now: number): Promise<void>
  close(): Promise<void>
}
