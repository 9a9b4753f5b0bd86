/** Answers of a real process that is killed go on from their last checkpoints: their steps, their time, their text. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open } from 'lmdb'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { ResponseReply } from '../../src/server/schemas/response-schema.js'
import { streamedEvents } from '../support/events.js'
import { Server, writeModel, writeModels } from '../support/process.js'

interface Event {
  type: string
  sequence_number: number
  response?: ResponseReply
  delta?: string
  step?: number
  position?: number
}

// Long enough to start and kill a server ten times on a slow machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 60_000 })

const models = writeModels()
let server: Server | undefined
afterEach(async () => {
  await server?.stop()
  server = undefined
})

const folder = () => mkdtempSync(join(tmpdir(), 'basin-data-'))
const often = ['--checkpoint-seconds', '0.25']
const start = async (data: string, ...more: string[]) =>
  (server = await Server.start(models, '--data-dir', data, ...often, ...more))

const asked = {
  input: 'once upon a time',
  temperature: 1,
  seed: 11,
  include: ['basin:refinement_step'],
  background: true,
}
/** Nothing but its client, or the operator's cap on time, ends it. */
const endless = { ...asked, max_output_tokens: 2, refinement: { max_steps: null, noise: 0.1 } }

const begin = async (from: Server, body: object) =>
  ((await (await from.post('/v1/responses', body)).json()) as ResponseReply).id

const retrieve = async (from: Server, id: string) =>
  (await (await fetch(`${from.url}/v1/responses/${id}`)).json()) as ResponseReply

const statusOf = async (from: Server, id: string) => (await retrieve(from, id)).status

/** Everything that a reader of the response sees, in this server and in those before. */
class Reader {
  readonly seen: Event[] = []

  constructor(private readonly id: string) {}

  /** Reads on until `enough`, the end of the response, or that of the connection. */
  async read(from: Server, enough: (event: Event) => boolean = () => false): Promise<void> {
    const after = this.seen.length > 0 ? `&starting_after=${this.seen.length - 1}` : ''
    const reply = await fetch(`${from.url}/v1/responses/${this.id}?stream=true${after}`)
    try {
      for await (const event of streamedEvents<Event>(reply)) {
        this.seen.push(event)
        if (enough(event)) break
      }
    } catch (error) {
      // The connection of a killed process ends in the middle.
      if (!(error instanceof TypeError)) throw error
    }
  }

  get steps(): number[] {
    return this.seen.flatMap(({ step }) => step ?? [])
  }

  get text(): string {
    return this.seen.map(({ delta }) => delta ?? '').join('')
  }

  /** Of one answer: no event is missing or comes twice, and steps only grow. */
  check(): void {
    expect(this.seen.map((event) => event.sequence_number)).toEqual(this.seen.map((_, i) => i))
    const { steps } = this
    expect(steps.filter((step, i) => i > 0 && step <= (steps[i - 1] ?? 0))).toEqual([])
  }
}

/** Waits for so many checkpoints of this process. */
const checkpoints = (from: Server, count: number) =>
  expect
    .poll(() => from.metric('basin_checkpoints_total'), { timeout: 60_000 })
    .toBeGreaterThanOrEqual(count)

describe('an answer without a limit', () => {
  it('survives ten kills, and its steps only grow', async () => {
    const data = folder()
    let present = await start(data)
    const id = await begin(present, endless)
    const reader = new Reader(id)
    const reached: number[] = []
    for (let kills = 0; kills < 10; kills++) {
      const reading = reader.read(present)
      await expect
        .poll(() => reader.steps.at(-1) ?? 0, { timeout: 60_000 })
        .toBeGreaterThan(reached.at(-1) ?? 0)
      await checkpoints(present, (await present.metric('basin_checkpoints_total')) + 1)
      await present.kill()
      await reading
      reached.push(reader.steps.at(-1) ?? 0)
      present = await start(data)
    }
    expect(reached.filter((step, i) => i > 0 && step <= (reached[i - 1] ?? 0))).toEqual([])
    await expect.poll(() => statusOf(present, id)).toBe('in_progress')
    const reading = reader.read(present)
    await checkpoints(present, 1)
    expect(await present.metric('basin_responses_resumed_total')).toBe(1)
    expect((await present.post(`/v1/responses/${id}/finish`, {})).status).toBe(200)
    await reading
    reader.check()
    const ended = await retrieve(present, id)
    expect(ended.refinement?.stop_reason).toBe('finished')
    expect(ended.refinement?.steps).toBeGreaterThanOrEqual(reader.steps.at(-1) ?? Infinity)
    expect(reader.text).toHaveLength(2)
    expect(reader.seen.at(-1)?.response).toEqual(ended)
  })

  it('ends at the limit of its time, of which it had a part before the kill', async () => {
    const data = folder()
    const first = await start(data, '--checkpoint-seconds', '1')
    const limited = { ...endless, refinement: { ...endless.refinement, max_seconds: 8 } }
    const id = await begin(first, limited)
    const reader = new Reader(id)
    const reading = reader.read(first)
    await checkpoints(first, 4)
    await first.kill()
    await reading
    const second = await start(data)
    let began: number | undefined
    await reader.read(second, () => {
      began ??= performance.now()
      return false
    })
    // Three seconds at least are in the fourth checkpoint, and no time passes before the first new event.
    expect(performance.now() - (began ?? 0)).toBeLessThan(6500)
    reader.check()
    const { refinement, status } = await retrieve(second, id)
    expect(status).toBe('incomplete')
    expect(refinement?.stop_reason).toBe('max_seconds')
  })

  it('keeps an extension and a wish for its end that came just before the kill', async () => {
    const data = folder()
    const first = await start(data)
    const limited = { ...endless, refinement: { max_steps: 40_000, noise: 0.1 } }
    const finished = await begin(first, endless)
    await expect.poll(() => statusOf(first, finished)).toBe('in_progress')
    // It has an end of its own, which may be there before a second look at it on a busy machine.
    const extended = await begin(first, limited)
    expect((await first.post(`/v1/responses/${extended}/extend`, { steps: 7 })).status).toBe(200)
    expect((await first.post(`/v1/responses/${finished}/finish`, {})).status).toBe(200)
    await first.kill()
    const second = await start(data)
    for (const id of [extended, finished])
      await expect.poll(() => statusOf(second, id), { timeout: 120_000 }).toBe('incomplete')
    expect((await retrieve(second, finished)).refinement?.stop_reason).toBe('finished')
    expect((await retrieve(second, extended)).refinement).toMatchObject({
      steps: 40_007,
      stop_reason: 'max_steps',
    })
    for (const id of [extended, finished]) {
      const reader = new Reader(id)
      await reader.read(second)
      reader.check()
    }
  })

  it('can be cancelled after a kill', async () => {
    const data = folder()
    const first = await start(data)
    const id = await begin(first, endless)
    await checkpoints(first, 1)
    await first.kill()
    const second = await start(data)
    expect((await second.post(`/v1/responses/${id}/cancel`, {})).status).toBe(200)
    const reader = new Reader(id)
    await reader.read(second)
    reader.check()
    expect(await statusOf(second, id)).toBe('cancelled')
  })

  it('is saved when its server goes down in good order, and goes on from there', async () => {
    const data = folder()
    const slow = ['--checkpoint-seconds', '3600', '--drain-seconds', '1']
    const first = await start(data, ...slow)
    const id = await begin(first, endless)
    const reader = new Reader(id)
    await Promise.all([reader.read(first), first.stop()])
    const steps = reader.steps.at(-1) ?? 0
    const second = await start(data, ...slow)
    await reader.read(second, ({ step = 0 }) => step > steps)
    expect(await second.metric('basin_responses_resumed_total')).toBe(1)
    expect(await second.metric('basin_response_steps_repeated_total')).toBe(0)
    expect((await second.post(`/v1/responses/${id}/finish`, {})).status).toBe(200)
    await reader.read(second)
    reader.check()
  })
})

