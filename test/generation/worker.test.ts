/** The worker thread as the server sees it: the built entry, a real engine, small random weights. */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  type EngineClient,
  type RequestStream,
  startEngineClient,
} from '../../src/generation/client/engine-client.js'
import type {
  EngineRequest,
  RequestEvent,
  TickStats,
  WorkerOptions,
} from '../../src/generation/protocol.js'
import { settledAnswers } from '../../src/generation/settled-answers.js'
import { weightsFile, writeCheckpoint } from '../../src/model/checkpoint.js'
import { initialWeights } from '../../src/train/initial-weights.js'
import { budget, characterDescriptor, requestOf, unbounded } from '../support/engine-bench.js'
import { configOf } from '../support/models.js'

const entry = new URL('../../dist/generation/core/worker.js', import.meta.url)

let directory: string

function writeModel(path: string): void {
  const config = configOf({ vocab_size: 28, answer: { block: 2 } })
  writeCheckpoint(path, { config, tensors: initialWeights(config, 1, 0.5) })
  writeFileSync(join(path, 'tokenizer.json'), JSON.stringify(characterDescriptor(true)))
}

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'basin-worker-'))
  writeModel(directory)
})

afterAll(() => {
  rmSync(directory, { recursive: true })
})

const optionsOf = (overrides: Partial<WorkerOptions> = {}): WorkerOptions => ({
  modelPath: directory,
  engine: 'tfjs:wasm',
  threads: 1,
  slots: 4,
  pages: 16,
  maxQueue: 8,
  prefillChunk: 32,
  holdSeconds: 60,
  pauseSeconds: 60,
  watchdogSeconds: 30,
  ...overrides,
})

const open: EngineClient[] = []
async function start(overrides: Partial<WorkerOptions> = {}): Promise<EngineClient> {
  const generation = await startEngineClient(optionsOf(overrides), entry)
  open.push(generation)
  return generation
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((generation) => generation.close()))
})

async function eventsOf(run: RequestStream): Promise<RequestEvent[]> {
  const events: RequestEvent[] = []
  for await (const event of run.events) events.push(event)
  return events
}

/** The type of each event, that of `settled` once for each answer. */
const typesOf = (events: readonly RequestEvent[]): string[] =>
  events.flatMap((event) => {
    const answers = settledAnswers(event)
    return answers.length > 0 ? answers.map(() => event.type) : [event.type]
  })

/** Reads up to and including the first event of a type, and leaves the rest unread. */
async function until(
  events: AsyncIterator<RequestEvent>,
  type: RequestEvent['type'],
): Promise<RequestEvent> {
  for (;;) {
    const next: IteratorResult<RequestEvent, unknown> = await events.next()
    if (next.done) throw new Error(`the events ended before ${type}`)
    if (next.value.type === type) return next.value
  }
}

const nextTick = (generation: EngineClient, holds: (stats: TickStats) => boolean) =>
  new Promise<TickStats>((resolve) => {
    generation.onTick((stats) => {
      if (holds(stats)) resolve(stats)
    })
  })

const short = (overrides: Partial<EngineRequest> = {}) =>
  requestOf('a', { maxTokens: 4, ...overrides })
const endless = (id: string, overrides: Partial<EngineRequest> = {}) =>
  requestOf(id, { maxTokens: 2, budget: unbounded(), ...overrides })

