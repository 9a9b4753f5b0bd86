/** What a store in a folder does about damage, a full disk, a second process and an odd name. */
import { spawnSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { open } from 'lmdb'
import { afterAll, describe, expect, it } from 'vitest'
import { LmdbStore } from '../../src/jobs/lmdb-store.js'
import { recoverFolder } from '../../src/jobs/recover.js'
import { recordOf } from './records.js'

const entry = fileURLToPath(new URL('../../dist/jobs/recover-process.js', import.meta.url))
const folder = (name = 'kept') => join(mkdtempSync(join(tmpdir(), 'basin-jobs-')), name)
const lines = (count: number) => Array.from({ length: count }, (_, n) => `{"n":${n}}`)

async function storeWith(path: string, ids: readonly string[], events = 20): Promise<void> {
  const store = LmdbStore.open(path, 1e9)
  for (const id of ids)
    await store.write(id, { record: recordOf(id), from: 0, events: lines(events) })
  await store.close()
}

/** Changes one stored value behind the back of the store. */
async function tamper(path: string, name: string, key: string | [string, number], value?: string) {
  const root = open({ path, noSubdir: false, maxDbs: 5 })
  const database = root.openDB<string, string | [string, number]>({ name, encoding: 'string' })
  await (value === undefined ? database.remove(key) : database.put(key, value))
  await root.close()
}

/**
 * Says of every leaf page that it has 64 kB of free room. Nobody who reads looks at that; a write puts its value
 * outside of the page. LMDB's page header: number (8 bytes), transaction (8), key size (2), flags (2), where free
 * room begins (2) and where it ends (2). Returns how many pages were changed.
 */
function spoilFreeRoom(bytes: Buffer): number {
  const leaf = 2
  let changed = 0
  for (let at = 0; at < bytes.length; at += 4096) {
    if (bytes.readBigUInt64LE(at) !== BigInt(at / 4096) || bytes.readUInt16LE(at + 18) !== leaf)
      continue
    bytes.writeUInt16LE(0xffff, at + 22)
    changed++
  }
  return changed
}

describe('a damaged value', () => {
  it.each([
    { title: 'an event', name: 'events', key: ['b', 3] as [string, number], value: 'x'.repeat(20) },
    {
      title: 'a missing event',
      name: 'events',
      key: ['b', 3] as [string, number],
      value: undefined,
    },
    {
      title: 'the last event missing',
      name: 'events',
      key: ['b', 19] as [string, number],
      value: undefined,
    },
    { title: 'the record', name: 'records', key: 'b', value: 'deadbeef{}' },
    { title: 'the size', name: 'weights', key: 'b', value: 'nonsense' },
  ])('takes away its own job and no other: $title', async ({ key, name, value }) => {
    const path = folder()
    await storeWith(path, ['a', 'b', 'c'])
    await tamper(path, name, key, value)
    const damage: string[] = []
    const store = LmdbStore.open(path, 1e9, (id, reason) => damage.push(`${id}: ${reason}`))
    if (name === 'events') expect(() => store.events('b', 0, Infinity)).toThrow('damaged')
    if (name === 'records') expect(() => store.get('b')).toThrow('damaged')
    expect(store.unfinished().map(({ id }) => id)).toEqual(
      name === 'events' ? ['a', 'b', 'c'] : ['a', 'c'],
    )
    expect(damage).toHaveLength(1)
    expect(damage[0]).toMatch(/^b: its (event|record|size)/)
    for (const id of ['a', 'c']) expect(store.events(id, 0, Infinity)).toEqual(lines(20))
    await expect.poll(() => store.get('b')).toBeUndefined()
    await store.close()
  })
})

describe('a damaged file', () => {
  it('is set aside where it is cut short, and the server goes on', async () => {
    const path = folder()
    await storeWith(
      path,
      Array.from({ length: 50 }, (_, n) => `job${n}`),
      200,
    )
    truncateSync(join(path, 'data.mdb'), 40_000)
    const report: string[] = []
    await recoverFolder(path, entry, (line) => report.push(line))
    expect(report.join('\n')).toContain('is damaged')
    const store = LmdbStore.open(path, 1e9)
    await store.write('new', { record: recordOf('new'), from: 0, events: ['1'] })
    expect(store.events('new', 0, 1)).toEqual(['1'])
    await store.close()
    expect(readdirSync(path).some((name) => name.startsWith('damaged-'))).toBe(true)
  })

  it('loses no whole job to nonsense in pages of others', async () => {
    const path = folder()
    const ids = Array.from({ length: 20 }, (_, n) => `job${n}`)
    await storeWith(path, ids, 200)
    const file = join(path, 'data.mdb')
    const bytes = readFileSync(file)
    // A page of events somewhere in the middle.
    const at = bytes.indexOf('{"n":57}', bytes.length / 2)
    bytes.fill(0xff, at - (at % 4096), at - (at % 4096) + 4096)
    writeFileSync(file, bytes)
    await recoverFolder(path, entry, () => undefined)
    const store = LmdbStore.open(path, 1e9)
    const whole = ids.filter((id) => store.get(id) !== undefined)
    expect(whole.length).toBeGreaterThan(15)
    expect(whole.length).toBeLessThan(20)
    for (const id of whole) expect(store.events(id, 0, Infinity)).toEqual(lines(200))
    await store.close()
  })

  it('whose pages are read without an error but say nonsense of their free room takes writes', async () => {
    const path = folder()
    const ids = Array.from({ length: 20 }, (_, n) => `job${n}`)
    await storeWith(path, ids, 200)
    const file = join(path, 'data.mdb')
    const bytes = readFileSync(file)
    expect(spoilFreeRoom(bytes)).toBeGreaterThan(20)
    writeFileSync(file, bytes)
    const report: string[] = []
    await recoverFolder(path, entry, (line) => report.push(line))
    expect(report).toEqual([])
    const store = LmdbStore.open(path, 1e9)
    for (const id of ids)
      await store.write(id, { record: undefined, from: 200, events: lines(230).slice(200) })
    for (const id of ids) expect(store.events(id, 0, Infinity)).toEqual(lines(230))
    await store.close()
  })

  it('is built anew with all that it held where nothing is wrong with it', async () => {
    const path = folder()
    await storeWith(path, ['a', 'b'])
    const report: string[] = []
    await recoverFolder(path, entry, (line) => report.push(line))
    expect(report).toEqual([])
    const store = LmdbStore.open(path, 1e9)
    expect(store.unfinished().map(({ id }) => id)).toEqual(['a', 'b'])
    for (const id of ['a', 'b']) expect(store.events(id, 0, Infinity)).toEqual(lines(20))
    await store.close()
    expect(readdirSync(path).sort()).toEqual(['basin.lock', 'data.mdb', 'lock.mdb'])
  })
})

describe('a folder', () => {
  it('is refused to a second process, and free again when the first is killed', async () => {
    const path = folder()
    const script = `
      import { LmdbStore } from '${new URL('../../dist/jobs/lmdb-store.js', import.meta.url).href}'
      try { LmdbStore.open(process.argv[1], 1); console.log('open') } catch (error) { console.log(error.code) }
      process.kill(process.pid, 'SIGKILL')`
    const other = () =>
      spawnSync(process.execPath, ['--input-type=module', '-e', script, path], { encoding: 'utf8' })
    const store = LmdbStore.open(path, 1e6)
    expect(other().stdout.trim()).toBe('in_use')
    await store.close()
    expect(other().stdout.trim()).toBe('open')
    const again = LmdbStore.open(path, 1e6)
    await again.close()
  })

  it('may have a dot in its name', async () => {
    const store = LmdbStore.open(folder('jobs.v1'), 1e6)
    await store.write('a', { record: recordOf('a'), from: 0, events: ['1'] })
    expect(store.events('a', 0, 1)).toEqual(['1'])
    await store.close()
  })

  it('written by the first version is read, and its values get their checksums', async () => {
    const path = folder()
    mkdirSync(path)
    const root = open({ path, noSubdir: false, maxDbs: 5 })
    const record = recordOf('a')
    await root.openDB({ name: 'records', encoding: 'json' }).put('a', record)
    await root.openDB({ name: 'events', encoding: 'string' }).put(['a', 0], '{"n":0}')
    await root
      .openDB({ name: 'weights', encoding: 'json' })
      .put('a', { expires: null, record: 10, events: 7 })
    await root.close()
    for (let opening = 0; opening < 2; opening++) {
      const store = LmdbStore.open(path, 1e6)
      expect(store.unfinished()).toEqual([record])
      expect(store.events('a', 0, Infinity)).toEqual(['{"n":0}'])
      await store.close()
    }
  })
})

const canLimitFiles = spawnSync('prlimit', ['--version']).status === 0

describe.skipIf(!canLimitFiles)('files that grow no further (skipped without prlimit)', () => {
  it('refuse or take every write of several jobs at once, and leave none unsettled', () => {
    const script = fileURLToPath(new URL('refused-writes.mjs', import.meta.url))
    const store = new URL('../../dist/jobs/lmdb-store.js', import.meta.url).href
    const { stdout } = spawnSync(process.execPath, [script, store, folder()], { encoding: 'utf8' })
    const counts = JSON.parse(stdout) as Record<'stored' | 'refused' | 'unsettled', number>
    expect(counts.stored).toBeGreaterThan(20)
    expect(counts.refused).toBeGreaterThan(20)
    expect(counts.unsettled).toBe(0)
  }, 60_000)
})

/** A file system of 3 MiB, which root alone can mount on Linux. */
function smallDisk(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return undefined
  const path = mkdtempSync(join(tmpdir(), 'basin-small-'))
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', path])
  return status === 0 ? path : undefined
}
const disk = smallDisk()
afterAll(() => disk !== undefined && spawnSync('umount', [disk]))

describe.skipIf(disk === undefined)(
  'a full disk (skipped where no small file system can be mounted)',
  () => {
    it('refuses what does not fit, keeps what was written, and takes more when there is room', async () => {
      const path = join(disk ?? '', 'jobs')
      const store = LmdbStore.open(path, 1e9)
      const event = JSON.stringify('x'.repeat(5000))
      let written = 0
      const fill = async () => {
        for (;;) {
          await store.write('a', { record: recordOf('a'), from: written, events: [event] })
          written++
        }
      }
      await expect(fill()).rejects.toMatchObject({ code: 'storage_unavailable' })
      expect(store.failing).toBe(true)
      expect(store.events('a', 0, Infinity)).toHaveLength(written)
      await expect(fill()).rejects.toMatchObject({ code: 'storage_unavailable' })
      expect(spawnSync('mount', ['-o', 'remount,size=8m', disk ?? '']).status).toBe(0)
      await store.write('b', { record: recordOf('b'), from: 0, events: [event] })
      expect(store.failing).toBe(false)
      expect(store.events('b', 0, Infinity)).toEqual([event])
      expect(store.events('a', 0, Infinity)).toHaveLength(written)
      await store.close()
    })
  },
)