describe('a text with a seed and a limit on steps', () => {
  const long = { ...asked, max_output_tokens: 12, refinement: { max_steps: 15_000 } }

  it('equals that of an undisturbed run, and so do its events', async () => {
    const undisturbed = await start(folder())
    const whole = new Reader(await begin(undisturbed, long))
    await whole.read(undisturbed)
    await undisturbed.stop()
    const data = folder()
    const first = await start(data)
    const reader = new Reader(await begin(first, long))
    const reading = reader.read(first)
    await checkpoints(first, 2)
    await first.kill()
    await reading
    expect(reader.seen.length).toBeLessThan(whole.seen.length)
    const second = await start(data)
    await reader.read(second)
    expect(await second.metric('basin_responses_resumed_total')).toBe(1)
    const withoutIds = ({ seen }: Reader): unknown =>
      JSON.parse(
        JSON.stringify(seen)
          .replaceAll(/(resp|msg)_[0-9a-f-]{36}/g, '$1')
          .replaceAll(/"(created_at|completed_at)":\d+/g, '"$1":0'),
      )
    expect(reader.text).toHaveLength(12)
    expect(withoutIds(reader)).toEqual(withoutIds(whole))
  })
})

describe('a checkpoint that does not fit', () => {
  async function killed(data: string, path: string, body: object) {
    const first = (server = await Server.start(path, '--data-dir', data, ...often))
    const id = await begin(first, body)
    await checkpoints(first, 1)
    await first.kill()
    return id
  }

  it('is named in the log where it is damaged, and the answer begins anew', async () => {
    const data = folder()
    const limited = { ...asked, max_output_tokens: 2, refinement: { max_steps: 30_000 } }
    const id = await killed(data, models, limited)
    const root = open({ path: data, noSubdir: false, maxDbs: 6 })
    const kept = root.openDB<string, string>({ name: 'checkpoints', encoding: 'string' })
    await kept.put(id, (kept.get(id) ?? '').replace(/.$/, '!'))
    await root.close()
    const second = await start(data)
    await expect.poll(() => statusOf(second, id), { timeout: 120_000 }).toBe('incomplete')
    const reader = new Reader(id)
    await reader.read(second)
    reader.check()
    expect(second.stderr.match(/its checkpoint does not match its checksum/g)).toHaveLength(1)
    expect(await second.metric('basin_responses_resumed_total')).toBe(0)
  })

  it('is named in the log where the weights are others, and the answer begins anew', async () => {
    const own = mkdtempSync(join(tmpdir(), 'basin-models-'))
    const path = writeModel(own, 'letters')
    const data = folder()
    const quiet = { ...endless, include: [] }
    const id = await killed(data, own, quiet)
    rmSync(path, { recursive: true })
    writeModel(own, 'letters', 2)
    const second = (server = await Server.start(own, '--data-dir', data, ...often))
    await expect.poll(() => second.stderr).toMatch(/a checkpoint does not fit/)
    expect(second.stderr).toMatch(/other weights/)
    await checkpoints(second, 1)
    expect((await second.post(`/v1/responses/${id}/finish`, {})).status).toBe(200)
    const reader = new Reader(id)
    await reader.read(second)
    reader.check()
    expect((await retrieve(second, id)).refinement?.stop_reason).toBe('finished')
  })
})