describe('a worker', () => {
  it('completes requests to the same texts alone and together', async () => {
    const generation = await start()
    const prompts = ['once', 'twice', 'upon', 'a', 'time', 'there was']
    const texts = async (concurrent: boolean) => {
      const out: string[] = []
      const runs: Promise<RequestEvent[]>[] = []
      for (const prompt of prompts) {
        const events = eventsOf(
          generation.submit(short({ id: `${prompt}-${String(concurrent)}`, prompt })),
        )
        runs.push(events)
        if (!concurrent) await events
      }
      for (const events of await Promise.all(runs)) {
        expect(typesOf(events)).toEqual(['started', 'settled', 'settled', 'finished'])
        const last = events.at(-1)
        if (last?.type === 'finished') out.push(last.text)
      }
      return out
    }
    const alone = await texts(false)
    expect(await texts(true)).toEqual(alone)
    expect(generation.outstanding).toBe(0)
    expect(generation.engine.name).toBe('tfjs')
    expect(generation.model.name).toBe('small')
    expect(generation.memory).toBeGreaterThan(0)
  })

  it('turns text into tokens and back, and refuses foreign characters and tokens', async () => {
    const generation = await start()
    const tokens = await generation.tokenize('hello there', 'a')
    expect(tokens).toHaveLength(11)
    expect(await generation.detokenize(tokens, 'a')).toBe('hello there')
    await expect(generation.tokenize('Ü', 'a')).rejects.toMatchObject({ code: 'invalid_request' })
    await expect(generation.detokenize([999], 'a')).rejects.toMatchObject({ code: 'out_of_range' })
  })

  it('reports what is wrong with a request as its only event', async () => {
    const generation = await start()
    const events = await eventsOf(generation.submit(short({ prompt: '' })))
    expect(events).toEqual([
      { type: 'failed', error: { code: 'empty_prompt', facts: { param: 'prompt' } } },
    ])
    expect(generation.outstanding).toBe(0)
  })

  it('rejects with what is wrong with a model that cannot be opened', async () => {
    const broken = mkdtempSync(join(tmpdir(), 'basin-broken-'))
    writeModel(broken)
    truncateSync(join(broken, weightsFile), 1000)
    await expect(startEngineClient(optionsOf({ modelPath: broken }), entry)).rejects.toMatchObject({
      code: 'invalid_checkpoint',
    })
    rmSync(broken, { recursive: true })
    await expect(startEngineClient(optionsOf({ modelPath: broken }), entry)).rejects.toMatchObject({
      name: 'BasinError',
    })
    await expect(startEngineClient(optionsOf({ engine: 'abacus' }), entry)).rejects.toMatchObject({
      code: 'backend_missing',
    })
  })
})

describe('a control from the main thread', () => {
  it('extends a held answer to what one longer run gives', async () => {
    const generation = await start()
    const longer = endless('b', { budget: budget({ maxSteps: 5 }) })
    const whole = await until(generation.submit(longer).events[Symbol.asyncIterator](), 'finished')
    const run = generation.submit(endless('a', { hold: true, budget: budget({ maxSteps: 3 }) }))
    const events = run.events[Symbol.asyncIterator]()
    expect(await until(events, 'finished')).toMatchObject({ refinement: { steps: 3 } })
    expect(generation.outstanding).toBe(0)
    run.control({ type: 'extend', steps: 2 })
    expect(generation.outstanding).toBe(1)
    expect(await until(events, 'finished')).toEqual(whole)
    run.control({ type: 'cancel' })
    expect(await events.next()).toEqual({ value: undefined, done: true })
    expect(() => {
      run.control({ type: 'extend', steps: 2 })
    }).toThrow(expect.objectContaining({ code: 'not_held' }))
  })

  it.each([NaN, -1, 1.5, Infinity, 1e308])('is refused if it adds %d steps', async (steps) => {
    const generation = await start()
    const run = generation.submit(endless('a'))
    expect(() => {
      run.control({ type: 'extend', steps })
    }).toThrow(expect.objectContaining({ code: 'out_of_range' }))
  })

  it('is sent when a reader leaves: its request is cancelled and its slot is free', async () => {
    const generation = await start()
    const run = generation.submit(endless('a', { reportSteps: true }))
    const freed = nextTick(generation, ({ slotsUsed }) => slotsUsed === 0)
    for await (const event of run.events) if (event.type === 'step' && event.step > 3) break
    expect(await freed).toMatchObject({ running: 0, pagesUsed: 0 })
    expect(generation.outstanding).toBe(0)
  })

  it('is not needed when the time of a held answer is over: its events end', async () => {
    const generation = await start({ holdSeconds: 0.05 })
    const events = await eventsOf(generation.submit(short({ hold: true })))
    expect(events.at(-1)?.type).toBe('finished')
  })

  it('is not needed either while other requests keep the engine busy', async () => {
    const generation = await start({ holdSeconds: 0.05 })
    generation.submit(endless('busy'))
    const events = await eventsOf(generation.submit(short({ hold: true })))
    expect(events.at(-1)?.type).toBe('finished')
    expect(generation.outstanding).toBe(1)
  })

  it('reaches the worker between two steps of an endless answer', async () => {
    const generation = await start()
    const run = generation.submit(endless('a'))
    const events = run.events[Symbol.asyncIterator]()
    await until(events, 'started')
    run.control({ type: 'finish' })
    expect(await until(events, 'finished')).toMatchObject({
      refinement: { stop_reason: 'finished' },
    })
  })
})

