/** The official client against the real process. */
import OpenAI, { BadRequestError, NotFoundError } from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Server, writeModels } from '../support/process.js'

let server: Server
let client: OpenAI

beforeAll(async () => {
  server = await Server.start(writeModels())
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 })
})

afterAll(() => server.stop())

const request = { model: 'letters', prompt: 'once upon a time', max_tokens: 8, temperature: 0 }

describe('the official client', () => {
  it('lists and retrieves models', async () => {
    const ids: string[] = []
    for await (const model of client.models.list()) ids.push(model.id)
    expect(ids).toEqual(['letters'])
    expect(await client.models.retrieve('letters')).toMatchObject({ object: 'model' })
  })

  it('completes', async () => {
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

  it('streams the same text, with its usage', async () => {
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

  it('aborts a stream, and the server stops working on it', async () => {
    const stream = await client.completions.create({
      ...request,
      stream: true,
      refinement: { max_steps: null, tolerance: 0 },
    } as OpenAI.CompletionCreateParamsStreaming)
    await expect.poll(() => server.metric('basin_slots_used')).toBe(1)
    stream.controller.abort()
    await expect.poll(() => server.metric('basin_slots_used'), { timeout: 10_000 }).toBe(0)
  })

  it('understands what is wrong', async () => {
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
