/** The state of a response that a client takes away from a real process and brings back to another. */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { BasinClient } from '../../src/client/client.js'
import type {
  ResponseEvent,
  ResponseRequest,
  ResponseState,
  StoredResponse,
} from '../../src/client/types.js'
import { Server, writeModel, writeModels } from '../support/process.js'
import { outputText } from '../support/responses.js'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

const folder = () => mkdtempSync(join(tmpdir(), 'basin-state-'))
const key = join(folder(), 'state.key')
writeFileSync(key, randomBytes(32))

const models = writeModels()
/** The same name, other weights. */
const others = folder()
writeModel(others, 'letters', 2)

let home: Server
let away: Server
beforeAll(async () => {
  home = await Server.start(models, '--state-key', key, '--max-steps-cap', '50000')
  away = await Server.start(models, '--state-key', key, '--max-steps-cap', '40000')
})
afterAll(async () => {
  await Promise.all([home.stop(), away.stop()])
})

const clientOf = ({ url }: Server) => new BasinClient({ url })

const include = ['basin:refinement_step']
const asked: ResponseRequest = {
  input: 'once upon a time',
  temperature: 1,
  seed: 11,
  background: true,
  include,
}
const long = { ...asked, max_output_tokens: 12, refinement: { max_steps: 6000, noise: 0.1 } }
const endless = { ...asked, max_output_tokens: 2, refinement: { max_steps: null, noise: 0.1 } }

/** Outside of a test too. */
const until = (holds: () => Promise<boolean>) =>
  vi.waitFor(
    async () => {
      if (!(await holds())) throw new Error('not yet')
    },
    { timeout: 30_000, interval: 50 },
  )

async function begun(server: Server, request: ResponseRequest): Promise<StoredResponse> {
  const client = clientOf(server)
  const made = await client.respond(request)
  await until(async () => (await client.response(made.id)).status === 'in_progress')
  return made
}

async function stateOf(server: Server, id: string): Promise<ResponseState> {
  const client = clientOf(server)
  await until(async () => (await client.responseState(id)).steps > 0)
  return client.responseState(id)
}

async function eventsOf(server: Server, id: string): Promise<ResponseEvent[]> {
  const events: ResponseEvent[] = []
  for await (const event of clientOf(server).followResponse(id)) events.push(event)
  return events
}

const stepsIn = (events: readonly ResponseEvent[]) =>
  events.flatMap((event) => (event.type === 'basin:refinement_step' ? [event.step] : []))

describe('a state', () => {
  it('goes on in another process, to the text of the response that went on at home', async () => {
    const made = await begun(home, long)
    await expect
      .poll(async () => outputText(await clientOf(home).response(made.id)).length, {
        timeout: 60_000,
      })
      .toBeGreaterThan(2)
    const { model, state, steps } = await stateOf(home, made.id)
    expect(model).toBe('letters')
    const again = await clientOf(away).respond({ resume_from: state, background: true, include })
    expect(again.id).not.toBe(made.id)
    expect(again.seed).toBe(11)
    const [whole, rest] = await Promise.all([eventsOf(home, made.id), eventsOf(away, again.id)])
    expect(rest.map((event) => event.sequence_number)).toEqual(rest.map((_, i) => i))
    const [first, second] = [
      await clientOf(home).response(made.id),
      await clientOf(away).response(again.id),
    ]
    expect(outputText(second)).toHaveLength(12)
    expect(outputText(second)).toBe(outputText(first))
    expect(second.refinement?.steps).toBe(first.refinement?.steps)
    expect(first.refinement?.steps).toBeGreaterThan(steps)
    expect(stepsIn(rest).length).toBeLessThan(stepsIn(whole).length)
  })

  it('keeps an extension, and can be finished where it goes on', async () => {
    const limited = { max_steps: null, noise: 0.1, max_seconds: 200 }
    const made = await begun(home, { ...endless, refinement: limited })
    expect((await home.post(`/v1/responses/${made.id}/extend`, { seconds: 90 })).status).toBe(200)
    const { state, steps } = await stateOf(home, made.id)
    const again = await clientOf(away).respond({ resume_from: state, background: true, include })
    // The cap of 300 seconds binds what it was given at home and what it is given here.
    const extend = (seconds: number) => away.post(`/v1/responses/${again.id}/extend`, { seconds })
    expect([(await extend(11)).status, (await extend(10)).status]).toEqual([400, 200])
    expect((await away.post(`/v1/responses/${again.id}/finish`, {})).status).toBe(200)
    const events = await eventsOf(away, again.id)
    expect(Math.min(...stepsIn(events), Infinity)).toBeGreaterThan(steps)
    const { refinement } = await clientOf(away).response(again.id)
    expect(refinement?.stop_reason).toBe('finished')
    expect(refinement?.steps).toBeGreaterThanOrEqual(steps)
    await clientOf(home).cancelResponse(made.id)
  })

  it('may go on at once, on a connection', async () => {
    const made = await begun(home, { ...long, refinement: { max_steps: 2000 } })
    const { state } = await stateOf(home, made.id)
    const whole = await clientOf(away).respond({ resume_from: state })
    await eventsOf(home, made.id)
    expect(outputText(whole)).toBe(outputText(await clientOf(home).response(made.id)))
  })
})

