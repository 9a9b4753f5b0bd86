/** `POST /v1/chat/completions`. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { eventsOf } from '../support/events.js'
import { openServer, post, type TestServer } from '../support/server.js'

let server: TestServer
const chat = (payload: object) => post(server.app, '/v1/chat/completions', payload)
const messages = [
  { role: 'system', content: 'Be kind' },
  { role: 'user', content: [{ type: 'text', text: 'Hi' }] },
]

beforeEach(async () => {
  server = await openServer()
})
afterEach(() => server.app.close())

describe('a chat completion', () => {
  it('has a message, log-probabilities and usage', async () => {
    const asked = { messages, max_completion_tokens: 2, logprobs: true, top_logprobs: 1, seed: 4 }
    const reply = await chat(asked)
    expect(reply.json()).toMatchObject({
      id: expect.stringMatching(/^chatcmpl-/) as string,
      object: 'chat.completion',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'alpha beta ', refusal: null },
          finish_reason: 'length',
          logprobs: { content: [{ token: 'alpha ', logprob: -4, top_logprobs: [] }, {}] },
        },
      ],
      usage: { prompt_tokens: 25, completion_tokens: 2, total_tokens: 27 },
    })
    const prompt = String.fromCodePoint(...(server.engine.jobs[0]?.prompt as number[]))
    expect(prompt).toBe('system: Be kind\nuser: Hi\n')
  })

  it('may fill the context unless it limits its tokens', async () => {
    await chat({ messages })
    expect(server.engine.jobs[0]?.maxTokens).toBe(36)
  })

  it('is streamed as deltas', async () => {
    const asked = { messages, max_tokens: 2, stream: true, stream_options: { include_usage: true } }
    const reply = await chat(asked)
    interface Chunk {
      object: string
      choices: { delta: { role?: string; content?: string }; finish_reason: string | null }[]
    }
    const events = eventsOf<Chunk>(reply.body)
    expect(events.at(-1)).toBe('[DONE]')
    const chunks = events.filter((event) => event !== '[DONE]')
    expect(new Set(chunks.map(({ object }) => object))).toEqual(new Set(['chat.completion.chunk']))
    const choices = chunks.flatMap((chunk) => chunk.choices)
    expect(choices.map(({ delta }) => delta)).toEqual([
      { role: 'assistant', content: 'alpha ' },
      { content: 'beta ' },
      {},
    ])
    expect(choices.at(-1)?.finish_reason).toBe('length')
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: 27 } })
  })

  it.each([
    [{}, 'messages'],
    [{ messages: [] }, 'messages'],
    [{ messages: [{ role: 'user', content: 'no template' }] }, 'messages'],
    [{ messages: [{ role: 'king', content: 'a' }] }, 'messages.0.role'],
    [{ messages: [{ role: 'user', content: 5 }] }, 'messages.0.content'],
    [{ messages, top_logprobs: 2 }, 'top_logprobs'],
    [{ messages, tools: [] }, 'tools'],
    [{ messages, max_tokens: -1 }, 'max_tokens'],
    [{ messages, max_tokens: 0 }, 'max_tokens'],
  ])('is refused with %j for its field %s', async (body, param) => {
    const reply = await chat(body)
    expect(reply.statusCode).toBe(400)
    expect(reply.json()).toMatchObject({ error: { param } })
  })
})
