/**
 * Jobs in a folder, in LMDB: commits are atomic, and every commit survives the death of the process.
 * One process at a time has the folder (folder-lock.ts). Every value carries a checksum; a job with a
 * damaged value is moved to a quarantine when it is read, and the others are served as before.
 */
import { type Database, open, type RootDatabase } from 'lmdb'
import { BasinError } from '../errors.js'
import { checkpointIn, checkpointText } from './checkpoint-text.js'
import { seal, unseal } from './checksum.js'
import { lockFolder } from './folder-lock.js'
import type { Checkpoint, Entry, JobRecord, JobStore } from './store.js'

/** What `sweep` needs to know of a job without reading its record. */
interface Weight {
  expires: number | null
  /** Characters of the record, and of all events. */
  record: number
  events: number
  /** Number of events. */
  count: number
}

/** A change of the store that waits for its transaction; `work` makes it. */
interface Waiting {
  work: () => number
  resolve: () => void
  reject: (error: BasinError) => void
}

/** Version 1 had no checksums and no number of events. */
const FORMAT = 2
const DATABASES = ['about', 'records', 'events', 'weights', 'checkpoints', 'quarantine']

/** Called with one line for each job whose stored values are damaged. */
export type DamageListener = (id: string, reason: string) => void

export class LmdbStore implements JobStore {
  readonly durable = true
  private readonly about: Database<number, string>
  private readonly records: Database<string, string>
  /** Events by (job id, event number). */
  private readonly lines: Database<string, [string, number]>
  private readonly weights: Database<string, string>
  /** Of unfinished jobs. */
  private readonly checkpoints: Database<string, string>
  /** What is left of damaged jobs, as it was found: by (job id, name of the value). */
  private readonly quarantined: Database<string, [string, string]>
  /** Characters of all records and events. */
  private length = 0
  private lastWriteFailed = false
  private readonly waiting: Waiting[] = []
  private committing = false
  /** Jobs that are being set apart. */
  private readonly damaged = new Set<string>()

  private constructor(
    private readonly root: RootDatabase,
    private readonly limit: number,
    private readonly unlock: () => void,
    private readonly onDamage: DamageListener,
    /** Damaged jobs are left where they are: writing to a damaged file may end the process. */
    private readonly readOnly: boolean,
  ) {
    this.about = root.openDB({ name: 'about', encoding: 'json' })
    this.records = root.openDB({ name: 'records', encoding: 'string' })
    this.lines = root.openDB({ name: 'events', encoding: 'string' })
    this.weights = root.openDB({ name: 'weights', encoding: 'string' })
    this.checkpoints = root.openDB({ name: 'checkpoints', encoding: 'string' })
    this.quarantined = root.openDB({ name: 'quarantine', encoding: 'string' })
    if (this.about.get('format') === undefined) this.adoptFirstFormat()
    for (const id of [...this.weights.getKeys()]) {
      const weight = this.weightOf(id)
      if (weight) this.length += weight.record + weight.events
    }
  }

  /**
   * `limit`: characters beyond which the oldest ended jobs are deleted. `readOnly`: nothing damaged is set apart.
   * `sync`: without it, commits are not flushed to the disk; whoever closes the store must do it. Throws `in_use`
   * where another process has the folder, `invalid_data` where it cannot be opened.
   */
  static open(
    folder: string,
    limit: number,
    onDamage: DamageListener = () => undefined,
    { readOnly = false, sync = true } = {},
  ): LmdbStore {
    let unlock: (() => void) | undefined
    try {
      unlock = lockFolder(folder)
      return new LmdbStore(openRoot(folder, sync), limit, unlock, onDamage, readOnly)
    } catch (cause) {
      unlock?.()
      if (cause instanceof BasinError) throw cause
      const reason = cause instanceof Error ? cause.message : 'it cannot be opened'
      throw new BasinError('invalid_data', { path: folder, reason }, { cause })
    }
  }

  get failing(): boolean {
    return this.lastWriteFailed
  }

  get(id: string): JobRecord | undefined {
    const sealed = this.records.get(id)
    if (sealed === undefined) return undefined
    const text = unseal(sealed)
    if (text === undefined) throw this.quarantine(id, 'its record')
    return JSON.parse(text) as JobRecord
  }

