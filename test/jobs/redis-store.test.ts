/** The store that servers share, on a real Redis: what every store does, and who may write when. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { BasinError } from '../../src/errors.js'
import { RedisStore } from '../../src/jobs/fleet/redis-store.js'
import { RedisLink } from '../../src/jobs/redis-link.js'
import { EventsMissing, JobTaken } from '../../src/jobs/store.js'
import { freePort } from '../support/free-port.js'
import { findRedis, RedisServer } from '../support/redis.js'
import { checkpoint, recordOf } from './records.js'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const binary = findRedis()
const missing = typeof binary === 'string' ? binary : undefined
const silent = { debug: () => undefined, info: () => undefined, error: () => undefined }
const unlocked = { key: 'no-lock', value: '' }

describe.skipIf(missing)(`jobs in Redis${missing ? ` (skipped: ${missing})` : ''}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'basin-redis-'))
  let port: number
  let redis: RedisServer
  let link: RedisLink
  let store: RedisStore
  /** Of another server. */
  let other: RedisStore
  const start = async () => {
    if (typeof binary === 'string') throw new Error(binary)
    redis = await RedisServer.start(binary, port, folder)
  }
  beforeAll(async () => {
    port = await freePort()
    await start()
    link = await RedisLink.open(redis.url, 'test', new BasinError('internal'), silent)
  })
  afterAll(async () => {
    await link.close()
    await redis.kill()
  })
  beforeEach(async () => {
    await link.redis.flushall()
    store = new RedisStore(link, 1e6)
    other = new RedisStore(link, 1e6)
  })
  afterEach(async () => {
    await store.close()
    await other.close()
  })

  const connected = (expires: number | null = null) => ({
    ...recordOf('a', expires),
    durable: false,
  })

  it('returns what was written, also to other servers', async () => {
    await store.write('a', { record: recordOf('a'), from: 0, events: ['{"n":0}', '{"n":1}'] })
    await store.write('a', { record: undefined, from: 2, events: ['{"n":2}'], checkpoint })
    expect(await other.get('a')).toEqual(recordOf('a'))
    expect(await other.events('a', 0, 10)).toEqual(['{"n":0}', '{"n":1}', '{"n":2}'])
    expect(await other.events('a', 1, 1)).toEqual(['{"n":1}'])
    expect(await other.events('a', 3, Infinity)).toEqual([])
    expect(await other.checkpoint('a')).toEqual(checkpoint)
    expect(await other.get('b')).toBeUndefined()
    expect((await other.unfinished()).map(({ id }) => id)).toEqual(['a'])
  })

  it('writes what is written again once', async () => {
    await store.write('a', { record: recordOf('a'), from: 0, events: ['0', '1'] })
    await store.write('a', { record: undefined, from: 1, events: ['1', '2'] })
    expect(await store.events('a', 0, Infinity)).toEqual(['0', '1', '2'])
  })

  it('says how many events it has where some are missing', async () => {
    await store.write('a', { record: recordOf('a'), from: 0, events: ['0'] })
    const late = store.write('a', { record: undefined, from: 2, events: ['2'] })
    await expect(late).rejects.toEqual(new EventsMissing(1))
  })

  it('takes nothing from a server whose job another one has taken', async () => {
    await store.write('a', { record: recordOf('a'), from: 0, events: ['0'] })
    expect(await store.take('a', 'first', unlocked)).toBe(1)
    await store.write('a', { record: undefined, from: 1, events: ['1'], checkpoint })
    expect(await other.take('a', 'second', unlocked)).toBe(1)
    const late = store.write('a', { record: recordOf('a', 5000), from: 2, events: ['end'] })
    await expect(late).rejects.toBeInstanceOf(JobTaken)
    await other.write('a', { record: recordOf('a', 5000), from: 2, events: ['end'] })
    await expect(
      other.write('a', { record: recordOf('a', 6000), from: 3, events: ['end'] }),
    ).rejects.toBeInstanceOf(JobTaken)
    expect(await store.events('a', 0, Infinity)).toEqual(['0', '1', 'end'])
    expect(await store.get('a')).toEqual(recordOf('a', 5000))
    expect(await store.checkpoint('a')).toBeUndefined()
    expect(await store.unfinished()).toEqual([])
  })

  it('gives a job to whoever has its lock, and to nobody else', async () => {
    await store.write('a', { record: recordOf('a'), from: 0, events: [] })
    await link.redis.set('lock', 'mine')
    await expect(store.take('a', 'x', { key: 'lock', value: 'yours' })).rejects.toBeInstanceOf(
      JobTaken,
    )
    await expect(store.take('a', 'x', { key: 'lock', value: '' })).rejects.toBeInstanceOf(JobTaken)
    expect(await store.take('a', 'x', { key: 'lock', value: 'mine' })).toBe(1)
    expect(await store.take('a', 'y', { key: 'lock', value: 'mine' })).toBe(2)
  })

  it('counts the unfinished jobs of each client', async () => {
    expect(await store.create(recordOf('a'), { events: [] })).toBe(1)
    expect(await store.create(recordOf('b'), { events: [] })).toBe(2)
    const foreign = { ...recordOf('c'), job: { ...recordOf('c').job, client: 'another' } }
    expect(await store.create(foreign, { events: [] })).toBe(1)
    await store.write('a', { record: recordOf('a', 5000), from: 0, events: [] })
    await store.delete('b')
    expect(await store.create(recordOf('d'), { events: [] })).toBe(1)
  })

  it('deletes expired jobs, and the oldest ended ones beyond its limit', async () => {
    const small = new RedisStore(link, 6000)
    const events = ['x'.repeat(2000)]
    await small.write('open', { record: recordOf('open'), from: 0, events })
    for (const [i, id] of ['old', 'first', 'second', 'third'].entries())
      await small.write(id, { record: recordOf(id, i === 0 ? 500 : 5000 + i), from: 0, events })
    await small.sweep(1000)
    const left = await Promise.all(
      ['open', 'old', 'first', 'second', 'third'].map((id) => small.get(id)),
    )
    expect(left.map((record) => record?.id)).toEqual([
      'open',
      undefined,
      undefined,
      undefined,
      'third',
    ])
    await small.delete('open')
    await small.delete('third')
    expect(await link.redis.get('basin:characters')).toBe('0')
  })

  it('applies a control once, whoever has the job in the meantime', async () => {
    await store.write('a', { record: recordOf('a'), from: 0, events: [] })
    await store.leaveControl('a', 'finish')
    await store.take('a', 'first', unlocked)
    expect(await store.takeControl('a')).toBe('finish')
    // This server is lost here, and the next one finds the control in hand.
    await other.take('a', 'second', unlocked)
    expect(await store.takeControl('a')).toBeUndefined()
    expect(await other.takeControl('a')).toBe('finish')
    other.givesControl('a', 'finish')
    await other.write('a', { record: recordOf('a'), from: 0, events: [] })
    // So is this one, and its record has the control.
    await store.take('a', 'third', unlocked)
    expect(await store.takeControl('a')).toBeUndefined()
    await store.leaveControl('a', 'another')
    expect(await store.withdrawControl('a', 'another')).toBe(true)
    expect(await store.takeControl('a')).toBeUndefined()
    await store.write('a', { record: recordOf('a', 5000), from: 0, events: [] })
    await expect(store.leaveControl('a', 'late')).rejects.toBeInstanceOf(JobTaken)
  })

  it('keeps what ends with its connection until Redis is there again', async () => {
    await store.write('a', { record: connected(), from: 0, events: ['0'] })
    expect(await other.get('a')).toBeUndefined()
    await redis.stop()
    const ended = connected(Date.now() + 1e6)
    await store.write('a', { record: ended, from: 1, events: ['1'] })
    expect(await store.get('a')).toEqual(ended)
    expect(await store.events('a', 0, Infinity)).toEqual(['0', '1'])
    await start()
    await expect
      .poll(() => other.get('a').catch(() => undefined), { timeout: 30_000 })
      .toEqual(ended)
    expect(await other.events('a', 0, Infinity)).toEqual(['0', '1'])
  })

  it('waits for a Redis that is restarted, and loses nothing', async () => {
    await store.write('a', { record: recordOf('a'), from: 0, events: ['0'] })
    await redis.kill()
    const written = store.write('a', { record: undefined, from: 1, events: ['1'] })
    await start()
    await written
    expect(await store.events('a', 0, Infinity)).toEqual(['0', '1'])
  })
})
