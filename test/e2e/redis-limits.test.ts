/** Rate limits that servers share in a real Redis, and their behaviour while it cannot be reached. */
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { RequestEvent } from '../../src/generation/protocol.js'
import { settledEvent } from '../../src/generation/settled-answers.js'
import { Quotas, type Rates } from '../../src/server/requests/quotas.js'
import { RedisUsageStore } from '../../src/server/requests/redis-usage-store.js'
import { freePort } from '../support/free-port.js'
import { BasinProcess, Server, writeModels } from '../support/process.js'
import { findRedis, RedisServer } from '../support/redis.js'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const binary = findRedis()
const missing = typeof binary === 'string' ? binary : undefined
const silent = pino({ level: 'silent' })

describe.skipIf(missing)(`limits in Redis${missing ? ` (skipped: ${missing})` : ''}`, () => {
  const start = (port: number): Promise<RedisServer> => {
    if (typeof binary === 'string') throw new Error(binary)
    return RedisServer.start(binary, port)
  }
  let port: number
  let redis: RedisServer
  let all: RedisUsageStore[]
  let now = 0
  beforeAll(async () => {
    port = await freePort()
    redis = await start(port)
    all = await Promise.all([1, 2].map(() => RedisUsageStore.open(redis.url, silent)))
  })
  afterAll(async () => {
    await Promise.all(all.map((counts) => counts.close()))
    await redis.kill()
  })

  /** Two servers, in a minute in which nothing has been used. */
  const servers = (rates: Rates): [Quotas, Quotas] => {
    now += 60_000
    const [a, b] = all.map((counts) => new Quotas(rates, counts, () => now))
    if (!a || !b) throw new Error('no servers')
    return [a, b]
  }
  const started = { type: 'started', promptTokens: 7, queueSeconds: 0 } satisfies RequestEvent
  const settled = settledEvent(
    [
      {
        position: 0,
        text: '',
        tokens: 2,
        steps: 5,
        energy: { initial: 1, final: 0, best: 0 },
        stopReason: 'max_steps',
        seconds: 0,
      },
    ],
    [0],
  )

  it('count the requests of all servers exactly, for each client by itself', async () => {
    const [a, b] = servers({ requests: 9 })
    const asked = Array.from({ length: 20 }, (_, i) => (i % 2 ? a : b).enter('alice'))
    const answers = await Promise.allSettled(asked)
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(9)
    await b.enter('bob')
    await expect(b.enter('alice')).rejects.toMatchObject({ code: 'rate_limited' })
    now += 60_000
    await a.enter('alice')
  })

  it.each([
    ['tokens', 9],
    ['steps', 5],
  ])('count the %s of all servers', async (kind, limit) => {
    const [a, b] = servers({ [kind]: limit })
    await a.enter('alice')
    a.count('alice', started)
    a.count('alice', settled)
    await expect
      .poll(() => b.enter('alice').catch((error: unknown) => (error as { code: string }).code))
      .toBe('rate_limited')
    expect(b.headers('alice')[`x-ratelimit-remaining-${kind}`]).toBe('0')
    await b.enter('bob')
  })

  it('refuse every request while Redis is gone, and work again when it is back', async () => {
    const limits = ['--requests-per-minute', '1000', '--redis-url', redis.url]
    const server = await Server.start(writeModels(), ...limits)
    const ask = () => server.post('/v1/completions', { prompt: 'a', max_tokens: 2 })
    const remaining = 'x-ratelimit-remaining-requests'
    expect(Number((await ask()).headers.get(remaining))).toBeLessThan(1000)
    await redis.kill()
    const refused = await ask()
    expect(refused.status).toBe(503)
    expect(refused.headers.get('retry-after')).not.toBeNull()
    expect(await refused.json()).toMatchObject({ error: { code: 'limits_unavailable' } })
    expect((await fetch(`${server.url}/health`)).status).toBe(200)
    redis = await start(port)
    await expect.poll(async () => (await ask()).status, { timeout: 30_000 }).toBe(200)
    const { code, stderr } = await server.stop()
    expect(code).toBe(0)
    expect(stderr.match(/Redis cannot be reached/g)).toHaveLength(1)
    expect(stderr).toContain('Redis is there again')
  })
})

it.each([
  ['redis://:secret@127.0.0.1:1', 'cannot be looked up'],
  ['secret', 'is not the URL of a Redis'],
])('a server whose Redis is at %s does not start', async (url, reason) => {
  const server = new BasinProcess('serve', '--models', writeModels(), '--redis-url', url)
  const { code, stderr } = await server.ended
  expect(code).toBe(1)
  expect(stderr).toContain(reason)
  expect(stderr).not.toContain('secret')
})
