/** `POST /v1/completions` with `stream`. */
import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { eventsOf } from '../support/events.js'
import { type ErrorBody, openServer, portOf, post, type TestServer } from '../support/server.js'

interface Chunk {
  id: string
  object: string
  model: string
  choices: { index: number; text: string; logprobs: unknown; finish_reason: string | null }[]
  usage?: { prompt_tokens: number; completion_tokens: number; total_tokens: number } | null
  refinement?: { type: string; step?: number; energy?: unknown; text?: string }
}

let server: TestServer
const open = async (...asked: Parameters<typeof openServer>) =>
  (server = await openServer(...asked))

afterEach(() => server.app.close())

const stream = (payload: object) =>
  post(server.app, '/v1/completions', { stream: true, ...payload })

async function chunksOf(payload: object): Promise<{ chunks: Chunk[]; done: boolean }> {
  const reply = await stream(payload)
  expect(reply.statusCode).toBe(200)
  expect(reply.headers['content-type']).toMatch(/^text\/event-stream/)
  const events = eventsOf<Chunk>(reply.body)
  const chunks = events.filter((event) => event !== '[DONE]')
  return { chunks, done: events.at(-1) === '[DONE]' && chunks.length === events.length - 1 }
}

const textOf = (chunks: Chunk[], index = 0): string =>
  chunks
    .flatMap(({ choices }) => choices)
    .filter((choice) => choice.index === index)
    .map(({ text }) => text)
    .join('')

describe('a completion stream', () => {
  it('has standard chunks with one id, then [DONE]', async () => {
    await open()
    const { chunks, done } = await chunksOf({ prompt: 'a', max_tokens: 3 })
    expect(done).toBe(true)
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1)
    for (const chunk of chunks) {
      expect(chunk).toMatchObject({ object: 'text_completion', model: 'scripted' })
      expect(chunk).not.toHaveProperty('refinement')
      expect(chunk).not.toHaveProperty('usage')
    }
    const choices = chunks.flatMap((chunk) => chunk.choices)
    expect(choices.map(({ text }) => text)).toEqual(['alpha ', 'beta ', 'gamma ', ''])
    expect(choices.map((choice) => choice.finish_reason)).toEqual([null, null, null, 'length'])
  })

  it('has the text of the same request without stream', async () => {
    await open()
    const request = { prompt: ['a', 'b'], n: 2, max_tokens: 5, echo: true }
    const { chunks } = await chunksOf(request)
    const whole = (await post(server.app, '/v1/completions', request)).json<Chunk>()
    const texts = whole.choices.map(({ index }) => textOf(chunks, index))
    expect(texts).toEqual(whole.choices.map(({ text }) => text))
  })

  it('ends with the usage if that was asked for', async () => {
    await open()
    const options = { stream_options: { include_usage: true } }
    const { chunks, done } = await chunksOf({ prompt: 'ab', max_tokens: 2, ...options })
    expect(done).toBe(true)
    expect(chunks.at(-1)).toMatchObject({
      choices: [],
      usage: { prompt_tokens: 2, completion_tokens: 2, total_tokens: 4 },
    })
    for (const chunk of chunks.slice(0, -1)) expect(chunk.usage).toBeNull()
  })

  it('has the steps of the descent if they were asked for', async () => {
    await open()
    const { chunks } = await chunksOf({
      prompt: 'a',
      max_tokens: 1,
      refinement: { max_steps: 3 },
      stream_options: { include_refinement: true },
    })
    expect(chunks.map(({ refinement }) => refinement?.type)).toEqual([
      'step',
      'step',
      'step',
      'committed',
      'finished',
    ])
    expect(chunks.slice(0, 3).map(({ refinement }) => refinement)).toMatchObject([
      { step: 1, energy: 8, text: 'draft 1' },
      { step: 2, energy: 4, text: 'draft 2' },
      { step: 3, energy: 2, text: 'draft 3' },
    ])
    expect(textOf(chunks)).toBe('alpha ')
  })

  it('has an error status if the request fails before its first token', async () => {
    await open()
    const refused = await stream({ prompt: '' })
    expect(refused.statusCode).toBe(400)
    expect(refused.json<ErrorBody>().error).toMatchObject({ code: 'empty_prompt', param: 'prompt' })
  })

  it('ends with an error event, and without [DONE], if the request fails later', async () => {
    await open()
    const reply = await stream({ prompt: 'explode', max_tokens: 4 })
    const events = eventsOf<Chunk & ErrorBody>(reply.body)
    const last = events.at(-1)
    expect(last).toMatchObject({ error: { code: 'internal', message: 'Internal error' } })
    expect(events).not.toContain('[DONE]')
    expect(server.engine.outstanding).toBe(0)
  })

  it.each([true, false])(
    'ends its work when the client disconnects (stream: %s)',
    async (streamed) => {
      await open({ auto: false })
      const { app, engine } = server
      const socket = connect(await portOf(app), '127.0.0.1')
      const body = JSON.stringify({
        prompt: 'a',
        stream: streamed,
        max_tokens: 50,
        stream_options: streamed ? { include_refinement: true } : null,
      })
      socket.write(
        'POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n' +
          `Content-Length: ${body.length}\r\n\r\n${body}`,
      )
      await expect.poll(() => engine.outstanding).toBe(1)
      engine.tick()
      if (streamed) await new Promise((resolve) => socket.once('data', resolve))
      socket.destroy()
      await expect.poll(() => engine.outstanding).toBe(0)
    },
  )
})
