/** Responses of a real process that is killed: the next process continues them without a gap. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { ResponseReply } from '../../src/server/schemas/response-schema.js'
import { streamedEvents } from '../support/events.js'
import { Server, writeModel, writeModels } from '../support/process.js'
import { outputText } from '../support/responses.js'

interface Event {
  type: string
  sequence_number: number
  response?: ResponseReply
  delta?: string
}

// Long enough to start and kill servers several times on a slow machine.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

const models = writeModels()
let server: Server | undefined
afterEach(async () => {
  await server?.stop()
  server = undefined
})

const folder = () => mkdtempSync(join(tmpdir(), 'basin-data-'))
const start = async (data: string, ...more: string[]) =>
  (server = await Server.start(models, '--data-dir', data, ...more))

/** 20 answers of 100 steps each: more than the thousand steps of which every one has an event. */
const long = {
  input: 'once upon a time',
  max_output_tokens: 40,
  temperature: 1,
  seed: 11,
  refinement: { max_steps: 100 },
  include: ['basin:refinement_step'],
  background: true,
}

/** Reads until `enough` is true of an event, or to the end. */
async function read(reply: Response, enough: (event: Event) => boolean = () => false) {
  const seen: Event[] = []
  try {
    for await (const event of streamedEvents<Event>(reply)) {
      seen.push(event)
      if (enough(event)) break
    }
  } catch (error) {
    // The connection of a killed process ends in the middle.
    if (!(error instanceof TypeError)) throw error
  }
  return seen
}

const after = async (from: Server, id: string, number: number) =>
  fetch(`${from.url}/v1/responses/${id}?stream=true&starting_after=${number}`)

const retrieve = async (from: Server, id: string) =>
  (await (await fetch(`${from.url}/v1/responses/${id}`)).json()) as ResponseReply

/** Without ids and times, which differ from run to run. */
const withoutIds = (seen: Event[]): unknown =>
  JSON.parse(
    JSON.stringify(seen)
      .replaceAll(/(resp|msg)_[0-9a-f-]{36}/g, '$1')
      .replaceAll(/"(created_at|completed_at)":\d+/g, '"$1":0'),
  )

const textOf = (seen: Event[]) => seen.map(({ delta }) => delta ?? '').join('')

const consecutive = (seen: Event[]) => {
  expect(seen.map((event) => event.sequence_number)).toEqual(seen.map((_, i) => i))
}

