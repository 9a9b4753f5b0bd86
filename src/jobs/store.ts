/**
 * Where jobs are written down: what was asked, what has been said of it, what became of it. Two stores
 * behind one interface: in memory, for as long as the process lives, and in a folder, for longer.
 * Knows no run and no transport; requests, results and events are texts to it.
 */
import type { EngineRequest } from '../generation/protocol.js'

export interface JobRecord {
  id: string
  /** Who may see it. */
  owner: string
  /** Goes on without its connection, and after a restart. */
  durable: boolean
  /** Somebody changed its course on the way: computed again, it would become something else. */
  steered: boolean
  model: string
  job: Omit<EngineRequest, 'id'>
  /** What was asked, in the words of the API that was asked. JSON. */
  request: unknown
  /** What has become of it, in the same words; final once `expires` is set. JSON. */
  result: unknown
  /** When it is forgotten, in milliseconds of Unix time; null while it is under way. */
  expires: number | null
}

export interface Entry {
  record: JobRecord | undefined
  from: number
  events: readonly string[]
}

export interface JobStore {
  /** What is written outlives this process. */
  readonly durable: boolean
  get(id: string): JobRecord | undefined
  /**
   * Events from number `from` on and, if it has changed, the record: together or not at all. Resolves
   * when a process that is killed at once would still have left them behind (if the store is durable).
   */
  write(id: string, entry: Entry): Promise<void>
  /** At most `most` events from number `from` on, in their order. */
  events(id: string, from: number, most: number): string[]
  delete(id: string): Promise<void>
  /** Records without an end. */
  unfinished(): JobRecord[]
  /** Forgets what has expired, and the oldest ended jobs beyond the limit on bytes. */
  sweep(now: number): Promise<void>
  close(): Promise<void>
}