  async write(id: string, { checkpoint, events, from, record }: Entry): Promise<void> {
    await this.transaction(() => {
      const before = this.weightOf(id) ?? { expires: null, record: 0, events: 0, count: 0 }
      const after = { ...before, count: Math.max(before.count, from + events.length) }
      if (record) {
        const text = JSON.stringify(record)
        after.record = text.length
        after.expires = record.expires
        void this.records.put(id, seal(text))
      }
      events.forEach((line, i) => {
        after.events += line.length
        void this.lines.put([id, from + i], seal(line))
      })
      void this.weights.put(id, seal(JSON.stringify(after)))
      if (after.expires !== null) void this.checkpoints.remove(id)
      else if (checkpoint) void this.checkpoints.put(id, seal(checkpointText(checkpoint)))
      return after.record + after.events - before.record - before.events
    })
  }

  events(id: string, from: number, most: number): string[] {
    const range = { start: [id, from], end: [id, Infinity], limit: most }
    const events: string[] = []
    // Damaged pages can lead in a circle, so each number is compared when it is read.
    for (const { key, value } of this.lines.getRange(range)) {
      const number = from + events.length
      const line = key[1] === number ? unseal(value) : undefined
      if (line === undefined) throw this.quarantine(id, `its event ${number}`)
      events.push(line)
    }
    const count = this.weightOf(id)?.count ?? 0
    if (events.length < Math.min(most, count - from)) {
      throw this.quarantine(id, `its event ${from + events.length}`)
    }
    return events
  }

  checkpoint(id: string): Checkpoint | undefined {
    const sealed = this.checkpoints.get(id)
    const text = sealed === undefined ? undefined : unseal(sealed)
    if (sealed !== undefined && text === undefined)
      this.onDamage(id, 'its checkpoint does not match its checksum; it begins anew')
    return text === undefined ? undefined : checkpointIn(text)
  }

  async delete(id: string): Promise<void> {
    await this.transaction(() => this.remove(id))
  }

  unfinished(): JobRecord[] {
    const ids = [...this.weights.getKeys()].filter((id) => this.weightOf(id)?.expires === null)
    return ids.flatMap((id) => {
      try {
        const record = this.get(id)
        return record ? [record] : []
      } catch (error) {
        // The listener has been told, and the other jobs go on.
        if (error instanceof BasinError && error.code === 'damaged') return []
        throw error
      }
    })
  }

  async sweep(now: number): Promise<void> {
    await this.transaction(() => {
      const ended = [...this.weights.getKeys()]
        .flatMap((id) => {
          const expires = this.weightOf(id)?.expires ?? null
          return expires === null ? [] : [{ id, expires }]
        })
        .sort((a, b) => a.expires - b.expires)
      let removed = 0
      for (const { expires, id } of ended) {
        if (expires > now && this.length + removed <= this.limit) break
        removed += this.remove(id)
      }
      return removed
    })
  }

  /**
   * Copies every whole job into another store, and what was set apart before. `visit` is called with each id
   * before it is read.
   */
  async copyTo(other: LmdbStore, visit: (id: string) => boolean): Promise<void> {
    let last = ''
    for (const id of this.weights.getKeys()) {
      // Keys come in order, except from damaged pages that lead in a circle.
      if (id <= last) throw new BasinError('damaged', { what: `what follows ${last}` })
      last = id
      if (!visit(id)) continue
      const entry = this.whole(id)
      if (entry) await other.write(id, entry)
    }
    await other.transaction(() => {
      for (const { key, value } of this.quarantined.getRange())
        void other.quarantined.put(key, value)
      return 0
    })
  }

  async close(): Promise<void> {
    await this.root.close()
    this.unlock()
  }

  /** All of a job; undefined where some of it is damaged, which the listener has been told. */
  private whole(id: string): Entry | undefined {
    try {
      const record = this.get(id)
      if (!record) return undefined
      const entry: Entry = { record, from: 0, events: this.events(id, 0, Infinity) }
      const checkpoint = this.checkpoint(id)
      return checkpoint ? { ...entry, checkpoint } : entry
    } catch (error) {
      if (error instanceof BasinError && error.code === 'damaged') return undefined
      throw error
    }
  }

