/** `POST /v1/chat/completions`. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { eventsOf } from '../support/events.js'
import type { Script } from '../support/scripted-generation.js'
import { openServer, post, type TestServer } from '../support/server.js'

let server: TestServer
const chat = (payload: object) => post(server.app, '/v1/chat/completions', payload)
const messages = [
  { role: 'system', content: 'Be kind' },
  { role: 'user', content: [{ type: 'text', text: 'Hi' }] },
]

const picture = { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } }

/** The prompt of the only request. */
const promptText = () => String.fromCodePoint(...(server.engine.jobs[0]?.prompt as number[]))

beforeEach(async () => {
  server = await openServer({ chat: true })
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
    expect(promptText()).toBe('system: Be kind\nuser: Hi\n')
  })

  it('accepts fields that OpenAI’s clients send and that have no effect', async () => {
    const reply = await chat({
      messages,
      max_tokens: 1,
      response_format: { type: 'text' },
      store: false,
      metadata: { a: 'b' },
      service_tier: 'auto',
      user: 'u',
      safety_identifier: 's',
      prompt_cache_key: 'k',
      prompt_cache_retention: '24h',
      prompt_cache_options: { mode: 'implicit' },
      parallel_tool_calls: true,
      verbosity: 'low',
      modalities: ['text'],
      prediction: { type: 'content', content: 'a' },
      audio: null,
      functions: null,
    })
    expect(reply.statusCode, reply.body).toBe(200)
  })

  it('takes the effort from an object reasoning too', async () => {
    await chat({ messages, max_tokens: 1, reasoning: { effort: 'minimal' } })
    expect(server.engine.jobs[0]?.budget.maxSteps).toBe(1)
  })

  it('reads messages of replies that are sent back as they were', async () => {
    const first = (await chat({ messages, max_tokens: 1 })).json<{
      choices: [{ message: object }]
    }>()
    server.engine.jobs.length = 0
    const reply = await chat({ messages: [...messages, first.choices[0].message], max_tokens: 1 })
    expect(reply.statusCode, reply.body).toBe(200)
    expect(promptText()).toBe('system: Be kind\nuser: Hi\nassistant: alpha \n')
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
    [{ messages: [{ role: 'assistant', content: 'I begin' }] }, 'messages'],
    [{ messages: [{ role: 'user' }] }, 'messages.0.content'],
    [{ messages: [{ role: 'tool', content: '5', tool_call_id: 'call_1' }] }, 'messages.0.role'],
    [{ messages: [{ role: 'user', content: [picture] }] }, 'messages.0.content.0'],
    [{ messages: [{ role: 'user', content: [{ type: 'text' }] }] }, 'messages.0.content.0.text'],
    [{ messages, response_format: { type: 'yaml' } }, 'response_format.type'],
    [{ messages, modalities: ['text', 'audio'] }, 'modalities.1'],
    [{ messages, audio: { voice: 'alloy', format: 'mp3' } }, 'audio'],
    [{ messages, functions: [{ name: 'f' }] }, 'functions'],
    [{ messages, web_search_options: {} }, 'web_search_options'],
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

describe('a chat with a model that has no chat template', () => {
  const reopen = async (script: Script) => {
    await server.app.close()
    server = await openServer(script)
  }

  it('continues the contents of its messages, joined by blank lines', async () => {
    await reopen({})
    const turns = [...messages, { role: 'developer', content: 'Yes' }]
    const reply = await chat({ messages: turns, max_tokens: 1 })
    expect(reply.statusCode, reply.body).toBe(200)
    expect(promptText()).toBe('Be kind\n\nHi\n\nYes')
  })

  it('has the last message of the user as its template where the model fills puzzles', async () => {
    await reopen({ templateLength: 3 })
    const turns = [
      ...messages,
      { role: 'assistant', content: '123' },
      { role: 'user', content: '1_3' },
    ]
    const reply = await chat({ messages: turns })
    expect(reply.json()).toMatchObject({ choices: [{ message: { content: '113' } }] })
    expect(server.engine.jobs[0]).toMatchObject({ prompt: [], template: '1_3' })
  })

  it('needs a message of the user where the model fills puzzles', async () => {
    await reopen({ templateLength: 3 })
    const reply = await chat({ messages: [{ role: 'system', content: '1_3' }] })
    expect(reply.json()).toMatchObject({ error: { param: 'messages', code: 'invalid_request' } })
  })
})
