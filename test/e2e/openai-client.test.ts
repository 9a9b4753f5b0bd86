/** The official client against the real process. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import OpenAI, { BadRequestError, NotFoundError } from 'openai'
import type { ResponseStreamEvent } from 'openai/resources/responses/responses'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Server, writeModel, writeModels } from '../support/process.js'

let server: Server
let client: OpenAI

beforeAll(async () => {
  const models = writeModels()
  const talker = writeModel(models, 'talker')
  const template = '{% for m in messages %}{{ m.content }} {% endfor %}'
  writeFileSync(join(talker, 'tokenizer_config.json'), JSON.stringify({ chat_template: template }))
  server = await Server.start(models)
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 })
})

afterAll(() => server.stop())

const request = { model: 'letters', prompt: 'once upon a time', max_tokens: 8, temperature: 0 }

describe('the official client', () => {
  it('lists and retrieves models', async () => {
    const ids: string[] = []
    for await (const model of client.models.list()) ids.push(model.id)
    expect(ids).toEqual(['letters', 'talker'])
    expect(await client.models.retrieve('letters')).toMatchObject({ object: 'model' })
  })

  it('completes a prompt', async () => {
    const completion = await client.completions.create({ ...request, n: 2, logprobs: 2 })
    expect(completion.choices).toHaveLength(2)
    expect(completion.choices[0]?.text).toHaveLength(8)
    expect(completion.choices[0]?.finish_reason).toBe('length')
    expect(completion.choices[0]?.logprobs?.tokens).toHaveLength(8)
    expect(completion.usage).toEqual({
      prompt_tokens: 16,
      completion_tokens: 16,
      total_tokens: 32,
    })
    expect(completion._request_id).toMatch(/^req_/)
  })

  it('streams the same text, with the usage', async () => {
    const whole = await client.completions.create(request)
    const stream = await client.completions.create({
      ...request,
      stream: true,
      stream_options: { include_usage: true },
    })
    let text = ''
    let tokens: number | undefined
    const ends = new Set<string | null>()
    for await (const chunk of stream) {
      for (const choice of chunk.choices) {
        text += choice.text
        ends.add(choice.finish_reason)
      }
      tokens = chunk.usage?.completion_tokens ?? tokens
    }
    expect(text).toBe(whole.choices[0]?.text)
    expect(ends).toContain('length')
    expect(tokens).toBe(8)
  })

  it('aborts a stream, and the server frees its slot', async () => {
    const stream = await client.completions.create({
      ...request,
      stream: true,
      refinement: { max_steps: null, tolerance: 0 },
    } as OpenAI.CompletionCreateParamsStreaming)
    await expect.poll(() => server.metric('basin_slots_used')).toBe(1)
    stream.controller.abort()
    await expect.poll(() => server.metric('basin_slots_used'), { timeout: 10_000 }).toBe(0)
  })

  it('raises its own errors for those of the server', async () => {
    const wrong = client.completions.create({ ...request, temperature: 5 })
    await expect(wrong).rejects.toThrow(BadRequestError)
    await expect(wrong).rejects.toMatchObject({
      status: 400,
      param: 'temperature',
      code: 'out_of_range',
      type: 'invalid_request_error',
    })
    const absent = client.completions.create({ ...request, model: 'oracle' })
    await expect(absent).rejects.toThrow(NotFoundError)
  })
})

describe('chat completions and responses', () => {
  const messages = [{ role: 'user' as const, content: 'tell me a story' }]

  it('have the same text with and without stream', async () => {
    const asked = { model: 'talker', messages, max_tokens: 6, temperature: 0 }
    const whole = await client.chat.completions.create(asked)
    expect(whole.choices[0]?.message.content).toHaveLength(6)
    const stream = client.chat.completions.stream(asked)
    expect((await stream.finalChatCompletion()).choices[0]?.message.content).toBe(
      whole.choices[0]?.message.content,
    )
  })

  it('read instructions, messages and the previous response', async () => {
    const first = await client.responses.create({
      model: 'talker',
      instructions: 'be kind',
      input: 'hello',
      temperature: 0,
      max_output_tokens: 4,
    })
    const next = await client.responses.create({
      model: 'talker',
      input: 'and then',
      previous_response_id: first.id,
      temperature: 0,
      max_output_tokens: 4,
    })
    // 'be kind hello ', then 'hello xxxx and then '.
    expect(first.usage?.input_tokens).toBe(14)
    expect(next.usage?.input_tokens).toBe(20)
    expect(next.previous_response_id).toBe(first.id)
  })
})

describe('responses', () => {
  const asked = {
    model: 'letters',
    input: 'once upon a time',
    max_output_tokens: 8,
    temperature: 0,
  }

  it('have the same text with and without stream, and in the background', async () => {
    const whole = await client.responses.create(asked)
    expect(whole).toMatchObject({ object: 'response', status: 'incomplete' })
    expect(whole.output_text).toHaveLength(8)
    const streamed = await client.responses.stream(asked).finalResponse()
    expect(streamed.output_text).toBe(whole.output_text)
    let polled = await client.responses.create({ ...asked, background: true })
    expect(polled.background).toBe(true)
    const done = async () => {
      polled = await client.responses.retrieve(polled.id)
      return polled.status
    }
    await expect.poll(done, { timeout: 10_000 }).toBe('incomplete')
    expect(polled.output_text).toBe(whole.output_text)
  })

  it('can be resumed after any event', async () => {
    const seen: ResponseStreamEvent[] = []
    const stream = await client.responses.create({ ...asked, background: true, stream: true })
    let id = ''
    for await (const event of stream) {
      if (event.type === 'response.created') id = event.response.id
      seen.push(event)
      if (event.type === 'response.output_text.delta') break
    }
    const rest = await client.responses.retrieve(id, {
      stream: true,
      starting_after: seen.length - 1,
    })
    for await (const event of rest) seen.push(event)
    expect(seen.map((event) => event.sequence_number)).toEqual(seen.map((_, i) => i))
    expect(seen.at(-1)?.type).toBe('response.incomplete')
  })

  it('have the steps of the descent if they were asked for', async () => {
    const stream = await client.responses.create({
      ...asked,
      stream: true,
      include: ['basin:refinement_step' as never],
    })
    const types = new Set<string>()
    for await (const event of stream) types.add(event.type)
    expect(types).toContain('basin:refinement_step')
  })

  it('can be cancelled, listed and deleted', async () => {
    const endless = { max_steps: null, tolerance: 0 }
    const made = await client.responses.create({
      ...asked,
      background: true,
      refinement: endless,
    } as OpenAI.Responses.ResponseCreateParamsNonStreaming)
    expect((await client.responses.cancel(made.id)).status).toBe('cancelled')
    expect((await client.responses.retrieve(made.id)).status).toBe('cancelled')
    const items: unknown[] = []
    for await (const item of client.responses.inputItems.list(made.id)) items.push(item)
    expect(items).toMatchObject([{ role: 'user', content: [{ text: 'once upon a time' }] }])
    await client.responses.delete(made.id)
    await expect(client.responses.retrieve(made.id)).rejects.toThrow(NotFoundError)
    const whole = await client.responses.create(asked)
    await expect(client.responses.cancel(whole.id)).rejects.toThrow(BadRequestError)
  })

  it('end with their best answer so far after finish', async () => {
    const made = await client.responses.create({
      ...asked,
      background: true,
      refinement: { max_steps: null, tolerance: 0 },
    } as OpenAI.Responses.ResponseCreateParamsNonStreaming)
    const status = async () => (await client.responses.retrieve(made.id)).status
    await expect.poll(status).toBe('in_progress')
    await client.post(`/responses/${made.id}/finish`)
    await expect.poll(status).toBe('completed')
  })
})

describe('embeddings', () => {
  const input = ['once upon a time', 'once upon a tide', 'zzz']
  const cosine = (a: number[] = [], b: number[] = []) =>
    a.reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0)

  it('are equal in both formats, and have length 1', async () => {
    const packed = await client.embeddings.create({ model: 'letters', input })
    const plain = await client.embeddings.create({
      model: 'letters',
      input,
      encoding_format: 'float',
    })
    expect(packed.data).toHaveLength(3)
    packed.data.forEach(({ embedding }, i) => {
      expect(embedding).toHaveLength(16)
      expect(cosine(embedding, embedding)).toBeCloseTo(1, 5)
      embedding.forEach((x, d) => expect(x).toBeCloseTo(plain.data[i]?.embedding[d] ?? NaN, 6))
    })
    const [first, near, far] = packed.data.map(({ embedding }) => embedding)
    expect(cosine(first, near)).toBeGreaterThan(cosine(first, far))
    expect(packed.usage).toEqual({ prompt_tokens: 35, total_tokens: 35 })
  })

  it('can be of tokens, and of settled answers', async () => {
    const { tokens } = await client.post<{ tokens: number[] }>('/tokenize', {
      body: { model: 'letters', text: 'once' },
    })
    const ask = async (more: object) =>
      (
        await client.embeddings.create({
          model: 'letters',
          input: 'once',
          encoding_format: 'float',
          ...more,
        })
      ).data[0]?.embedding
    const text = await ask({})
    expect(await ask({ input: tokens })).toEqual(text)
    const answer = await ask({ representation: 'answer' })
    expect(answer).toHaveLength(16)
    expect(answer).not.toEqual(text)
    const raw = await ask({ representation: 'answer', normalize: false })
    expect(cosine(raw, raw)).not.toBeCloseTo(1, 2)
    expect(cosine(raw, answer)).toBeCloseTo(Math.sqrt(cosine(raw, raw)), 4)
  })

  it.each([
    [{ dimensions: 3 }, 'dimensions'],
    [{ input: '' }, 'input'],
    [{ input: ['a', ''] }, 'input'],
    [{ input: 'a'.repeat(100) }, 'input'],
    [{ input: [] }, 'input'],
  ])('with %j are refused for the field %s', async (more, param) => {
    const wrong = client.embeddings.create({ model: 'letters', input: 'a', ...more })
    await expect(wrong).rejects.toMatchObject({ status: 400, param })
  })
})

describe('routes that only an energy model has', () => {
  interface Landscape {
    text: string
    lines: { direction: string; at: number[]; energies: (number | null)[] }[]
  }
  const look = (body: object) =>
    client.post<Landscape>('/landscape', { body: { model: 'letters', prompt: 'once', ...body } })

  it('return the landscape around an answer', async () => {
    const refinement = { candidates: 3, noise: 0.05 }
    const { lines, text } = await look({ refinement, points: 9, seed: 3 })
    expect(text.length).toBeLessThanOrEqual(2)
    const kinds = lines.map(({ direction }) => direction)
    expect(kinds).toEqual(['candidate', 'candidate', 'gradient', 'random', 'random'])
    for (const { at, energies } of lines) {
      expect(at).toHaveLength(9)
      expect(energies).toHaveLength(9)
      // All lines cross in the middle.
      expect(energies[4]).toBeCloseTo(lines[0]?.energies[4] ?? NaN, 4)
    }
  })

  it.each([
    [{ points: 1 }, 'points'],
    [{ points: 257, random: 16 }, 'points'],
    [{ directions: ['up'] }, 'directions.0'],
    [{ prompt: '' }, 'prompt'],
  ])('refuse a landscape with %j for its field %s', async (body, param) => {
    await expect(look(body)).rejects.toMatchObject({ status: 400, param })
  })

  it('score answers and rank documents', async () => {
    const body = { model: 'letters', prompt: 'once', answers: [' upon', ' zzzz'] }
    const scores = await client.post<{ data: unknown[] }>('/score', { body })
    expect(scores.data).toHaveLength(2)
    const documents = ['upon a time', 'zzz']
    const ranked = await client.post<{ results: unknown[] }>('/rerank', {
      body: { model: 'letters', query: 'once', documents },
    })
    expect(ranked.results).toHaveLength(2)
  })
})