describe('kill -9 during a background response', () => {
  /** Of a run without interruption. */
  let whole: Event[]
  beforeAll(async () => {
    const undisturbed = await start(folder())
    whole = await read(await undisturbed.post('/v1/responses', { ...long, stream: true }))
    await undisturbed.stop()
    consecutive(whole)
    expect(textOf(whole)).toHaveLength(40)
    const steps = whole.filter(({ type }) => type === 'basin:refinement_step')
    expect(steps.length).toBeGreaterThan(1000)
  })

  it.each([1, 10])(
    'after %d texts leaves a stream that continues without gap or repetition',
    async (texts) => {
      const data = folder()
      const first = await start(data)
      let count = 0
      const before = await read(
        await first.post('/v1/responses', { ...long, stream: true }),
        ({ delta }) => delta !== undefined && ++count === texts,
      )
      await first.kill()
      const { id } = before[0]?.response ?? {}
      const second = await start(data)
      const rest = await read(await after(second, id ?? '', before.length - 1))
      const seen = [...before, ...rest]
      consecutive(seen)
      expect(withoutIds(seen)).toEqual(withoutIds(whole))
      const kept = await retrieve(second, id ?? '')
      expect(kept).toEqual(seen.at(-1)?.response)
      expect(kept.status).toBe('incomplete')
    },
  )

  it('leaves queued responses to be continued, and cancelled ones as they are', async () => {
    const data = folder()
    const first = await start(data, '--slots', '1')
    // The first must still run when the third is cancelled, however slow the client is.
    const slow = { ...long, refinement: { max_steps: 2000 }, include: [] }
    const begin = async () =>
      (await (await first.post('/v1/responses', slow)).json()) as ResponseReply
    const made = [await begin(), await begin(), await begin()]
    const [running, waiting, unwanted] = made.map(({ id }) => id)
    await first.post(`/v1/responses/${unwanted ?? ''}/cancel`, {})
    await first.kill()
    const second = await start(data, '--slots', '1')
    const statusOf = async (id = '') => (await retrieve(second, id)).status
    expect(await statusOf(unwanted)).toBe('cancelled')
    const patience = { timeout: 120_000 }
    await expect.poll(() => statusOf(running), patience).toBe('incomplete')
    await expect.poll(() => statusOf(waiting), patience).toBe('incomplete')
    const [a, b] = [await retrieve(second, running ?? ''), await retrieve(second, waiting ?? '')]
    expect(a.output).toHaveLength(1)
    expect(outputText(a)).toBe(outputText(b))
    expect(await statusOf(unwanted)).toBe('cancelled')
  })

  it('makes a response fail that had been extended, where there are no checkpoints', async () => {
    const data = folder()
    const first = await start(data, '--checkpoint-seconds', '0')
    const made = await first.post('/v1/responses', { ...long, refinement: { max_steps: 50_000 } })
    const { id } = (await made.json()) as ResponseReply
    await expect.poll(async () => (await retrieve(first, id)).status).toBe('in_progress')
    expect((await first.post(`/v1/responses/${id}/extend`, { steps: 50 })).status).toBe(200)
    await first.kill()
    const second = await start(data, '--checkpoint-seconds', '0')
    expect(await retrieve(second, id)).toMatchObject({
      status: 'failed',
      error: { code: 'server_error' },
    })
    const seen = await read(await fetch(`${second.url}/v1/responses/${id}?stream=true`))
    consecutive(seen)
    expect(seen.at(-1)?.type).toBe('response.failed')
  })

  it('makes a response fail that comes out differently when it is computed again', async () => {
    const own = mkdtempSync(join(tmpdir(), 'basin-models-'))
    const path = writeModel(own, 'letters')
    const data = folder()
    const first = (server = await Server.start(own, '--data-dir', data))
    let count = 0
    const before = await read(
      await first.post('/v1/responses', { ...long, stream: true, refinement: { max_steps: 300 } }),
      ({ delta }) => delta !== undefined && ++count === 2,
    )
    await first.kill()
    rmSync(path, { recursive: true })
    writeModel(own, 'letters', 2)
    const second = (server = await Server.start(own, '--data-dir', data))
    const { id } = before[0]?.response ?? {}
    const rest = await read(await after(second, id ?? '', before.length - 1))
    consecutive([...before, ...rest])
    expect(rest.at(-1)).toMatchObject({ type: 'response.failed', response: { status: 'failed' } })
    expect(textOf([...before, ...rest]).length).toBeLessThan(40)
  })
})

describe('a response that is in progress after a restart', () => {
  it('can be finished, and ends with what it has', async () => {
    const data = folder()
    const first = await start(data)
    const endless = { ...long, max_output_tokens: 2, refinement: { max_steps: null, tolerance: 0 } }
    const { id } = (await (await first.post('/v1/responses', endless)).json()) as ResponseReply
    await first.kill()
    const second = await start(data)
    const finish = async () => (await second.post(`/v1/responses/${id}/finish`, '')).status
    await expect.poll(finish, { timeout: 30_000 }).toBe(200)
    await expect
      .poll(async () => (await retrieve(second, id)).status, { timeout: 30_000 })
      .not.toBe('in_progress')
  })

  it('keeps a second process out of its folder', async () => {
    const data = folder()
    await start(data)
    await expect(Server.start(models, '--data-dir', data)).rejects.toThrow(/in use/)
  })
})

describe('an orderly restart', () => {
  it('keeps ended responses, not deleted ones, and continues the rest', async () => {
    const data = folder()
    const first = await start(data, '--drain-seconds', '0')
    const make = async (more: object) =>
      (await (await first.post('/v1/responses', { ...long, ...more })).json()) as ResponseReply
    const short = { background: false, max_output_tokens: 2 }
    const [kept, gone] = [await make(short), await make(short)]
    await fetch(`${first.url}/v1/responses/${gone.id}`, { method: 'DELETE' })
    const unfinished = await make({})
    expect((await first.stop()).code).toBe(0)
    const second = await start(data)
    expect(await retrieve(second, kept.id)).toEqual(kept)
    expect((await fetch(`${second.url}/v1/responses/${gone.id}`)).status).toBe(404)
    const seen = await read(await fetch(`${second.url}/v1/responses/${unfinished.id}?stream=true`))
    consecutive(seen)
    expect(textOf(seen)).toHaveLength(40)
    expect(seen.at(-1)?.type).toBe('response.incomplete')
  })
})