describe('a reader', () => {
  it('gets every step in order while it keeps up', async () => {
    const generation = await start()
    const request = short({ maxTokens: 2, reportSteps: true, budget: budget({ maxSteps: 3000 }) })
    const events = await eventsOf(generation.submit(request))
    const steps = events.flatMap((event) => (event.type === 'step' ? [event.step] : []))
    expect(steps).toEqual(Array.from({ length: 3000 }, (_, i) => i + 1))
  })

  it('loses overtaken steps, and nothing else, while it does not keep up', async () => {
    const generation = await start()
    const request = short({ reportSteps: true, budget: budget({ maxSteps: 2000 }) })
    const run = generation.submit(request)
    await generation.drain()
    const events = await eventsOf(run)
    const steps = events.flatMap((event) => (event.type === 'step' ? [event.step] : []))
    expect(steps.length).toBeLessThan(2 * 1000)
    const ends = events.filter(({ type }, i) => type !== 'step' || events[i + 1]?.type !== 'step')
    const last = { type: 'step', step: 2000 }
    expect(ends).toMatchObject([
      { type: 'started' },
      last,
      { type: 'settled' },
      last,
      { type: 'settled' },
      { type: 'finished' },
    ])
  })
})

describe('a client of a worker', () => {
  it('refuses a request at once when the queue is full', async () => {
    const generation = await start({ slots: 1, maxQueue: 2 })
    const first = generation.submit(endless('0'))
    await until(first.events[Symbol.asyncIterator](), 'started')
    generation.submit(endless('1'))
    generation.submit(endless('2'))
    expect(() => generation.submit(endless('3'))).toThrow(
      expect.objectContaining({ code: 'queue_full', facts: { waiting: 2, limit: 2 } }),
    )
  })

  it('takes a burst that finds free slots', async () => {
    const generation = await start({ slots: 4, maxQueue: 2 })
    const runs = Array.from({ length: 6 }, (_, i) => generation.submit(short({ id: `${i}` })))
    expect(() => generation.submit(short({ id: '6' }))).toThrow(
      expect.objectContaining({ code: 'queue_full', facts: { waiting: 2, limit: 2 } }),
    )
    const ends = await Promise.all(runs.map(async (run) => (await eventsOf(run)).at(-1)?.type))
    expect(new Set(ends)).toEqual(new Set(['finished']))
  })

  it('finishes outstanding requests, and takes no others, when it is drained', async () => {
    const generation = await start()
    const finished = eventsOf(generation.submit(short()))
    const drained = generation.drain()
    expect(() => generation.submit(short({ id: 'b' }))).toThrow(
      expect.objectContaining({ code: 'shutting_down' }),
    )
    await drained
    expect((await finished).at(-1)?.type).toBe('finished')
  })

  it('fails outstanding requests when it is closed', async () => {
    const generation = await start()
    const events = eventsOf(generation.submit(endless('a')))
    await generation.close()
    expect((await events).at(-1)).toMatchObject({
      type: 'failed',
      error: { code: 'shutting_down' },
    })
  })

  it('knows for how long the worker has not answered, and that it answers again', async () => {
    const stuck = new URL(
      `data:text/javascript,${encodeURIComponent(`
        import { parentPort } from 'node:worker_threads'
        parentPort.on('message', ({ id, type }) => {
          if (type === 'close') process.exit()
          if (type === 'ping' && id > 0) parentPort.postMessage({ type: 'pong', id: 0 })
        })
        parentPort.postMessage({
          type: 'ready', model: { name: 'stuck' }, capacity: { slots: 1 }
        })
      `)}`,
    )
    const generation = await startEngineClient(optionsOf(), stuck)
    expect(generation.silence).toBe(0)
    await expect.poll(() => generation.silence, { timeout: 10_000 }).toBeGreaterThan(0)
    void generation.ping().catch(() => undefined)
    await expect.poll(() => generation.silence, { timeout: 10_000 }).toBe(0)
    await generation.close()
  })

  it('fails its requests, and refuses new ones, when its worker dies', async () => {
    const dying = new URL(
      `data:text/javascript,${encodeURIComponent(`
        import { parentPort } from 'node:worker_threads'
        parentPort.on('message', () => { throw new Error('out of memory') })
        parentPort.postMessage({
          type: 'ready', model: { name: 'frail' }, capacity: { slots: 1 }
        })
      `)}`,
    )
    const generation = await startEngineClient(optionsOf(), dying)
    const events = await eventsOf(generation.submit(short()))
    expect(events).toMatchObject([{ type: 'failed', error: { code: 'engine_failed' } }])
    expect(() => generation.submit(short())).toThrow(
      expect.objectContaining({ code: 'engine_unavailable', facts: { model: 'frail' } }),
    )
    await expect(generation.ping()).rejects.toMatchObject({ code: 'engine_unavailable' })
    expect(generation.silence).toBe(Infinity)
    await generation.close()
  })
})
