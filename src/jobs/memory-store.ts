/** Jobs in the memory of this process. */
import type { Checkpoint, Entry, JobRecord, JobStore } from './store.js'

interface Kept {
  /** JSON text, so that later changes of the object do not change what was written. */
  record: string
  expires: number | null
  events: string[]
  /** Characters of the events. */
  length: number
}

export class MemoryStore implements JobStore {
  readonly durable: boolean = false
  readonly failing: boolean = false
  /** In the order in which records last changed, so ended jobs are in the order of their ends. */
  private readonly byId = new Map<string, Kept>()
  /** Characters of all records and events. */
  private length = 0

  /** `limit`: characters beyond which the oldest ended jobs are deleted. */
  constructor(private readonly limit: number) {}

  get(id: string): JobRecord | undefined {
    const kept = this.byId.get(id)
    return kept && (JSON.parse(kept.record) as JobRecord)
  }

  write(id: string, { events, from, record }: Entry): Promise<void> {
    const kept = this.byId.get(id) ?? { record: '', expires: null, events: [], length: 0 }
    kept.events.splice(from, events.length, ...events)
    const added = events.reduce((sum, { length }) => sum + length, 0)
    kept.length += added
    this.length += added
    if (record) {
      this.length -= kept.record.length
      kept.record = JSON.stringify(record)
      kept.expires = record.expires
      this.length += kept.record.length
      this.byId.delete(id)
      this.byId.set(id, kept)
    }
    return Promise.resolve()
  }

  events(id: string, from: number, most: number): string[] {
    return this.byId.get(id)?.events.slice(from, from + most) ?? []
  }

  /** Jobs end with this process, so nothing goes on from one. */
  checkpoint(): Checkpoint | undefined {
    return undefined
  }

  delete(id: string): Promise<void> {
    const kept = this.byId.get(id)
    if (kept) this.length -= kept.length + kept.record.length
    this.byId.delete(id)
    return Promise.resolve()
  }

  unfinished(): JobRecord[] {
    return [...this.byId.values()].flatMap(({ expires, record }) =>
      expires === null ? [JSON.parse(record) as JobRecord] : [],
    )
  }

  sweep(now: number): Promise<void> {
    for (const [id, { expires }] of this.byId) {
      if (expires !== null && (expires <= now || this.length > this.limit)) void this.delete(id)
    }
    return Promise.resolve()
  }

  close(): Promise<void> {
    this.byId.clear()
    return Promise.resolve()
  }
}
