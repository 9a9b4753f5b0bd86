/**
 * Jobs in a folder, in LMDB: commits are atomic, and every commit survives the death of the process.
 * One process at a time writes to a folder.
 */
import { mkdirSync } from 'node:fs'
import { type Database, open, type RootDatabase } from 'lmdb'
import { BasinError } from '../errors.js'
import type { Entry, JobRecord, JobStore } from './store.js'

/** What `sweep` needs to know of a job without reading its record. */
interface Weight {
  expires: number | null
  /** Characters of record and events. */
  record: number
  events: number
}

export class LmdbStore implements JobStore {
  readonly durable = true
  private readonly records: Database<JobRecord, string>
  /** Events by (job id, event number). */
  private readonly lines: Database<string, [string, number]>
  private readonly weights: Database<Weight, string>
  /** Characters of all records and events. */
  private length = 0

  private constructor(
    private readonly root: RootDatabase,
    private readonly limit: number,
  ) {
    this.records = root.openDB({ name: 'records', encoding: 'json' })
    this.lines = root.openDB({ name: 'events', encoding: 'string' })
    this.weights = root.openDB({ name: 'weights', encoding: 'json' })
    for (const { value } of this.weights.getRange()) this.length += value.record + value.events
  }

  /** `limit`: characters beyond which the oldest ended jobs are deleted. Throws `invalid_data`. */
  static open(folder: string, limit: number): LmdbStore {
    try {
      // The folder holds prompts and answers: other users of the machine must not read them.
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      return new LmdbStore(open({ path: folder, maxDbs: 3 }), limit)
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : 'it cannot be opened'
      throw new BasinError('invalid_data', { path: folder, reason }, { cause })
    }
  }

  get(id: string): JobRecord | undefined {
    return this.records.get(id)
  }

  async write(id: string, { events, from, record }: Entry): Promise<void> {
    await this.root.transaction(() => {
      const before = this.weights.get(id) ?? { expires: null, record: 0, events: 0 }
      const after = { ...before }
      if (record) {
        after.record = JSON.stringify(record).length
        after.expires = record.expires
        void this.records.put(id, record)
      }
      events.forEach((line, i) => {
        after.events += line.length
        void this.lines.put([id, from + i], line)
      })
      void this.weights.put(id, after)
      this.length += after.record + after.events - before.record - before.events
    })
  }

  events(id: string, from: number, most: number): string[] {
    const range = { start: [id, from], end: [id, Infinity], limit: most }
    return [...this.lines.getRange(range)].map(({ value }) => value)
  }

  async delete(id: string): Promise<void> {
    await this.root.transaction(() => {
      this.remove(id)
    })
  }

  unfinished(): JobRecord[] {
    return [...this.weights.getRange()].flatMap(({ key, value }) => {
      const record = value.expires === null ? this.records.get(key) : undefined
      return record ? [record] : []
    })
  }

  async sweep(now: number): Promise<void> {
    await this.root.transaction(() => {
      const ended = [...this.weights.getRange()]
        .flatMap(({ key: id, value: { expires } }) => (expires === null ? [] : [{ id, expires }]))
        .sort((a, b) => a.expires - b.expires)
      for (const { expires, id } of ended) {
        if (expires > now && this.length <= this.limit) return
        this.remove(id)
      }
    })
  }

  close(): Promise<void> {
    return this.root.close()
  }

  /** Must be called inside a transaction. */
  private remove(id: string): void {
    const weight = this.weights.get(id)
    if (!weight) return
    this.length -= weight.record + weight.events
    void this.weights.remove(id)
    void this.records.remove(id)
    const range = { start: [id, 0], end: [id, Infinity] }
    for (const key of this.lines.getKeys(range)) void this.lines.remove(key)
  }
}
