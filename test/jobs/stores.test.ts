/** What every store of jobs must do, and what the store in a folder does in addition. */
import { mkdtempSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { LmdbStore } from '../../src/jobs/lmdb-store.js'
import { MemoryStore } from '../../src/jobs/memory-store.js'
import { checkpoint, recordOf } from './records.js'

const folder = () => join(mkdtempSync(join(tmpdir(), 'basin-jobs-')), 'kept')

/** Both answer at once. */
type LocalStore = LmdbStore | MemoryStore

let store: LocalStore
afterEach(() => store.close())

const stores: [string, (limit: number) => LocalStore][] = [
  ['in memory', (limit) => new MemoryStore(limit)],
  ['in a folder', (limit) => LmdbStore.open(folder(), limit)],
]

describe.each(stores)('%s', (_, open) => {
  it('returns what was written, even if the object changed later', async () => {
    store = open(1e6)
    const record = recordOf('a')
    await store.write('a', { record, from: 0, events: ['{"n":0}', '{"n":1}'] })
    record.steered = true
    await store.write('a', { record: undefined, from: 2, events: ['{"n":2}'] })
    expect(store.get('a')).toEqual(recordOf('a'))
    expect(store.events('a', 0, 10)).toEqual(['{"n":0}', '{"n":1}', '{"n":2}'])
    expect(store.events('a', 1, 1)).toEqual(['{"n":1}'])
    expect(store.events('a', 3, Infinity)).toEqual([])
    expect(store.get('b')).toBeUndefined()
  })

  it('keeps more than nine events in order, and jobs separate', async () => {
    store = open(1e6)
    const lines = Array.from({ length: 1200 }, (_, n) => `{"n":${n}}`)
    await store.write('a', { record: recordOf('a'), from: 0, events: lines })
    await store.write('ab', { record: recordOf('ab'), from: 0, events: ['other'] })
    expect(store.events('a', 0, Infinity)).toEqual(lines)
    expect(store.events('ab', 0, Infinity)).toEqual(['other'])
  })

  it('deletes a job with its events', async () => {
    store = open(1e6)
    await store.write('a', { record: recordOf('a'), from: 0, events: ['1'] })
    await store.write('b', { record: recordOf('b'), from: 0, events: ['2'] })
    await store.delete('a')
    expect(store.get('a')).toBeUndefined()
    expect(store.events('a', 0, 10)).toEqual([])
    expect(store.events('b', 0, 10)).toEqual(['2'])
  })

  it('lists unfinished jobs, and deletes expired ones', async () => {
    store = open(1e6)
    await store.write('open', { record: recordOf('open'), from: 0, events: [] })
    await store.write('old', { record: recordOf('old', 1000), from: 0, events: [] })
    await store.write('new', { record: recordOf('new', 3000), from: 0, events: [] })
    expect(store.unfinished().map(({ id }) => id)).toEqual(['open'])
    await store.sweep(2000)
    expect(store.get('old')).toBeUndefined()
    expect(store.get('new')).toBeDefined()
    expect(store.get('open')).toBeDefined()
  })

  it('deletes the oldest ended jobs beyond its limit, and no running job', async () => {
    store = open(6000)
    const events = ['x'.repeat(2000)]
    await store.write('open', { record: recordOf('open'), from: 0, events })
    for (const [i, id] of ['first', 'second', 'third'].entries()) {
      await store.write(id, { record: recordOf(id, 5000 + i), from: 0, events })
    }
    await store.sweep(1000)
    expect(['open', 'first', 'second', 'third'].filter((id) => store.get(id))).toEqual([
      'open',
      'third',
    ])
  })
})

describe('the store in a folder', () => {
  it('outlives its process, with its limit', async () => {
    const path = folder()
    store = LmdbStore.open(path, 3000)
    const events = ['x'.repeat(2000)]
    await store.write('a', { record: recordOf('a', 5000), from: 0, events })
    await store.write('b', { record: recordOf('b', 6000), from: 0, events })
    await store.close()
    store = LmdbStore.open(path, 3000)
    expect(store.events('b', 0, 10)).toEqual(events)
    await store.sweep(1000)
    expect(store.get('a')).toBeUndefined()
    expect(store.get('b')).toEqual(recordOf('b', 6000))
  })

  it('keeps the latest checkpoint of a job until its end', async () => {
    const path = folder()
    store = LmdbStore.open(path, 1e6)
    await store.write('a', { record: recordOf('a'), from: 0, events: ['1'], checkpoint })
    const later = { ...checkpoint, next: 2, thought: new Uint8Array(5000) }
    await store.write('a', { record: undefined, from: 1, events: ['2'], checkpoint: later })
    await store.write('a', { record: undefined, from: 2, events: ['3'] })
    await store.close()
    store = LmdbStore.open(path, 1e6)
    expect(store.checkpoint('a')).toEqual(later)
    expect(store.checkpoint('b')).toBeUndefined()
    await store.write('a', { record: recordOf('a', 5000), from: 3, events: [], checkpoint })
    expect(store.checkpoint('a')).toBeUndefined()
  })

  it('can be read only by the user who runs the server', () => {
    const path = folder()
    store = LmdbStore.open(path, 3000)
    expect(statSync(path).mode & 0o077).toBe(0)
  })

  it('says what is wrong with a path that cannot be opened', () => {
    store = new MemoryStore(0)
    const path = join(mkdtempSync(join(tmpdir(), 'basin-jobs-')), 'file')
    writeFileSync(path, '')
    expect(() => LmdbStore.open(path, 1)).toThrow(path)
  })
})
