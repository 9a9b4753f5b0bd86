/** `finish` and `extend` over HTTP: they steer the answers of a running request. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { addKey, ApiKeys } from '../../src/server/api-keys.js'
import { eventsOf } from '../support/events.js'
import { type ErrorBody, openServer, portOf, type TestServer } from '../support/server.js'

interface Chunk {
  choices: { index: number; finish_reason: string | null }[]
  refinement?: { type: string; steps?: number; stop_reason?: string }
}

let server: TestServer
let address: string
afterEach(() => server.app.close())

const open = async (keys?: ApiKeys, limits = {}) => {
  server = await openServer({ auto: false }, limits, keys)
  address = `http://127.0.0.1:${await portOf(server.app)}`
}

const post = (path: string, body?: object, key?: string) =>
  fetch(address + path, {
    method: 'POST',
    headers: {
      ...(body && { 'content-type': 'application/json' }),
      ...(key !== undefined && { authorization: `Bearer ${key}` }),
    },
    ...(body && { body: JSON.stringify(body) }),
  })

/** A running stream: each of its answers has taken its first step. */
async function begin(payload: object, key?: string) {
  const replying = post(
    '/v1/completions',
    { prompt: 'a', stream: true, stream_options: { include_refinement: true }, ...payload },
    key,
  )
  await expect.poll(() => server.engine.outstanding).toBeGreaterThan(0)
  server.engine.tick()
  const reply = await replying
  const id = reply.headers.get('x-completion-id') ?? ''
  expect(id).toMatch(/^cmpl-/)
  return {
    id,
    chunks: async () => eventsOf<Chunk>(await reply.text()).filter((e) => e !== '[DONE]'),
  }
}

async function tickToTheEnd(): Promise<number> {
  let ticks = 0
  while (server.engine.outstanding > 0) {
    server.engine.tick()
    ticks++
    await new Promise(setImmediate)
  }
  return ticks
}

const finals = (chunks: Chunk[]) =>
  chunks.flatMap(({ refinement }) => (refinement?.type === 'finished' ? [refinement] : []))

describe('finish', () => {
  it('settles every choice with its best answer so far', async () => {
    await open()
    const { id, chunks } = await begin({ n: 2, max_tokens: 3, refinement: { max_steps: 1000 } })
    const reply = await post(`/v1/completions/${id}/finish`)
    expect(reply.status).toBe(200)
    expect(await reply.json()).toEqual({ id, object: 'steering', action: 'finish', choices: 2 })
    expect(await tickToTheEnd()).toBe(1)
    const ended = finals(await chunks())
    expect(ended).toHaveLength(2)
    for (const each of ended) expect(each).toMatchObject({ steps: 2, stop_reason: 'finished' })
  })

  it('gets 404 after the completion has ended', async () => {
    await open()
    const { id, chunks } = await begin({ max_tokens: 1, refinement: { max_steps: 2 } })
    await tickToTheEnd()
    await chunks()
    const reply = await post(`/v1/completions/${id}/finish`)
    expect(reply.status).toBe(404)
    expect(((await reply.json()) as ErrorBody).error).toMatchObject({
      code: 'not_found',
      param: 'id',
    })
  })

  it('needs no body, and accepts an empty one with a content type', async () => {
    await open()
    const { id, chunks } = await begin({ max_tokens: 1, refinement: { max_steps: 1000 } })
    const reply = await fetch(`${address}/v1/completions/${id}/finish`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    })
    expect(reply.status).toBe(200)
    const empty = await fetch(`${address}/v1/completions/${id}/extend`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    })
    expect(empty.status).toBe(400)
    await tickToTheEnd()
    await chunks()
  })

  it('gets 404 for an unknown id', async () => {
    await open()
    expect((await post('/v1/completions/cmpl-guess/finish')).status).toBe(404)
    expect((await post('/v1/chat/completions/x/finish')).status).toBe(404)
  })

  it('gets 404 after the client has disconnected', async () => {
    await open()
    const leaving = new AbortController()
    const replying = fetch(`${address}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'a', stream: true, refinement: { max_steps: 1000 } }),
      signal: leaving.signal,
    })
    await expect.poll(() => server.engine.outstanding).toBe(1)
    server.engine.tick()
    const id = (await replying).headers.get('x-completion-id') ?? ''
    leaving.abort()
    await expect.poll(() => server.engine.outstanding).toBe(0)
    expect((await post(`/v1/completions/${id}/finish`)).status).toBe(404)
  })
})

describe('extend', () => {
  it('adds steps to the present answer', async () => {
    await open()
    const { id, chunks } = await begin({ max_tokens: 1, refinement: { max_steps: 4 } })
    const reply = await post(`/v1/completions/${id}/extend`, { steps: 5 })
    expect(await reply.json()).toEqual({ id, object: 'steering', action: 'extend', choices: 1 })
    await tickToTheEnd()
    expect(finals(await chunks())).toEqual([
      expect.objectContaining({ steps: 9, stop_reason: 'max_steps' }),
    ])
  })

  it('is refused beyond the caps of the operator, for all choices together', async () => {
    await open(undefined, { caps: { maxSteps: 10, maxSeconds: 60, candidates: 4 } })
    const { id, chunks } = await begin({ n: 2, max_tokens: 1, refinement: { max_steps: 4 } })
    const refused = await post(`/v1/completions/${id}/extend`, { steps: 7 })
    expect(refused.status).toBe(400)
    expect(((await refused.json()) as ErrorBody).error).toMatchObject({
      code: 'out_of_range',
      param: 'steps',
    })
    expect((await post(`/v1/completions/${id}/extend`, { steps: 6 })).status).toBe(200)
    await tickToTheEnd()
    expect(finals(await chunks()).map(({ steps }) => steps)).toEqual([10, 10])
  })

  it.each([[{}], [{ steps: -1 }], [{ steps: 1.5 }], [{ seconds: 'long' }], [{ pages: 1 }]])(
    'refuses %j',
    async (body) => {
      await open()
      const { id, chunks } = await begin({ max_tokens: 1 })
      expect((await post(`/v1/completions/${id}/extend`, body)).status).toBe(400)
      await tickToTheEnd()
      await chunks()
    },
  )
})

it('steering needs the key that asked for the completion', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'basin-keys-')), 'keys.json')
  const [alice, bob] = [addKey(path, 'alice'), addKey(path, 'bob')]
  await open(ApiKeys.open(path))
  const { id, chunks } = await begin({ max_tokens: 1, refinement: { max_steps: 50 } }, alice)
  expect((await post(`/v1/completions/${id}/finish`)).status).toBe(401)
  expect((await post(`/v1/completions/${id}/finish`, undefined, bob)).status).toBe(404)
  expect((await post(`/v1/completions/${id}/finish`, undefined, alice)).status).toBe(200)
  await tickToTheEnd()
  expect(finals(await chunks())).toEqual([expect.objectContaining({ stop_reason: 'finished' })])
})
