/** An engine's worker dies or hangs under a real server: what its clients get, and how it recovers. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type WorkerStatus,
  type EngineClient,
  startEngineClient,
} from '../../src/generation/client/engine-client.js'
import { defaultLimits } from '../../src/server/limits.js'
import type { App } from '../../src/server/context.js'
import { faultyEntry } from '../support/faults.js'
import { writeModel } from '../support/process.js'
import { appOf, type ErrorBody, portOf } from '../support/server.js'

let root: string
let engine: EngineClient
let app: App
let url: string
let statuses: WorkerStatus[]

const WATCHDOG = 1

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'basin-restart-'))
  writeModel(root, 'letters')
})
afterAll(() => {
  rmSync(root, { recursive: true })
})

beforeEach(async () => {
  const options = {
    modelPath: join(root, 'letters'),
    engine: 'tfjs:wasm',
    threads: 1,
    slots: 1,
    pages: 16,
    maxQueue: 8,
    prefillChunk: 32,
    holdSeconds: 60,
    pauseSeconds: 60,
    watchdogSeconds: WATCHDOG,
  }
  engine = await startEngineClient(options, faultyEntry)
  statuses = []
  engine.onWorkerStatus((status) => statuses.push(status))
  app = await appOf(engine, { limits: { ...defaultLimits, stallSeconds: WATCHDOG } })
  url = `http://127.0.0.1:${await portOf(app)}`
})
afterEach(async () => {
  await engine.close()
  await app.close()
})

const ask = (prompt: string, more: object = {}): Promise<Response> =>
  fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt, max_tokens: 4, temperature: 0, ...more }),
  })
const textOf = async (reply: Response): Promise<string | undefined> =>
  ((await reply.json()) as { choices: { text: string }[] }).choices[0]?.text

const health = async () => (await fetch(`${url}/health`)).status
const running = () => engine.outstanding - engine.waiting
const restarts = async (reason: string): Promise<number> => {
  const text = await (await fetch(`${url}/metrics`)).text()
  const line = `basin_engine_restarts_total{model="letters",reason="${reason}"} `
  return Number(text.split(line)[1]?.split('\n')[0])
}

/** Within the time that a new thread needs on a busy machine. */
const soon = { timeout: 30_000, interval: 20 }

describe.each([
  ['dies', 'die', 'died'],
  ['hangs', 'hang', 'stalled'],
])('a worker that %s', (_, fault, reason) => {
  it('fails its running request, then serves the waiting one; /health is 503 meanwhile', async () => {
    const alone = await textOf(await ask('once'))
    const lost = ask(fault, { refinement: { max_steps: 10_000, tolerance: 0, noise: 0.1 } })
    await expect.poll(running, soon).toBe(1)
    const queued = ask('once')
    await expect.poll(() => engine.waiting, soon).toBe(1)
    await expect.poll(health, soon).toBe(503)
    const failed = await lost
    expect(failed.status).toBe(503)
    expect(failed.headers.get('retry-after')).toBe('5')
    expect(((await failed.json()) as ErrorBody).error.code).toBe('engine_unavailable')
    const answered = await queued
    expect(answered.status).toBe(200)
    expect(await textOf(answered)).toBe(alone)
    expect(await health()).toBe(200)
    expect(await restarts(reason)).toBe(1)
    expect(statuses).toMatchObject([{ type: 'lost', reason }, { type: 'restored' }])
    expect(await textOf(await ask('once'))).toBe(alone)
  })

  it('ends a stream with an error event', async () => {
    const include = { stream: true, stream_options: { include_refinement: true } }
    const reply = await ask(fault, {
      ...include,
      refinement: { max_steps: 10_000, tolerance: 0, noise: 0.1 },
    })
    expect(reply.status).toBe(200)
    const events = (await reply.text()).trim().split('\n\n')
    expect(events.length).toBeGreaterThan(1)
    const last = JSON.parse(events.at(-1)?.replace('data: ', '') ?? '') as ErrorBody
    expect(last.error.code).toBe('engine_unavailable')
  })
})

describe('while there is no worker', () => {
  it('new requests are refused at once, and waiting ones of clients that leave are dropped', async () => {
    const lost = ask('die', { refinement: { max_steps: 10_000, tolerance: 0, noise: 0.1 } })
    await expect.poll(running, soon).toBe(1)
    const leaving = new AbortController()
    const left = fetch(`${url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'once' }),
      signal: leaving.signal,
    })
    await expect.poll(() => engine.waiting, soon).toBe(1)
    await expect.poll(() => statuses.length, soon).toBe(1)
    expect((await ask('once')).status).toBe(503)
    leaving.abort()
    await expect(left).rejects.toThrow()
    expect((await lost).status).toBe(503)
    await expect.poll(() => engine.outstanding, soon).toBe(0)
    await expect.poll(health, soon).toBe(200)
    expect((await ask('once')).status).toBe(200)
  })

  it('closing fails the waiting requests and starts no new worker', async () => {
    const lost = ask('die', { refinement: { max_steps: 10_000, tolerance: 0, noise: 0.1 } })
    await expect.poll(running, soon).toBe(1)
    const queued = ask('once')
    await expect.poll(() => statuses.length, soon).toBe(1)
    await engine.close()
    expect((await lost).status).toBe(503)
    expect(((await (await queued).json()) as ErrorBody).error.code).toBe('shutting_down')
    expect(statuses).toHaveLength(1)
  })
})

describe('a request that ends every worker', () => {
  it('is given to three workers, and then fails', async () => {
    const reply = await ask('poison')
    expect(reply.status).toBe(500)
    expect(((await reply.json()) as ErrorBody).error.code).toBe('internal')
    expect(statuses.map(({ type }) => type)).toEqual([
      'lost',
      'restored',
      'lost',
      'restored',
      'lost',
    ])
    await expect.poll(health, soon).toBe(200)
    expect((await ask('once')).status).toBe(200)
  })
})

describe('a model whose files are gone', () => {
  it('fails its waiting requests, and is served again when they are back', async () => {
    const lost = ask('die', { refinement: { max_steps: 10_000, tolerance: 0, noise: 0.1 } })
    await expect.poll(running, soon).toBe(1)
    const queued = ask('once')
    await expect.poll(() => engine.waiting, soon).toBe(1)
    rmSync(join(root, 'letters'), { recursive: true })
    expect((await lost).status).toBe(503)
    expect(((await (await queued).json()) as ErrorBody).error.code).toBe('engine_unavailable')
    expect(statuses.at(-1)).toMatchObject({ type: 'not_restored' })
    writeModel(root, 'letters')
    await expect.poll(health, soon).toBe(200)
    expect((await ask('once')).status).toBe(200)
  })
})