  /**
   * `work` returns by how many characters it changes the store. Rejects with `storage_unavailable` where
   * nothing was written.
   */
  private transaction(work: () => number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ work, resolve, reject })
      void this.commitAll()
    })
  }

  /**
   * Commits one transaction after another; what waits meanwhile goes together into the next. Of several that
   * LMDB's library has at once, some are never settled where a write fails.
   */
  private async commitAll(): Promise<void> {
    if (this.committing) return
    this.committing = true
    while (this.waiting.length > 0) await this.commit(this.waiting.splice(0))
    this.committing = false
  }

  private async commit(group: readonly Waiting[]): Promise<void> {
    let added = 0
    try {
      await this.root.transaction(() => {
        added = group.reduce((sum, { work }) => sum + work(), 0)
      })
      this.length += added
      this.lastWriteFailed = false
      for (const { resolve } of group) resolve()
    } catch (error) {
      this.lastWriteFailed = true
      const reason = await reasonOf(error)
      for (const { reject } of group) reject(new BasinError('storage_unavailable', { reason }))
    }
  }

  private weightOf(id: string): Weight | undefined {
    const sealed = this.weights.get(id)
    if (sealed === undefined) return undefined
    const text = unseal(sealed)
    if (text !== undefined) return JSON.parse(text) as Weight
    this.quarantine(id, 'its size')
    return undefined
  }

  /** Sets the values of a damaged job apart, and returns the error that its reader gets. */
  private quarantine(id: string, what: string): BasinError {
    const error = new BasinError('damaged', { what: id })
    if (this.damaged.has(id)) return error
    this.damaged.add(id)
    this.onDamage(id, `${what} does not match its checksum or is missing`)
    if (this.readOnly) return error
    this.transaction(() => {
      const record = this.records.get(id)
      if (record !== undefined) void this.quarantined.put([id, 'record'], record)
      const range = { start: [id, 0], end: [id, Infinity] }
      for (const { key, value } of this.lines.getRange(range)) {
        void this.quarantined.put([id, `event ${key[1]}`], value)
      }
      return this.remove(id)
    }).catch((error: unknown) => {
      this.onDamage(id, `it cannot be set apart: ${String(error)}`)
    })
    return error
  }

  /** Must be called inside a transaction. Returns by how many characters the store changes. */
  private remove(id: string): number {
    const sealed = this.weights.get(id)
    if (sealed === undefined) return 0
    const text = unseal(sealed)
    const { events, record } =
      text === undefined ? { events: 0, record: 0 } : (JSON.parse(text) as Weight)
    void this.weights.remove(id)
    void this.records.remove(id)
    void this.checkpoints.remove(id)
    const range = { start: [id, 0], end: [id, Infinity] }
    for (const key of this.lines.getKeys(range)) void this.lines.remove(key)
    return -(record + events)
  }

  /** Gives every value of a store of format 1 its checksum, in one transaction. */
  private adoptFirstFormat(): void {
    this.root.transactionSync(() => {
      for (const id of [...this.weights.getKeys()]) {
        const lines = [...this.lines.getRange({ start: [id, 0], end: [id, Infinity] })]
        for (const { key, value } of lines) void this.lines.put(key, seal(value))
        const record = this.records.get(id)
        if (record !== undefined) void this.records.put(id, seal(record))
        const before = JSON.parse(this.weights.get(id) ?? '{}') as Omit<Weight, 'count'>
        void this.weights.put(id, seal(JSON.stringify({ ...before, count: lines.length })))
      }
      void this.about.put('format', FORMAT)
    })
  }
}

function openRoot(folder: string, sync: boolean): RootDatabase {
  return open({
    path: folder,
    noSync: !sync,
    // A name with a dot in it is a folder all the same.
    noSubdir: false,
    maxDbs: DATABASES.length,
    // With it, a failed commit rejects a promise of the library's own, which nobody can catch.
    eventTurnBatching: false,
  })
}

/** A failed commit says why in a promise of its own, which must not be left alone either. */
async function reasonOf(error: unknown): Promise<string> {
  const { commitError } = error as { commitError?: Promise<never> }
  const reason = commitError ? await commitError.catch((why: unknown) => why) : error
  return reason instanceof Error ? reason.message : String(reason)
}
