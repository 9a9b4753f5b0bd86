/** Several real servers on one real Redis: any of them answers for any response, and none is lost with one. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { freePort } from '../support/free-port.js'
import {
  begin,
  follow,
  followAnywhere,
  isEnd,
  retrieve,
  type ResponseEvent,
  startReplica,
  textOf,
} from '../support/fleet.js'
import { BasinProcess, type Server, writeModel, writeModels } from '../support/process.js'
import { findRedis, RedisServer } from '../support/redis.js'

vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

const binary = findRedis()
const missing = typeof binary === 'string' ? binary : undefined

const short = {
  input: 'once upon a time',
  max_output_tokens: 8,
  temperature: 1,
  seed: 11,
  refinement: { max_steps: 20 },
}
/** For some seconds, so that there is time to disturb it. */
const long = {
  ...short,
  max_output_tokens: 40,
  refinement: { max_steps: 6000 },
  include: ['basin:refinement_step'],
}
const endless = { ...short, max_output_tokens: 2, refinement: { max_steps: null, tolerance: 0 } }

const consecutive = (seen: readonly ResponseEvent[]) => {
  expect(seen.map((event) => event.sequence_number)).toEqual(seen.map((_, i) => i))
}

describe.skipIf(missing)(`a fleet${missing ? ` (skipped: ${missing})` : ''}`, () => {
  const models = writeModels()
  const folder = mkdtempSync(join(tmpdir(), 'basin-redis-'))
  const servers = new Set<Server>()
  let redis: RedisServer
  let port: number

  const startRedis = async () => {
    if (typeof binary === 'string') throw new Error(binary)
    redis = await RedisServer.start(binary, port, folder)
  }
  const start = async (more: Record<string, string> = {}, from = models): Promise<Server> => {
    const server = await startReplica(from, redis.url, more)
    servers.add(server)
    return server
  }
  const stop = async (server: Server) => {
    servers.delete(server)
    return server.stop()
  }
  const kill = async (server: Server) => {
    servers.delete(server)
    await server.kill()
  }
  const present = () => [...servers]
  /** The one of these servers that computes the response. */
  const runnerOf = async (all: readonly Server[]): Promise<Server> => {
    let runner: Server | undefined
    await expect
      .poll(
        async () => {
          const used = await Promise.all(all.map((server) => server.metric('basin_slots_used')))
          runner = all[used.findIndex((slots) => slots > 0)]
          return runner !== undefined
        },
        { timeout: 30_000 },
      )
      .toBe(true)
    if (!runner) throw new Error('nobody computes')
    return runner
  }
  const statusOf = async (server: Server, id: string) => (await retrieve(server, id)).status

  beforeAll(async () => {
    port = await freePort()
    await startRedis()
  })
  afterEach(async () => {
    await Promise.all(present().map(stop))
    // What a test has left in the queue is not for the next one.
    const client = new Redis(redis.url)
    await client.flushall()
    await client.quit()
  })
  afterAll(async () => {
    await redis.kill()
  })

  it('answers at every server for a response that any of them computes', async () => {
    const [a, b] = [await start(), await start()]
    const alone = await a.post('/v1/responses', short)
    const expected = (await alone.json()) as { id: string; output: unknown }
    const id = await begin(a, short)
    const [first, second] = await Promise.all([follow(a, id), follow(b, id)])
    consecutive(first)
    expect(second).toEqual(first)
    expect(first.map(({ type }) => type).slice(0, 3)).toEqual([
      'response.created',
      'response.queued',
      'response.in_progress',
    ])
    const reply = await retrieve(b, id)
    expect(reply).toEqual(await retrieve(a, id))
    expect(reply).toEqual(first.at(-1)?.response)
    const said = JSON.stringify(expected.output).replace(/msg_[\w-]+/, '')
    expect(JSON.stringify(reply.output).replace(/msg_[\w-]+/, '')).toBe(said)
    expect(await follow(b, id, 4)).toEqual(first.slice(5))
    // One that was not in the background is there too.
    expect((await retrieve(b, expected.id)).status).toBe('incomplete')
    const items = await fetch(`${b.url}/v1/responses/${id}/input_items`)
    expect(((await items.json()) as { data: unknown[] }).data).toHaveLength(1)
    const url = `${b.url}/v1/responses/${id}`
    expect((await fetch(url, { method: 'DELETE' })).status).toBe(200)
    expect((await fetch(`${a.url}/v1/responses/${id}`)).status).toBe(404)
  })

  it('refuses what is wrong with a request before it is queued', async () => {
    const server = await start()
    const wrong = [
      { ...short, input: '' },
      { ...short, input: 'UPPER' },
    ]
    const statuses = await Promise.all(
      wrong.map(
        async (body) => (await server.post('/v1/responses', { ...body, background: true })).status,
      ),
    )
    expect(statuses).toEqual([400, 400])
    expect(await server.metric('basin_fleet_jobs')).toBe(0)
  })

  it('steers, saves and cancels a response through a server that does not compute it', async () => {
    const [a, b] = [await start(), await start()]
    const id = await begin(a, endless)
    const runner = await runnerOf([a, b])
    const other = runner === a ? b : a
    await expect.poll(() => statusOf(other, id)).toBe('in_progress')
    const state = await fetch(`${other.url}/v1/responses/${id}/state`)
    expect(state.status).toBe(200)
    const { state: text } = (await state.json()) as { state: string }
    const tooFar = await other.post(`/v1/responses/${id}/extend`, { seconds: 1e6 })
    expect(tooFar.status).toBe(400)
    expect(await tooFar.json()).toMatchObject({ error: { code: 'out_of_range' } })
    const extended = await other.post(`/v1/responses/${id}/extend`, { seconds: 0 })
    expect(await extended.json()).toMatchObject({ choices: 1, action: 'extend' })
    const finished = await other.post(`/v1/responses/${id}/finish`, {})
    expect(await finished.json()).toMatchObject({ choices: 1, action: 'finish' })
    const seen = await follow(other, id)
    consecutive(seen)
    expect(isEnd(seen.at(-1) as ResponseEvent)).toBe(true)
    expect((await other.post(`/v1/responses/${id}/finish`, {})).status).toBe(404)

    const resumed = await other.post('/v1/responses', { resume_from: text, background: true })
    const { id: later } = (await resumed.json()) as { id: string }
    const second = await runnerOf([a, b])
    const cancelled = await (second === a ? b : a).post(`/v1/responses/${later}/cancel`, {})
    expect(await cancelled.json()).toMatchObject({ id: later, status: 'cancelled' })
    expect((await follow(second, later)).at(-1)?.type).toBe('response.incomplete')
  })

  it('cancels and deletes responses that wait in the queue', async () => {
    const [a, b] = [await start({ 'fleet-jobs': '1' }), await start({ 'fleet-jobs': '1' })]
    const running = [await begin(a, endless), await begin(a, endless)]
    const waiting = [await begin(a, endless), await begin(b, endless)]
    await expect.poll(() => a.metric('basin_fleet_jobs')).toBe(4)
    expect(await statusOf(b, waiting[0] ?? '')).toBe('queued')
    const reply = await b.post(`/v1/responses/${waiting[0] ?? ''}/cancel`, {})
    expect(await reply.json()).toMatchObject({ status: 'cancelled' })
    expect((await follow(a, waiting[0] ?? '')).filter(isEnd)).toHaveLength(1)
    const url = `${a.url}/v1/responses/${waiting[1] ?? ''}`
    expect((await fetch(url, { method: 'DELETE' })).status).toBe(200)
    for (const id of running) {
      const cancel = await b.post(`/v1/responses/${id}/cancel`, {})
      expect(await cancel.json()).toMatchObject({ status: 'cancelled' })
    }
    await expect.poll(() => a.metric('basin_fleet_jobs')).toBe(0)
  })

  it('goes on elsewhere after kill -9, from a checkpoint and without a gap', async () => {
    const undisturbed = await start()
    const whole = await follow(undisturbed, await begin(undisturbed, long))
    await stop(undisturbed)
    const [a, b] = [await start(), await start()]
    const id = await begin(a, long)
    const runner = await runnerOf([a, b])
    const other = runner === a ? b : a
    const seen = followAnywhere(present, id, 120_000)
    // The first one is stored when there is a second one.
    await expect
      .poll(() => runner.metric('basin_checkpoints_total'), { timeout: 30_000 })
      .toBeGreaterThan(1)
    await kill(runner)
    const all = await seen
    consecutive(all)
    expect(all.filter(isEnd)).toHaveLength(1)
    expect(textOf(all)).toBe(textOf(whole))
    expect(await other.metric('basin_fleet_taken_total')).toBeGreaterThan(0)
    expect(await other.metric('basin_responses_resumed_total')).toBe(1)
  })

  it('lets a server that was paused write nothing to a response that another one has', async () => {
    const [a, b] = [await start(), await start()]
    const id = await begin(a, endless)
    const runner = await runnerOf([a, b])
    const other = runner === a ? b : a
    runner.signal('SIGSTOP')
    await expect
      .poll(() => other.metric('basin_fleet_taken_total'), { timeout: 30_000 })
      .toBeGreaterThan(0)
    await expect.poll(() => other.metric('basin_slots_used'), { timeout: 30_000 }).toBe(1)
    runner.signal('SIGCONT')
    await expect.poll(() => runner.metric('basin_slots_used'), { timeout: 30_000 }).toBe(0)
    expect((await runner.post(`/v1/responses/${id}/finish`, {})).status).toBe(200)
    const [seen, again] = [await follow(other, id), await follow(runner, id)]
    consecutive(seen)
    expect(again).toEqual(seen)
    expect(seen.filter(isEnd)).toHaveLength(1)
  })

  it('leaves responses to others when a server goes down in good order', async () => {
    const [a, b] = [await start({ 'drain-seconds': '60' }), await start({ 'drain-seconds': '60' })]
    const id = await begin(a, endless)
    const runner = await runnerOf([a, b])
    const other = runner === a ? b : a
    const seen = followAnywhere(present, id, 120_000)
    expect((await stop(runner)).code).toBe(0)
    await expect.poll(() => other.metric('basin_slots_used'), { timeout: 30_000 }).toBe(1)
    const metrics = await (await fetch(`${other.url}/metrics`)).text()
    expect(metrics).toContain('basin_fleet_taken_total{model="letters",how="left"} 1')
    expect((await other.post(`/v1/responses/${id}/finish`, {})).status).toBe(200)
    consecutive(await seen)
    expect((await seen).filter(isEnd)).toHaveLength(1)
  })

  it('takes a response where its model is', async () => {
    const both = writeModels()
    writeModel(both, 'figures', 2)
    const [a, b] = [await start(), await start({}, both)]
    const ids = await Promise.all(
      [1, 2, 3].map((seed) => begin(b, { ...short, model: 'figures', seed })),
    )
    for (const id of ids) expect((await follow(a, id)).filter(isEnd)).toHaveLength(1)
    const metrics = await (await fetch(`${b.url}/metrics`)).text()
    expect(metrics).toContain('basin_fleet_taken_total{model="figures",how="queued"} 3')
  })

  it('goes on without Redis, and refuses what would need it', async () => {
    const server = await start()
    const id = await begin(server, endless)
    await expect.poll(() => statusOf(server, id)).toBe('in_progress')
    await redis.stop()
    await expect.poll(() => server.metric('basin_fleet_replica')).toBe(0)
    const alone = await server.post('/v1/responses', short)
    expect(alone.status).toBe(200)
    const kept = (await alone.json()) as { id: string }
    expect((await server.post('/v1/completions', { prompt: 'a', max_tokens: 2 })).status).toBe(200)
    const refused = await server.post('/v1/responses', { ...short, background: true })
    expect(refused.status).toBe(503)
    expect(refused.headers.get('retry-after')).not.toBeNull()
    // Longer than the lease, so that the response would be given to another server.
    await wait(3000)
    await startRedis()
    const fresh = await start()
    await expect
      .poll(() => statusOf(fresh, kept.id).catch(() => 'unknown'), { timeout: 30_000 })
      .toBe('incomplete')
    await expect
      .poll(async () => (await fresh.post(`/v1/responses/${id}/finish`, {})).status, {
        timeout: 60_000,
      })
      .toBe(200)
    const seen = await follow(fresh, id)
    consecutive(seen)
    expect(seen.filter(isEnd)).toHaveLength(1)
  })

  it.each([
    [['--fleet', 'on'], 'needs --redis-url'],
    [['--fleet', 'on', '--redis-url', 'redis://127.0.0.1:1'], 'cannot be reached'],
    [
      ['--fleet', 'on', '--redis-url', 'redis://127.0.0.1:1', '--data-dir', 'x'],
      'leave out --data-dir',
    ],
  ])('does not start with %j', async (flags, reason) => {
    const server = new BasinProcess('serve', '--models', models, ...flags)
    const { code, stderr } = await server.ended
    expect(code).toBe(1)
    expect(stderr).toContain(reason)
  })
})