describe('a state that is refused', () => {
  let state: string
  let id: string
  beforeAll(async () => {
    id = (await begun(home, endless)).id
    state = (await stateOf(home, id)).state
  })
  afterAll(() => clientOf(home).cancelResponse(id))

  const refusal = async (server: Server, body: object) => {
    const reply = await server.post('/v1/responses', body)
    expect(reply.status).toBe(400)
    return ((await reply.json()) as { error: { code: string; message: string } }).error
  }

  it('was changed in any of its parts', async () => {
    const parts = state.split('.')
    for (const [i, part] of parts.entries()) {
      const at = Math.floor(part.length / 2)
      const changed = part.slice(0, at) + (part[at] === 'A' ? 'B' : 'A') + part.slice(at + 1)
      const text = parts.with(i, changed).join('.')
      const reply = await away.post('/v1/responses', { resume_from: text })
      // Where the name of the model was changed, that model is not served.
      expect(reply.status).toBe(i === 1 ? 404 : 400)
    }
    expect(await refusal(away, { resume_from: 'basin-state-1.x' })).toMatchObject({
      code: 'invalid_state',
    })
  })

  it('was signed by another server', async () => {
    const stranger = await Server.start(models)
    expect(await refusal(stranger, { resume_from: state })).toMatchObject({
      code: 'invalid_state',
      message: /another server has signed it/,
    })
    await stranger.stop()
  })

  it('is of other weights', async () => {
    const stranger = await Server.start(others, '--state-key', key)
    expect(await refusal(stranger, { resume_from: state, background: true })).toMatchObject({
      code: 'invalid_state',
      message: /other weights/,
    })
    await stranger.stop()
  })

  it('has a budget beyond the caps of the server', async () => {
    const made = await begun(home, { ...endless, refinement: { max_steps: 45_000 } })
    const large = await stateOf(home, made.id)
    expect(await refusal(away, { resume_from: large.state })).toMatchObject({
      code: 'out_of_range',
      message: /40000 steps/,
    })
    await clientOf(home).cancelResponse(made.id)
  })

  it('comes with what it has already', async () => {
    expect(await refusal(away, { resume_from: state, input: 'x' })).toMatchObject({
      code: 'invalid_request',
      message: /^input: it comes with resume_from/,
    })
  })

  it('would be of a response that has ended', async () => {
    const { id: ended } = await clientOf(home).respond({ input: 'a', max_output_tokens: 2 })
    await expect(clientOf(home).responseState(ended)).rejects.toMatchObject({
      code: 'invalid_request',
    })
    await expect(clientOf(home).responseState('resp_none')).rejects.toMatchObject({ status: 404 })
  })
})

it('a server with a folder signs with a key that is kept there', async () => {
  const data = folder()
  const first = await Server.start(models, '--data-dir', data)
  const { id } = await begun(first, endless)
  const { state } = await stateOf(first, id)
  await clientOf(first).cancelResponse(id)
  await first.stop()
  const second = await Server.start(models, '--data-dir', data)
  const again = await clientOf(second).respond({ resume_from: state, background: true })
  // It outlives the process as other responses do, from the state that it began with.
  await second.kill()
  const third = await Server.start(models, '--data-dir', data)
  await expect
    .poll(async () => (await third.post(`/v1/responses/${again.id}/finish`, {})).status)
    .toBe(200)
  const events = await eventsOf(third, again.id)
  expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, i) => i))
  expect((await clientOf(third).response(again.id)).refinement?.stop_reason).toBe('finished')
  await third.stop()
})
