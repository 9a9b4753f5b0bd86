/** `POST /v1/completions` without `stream`. */
import { afterEach, describe, expect, it } from 'vitest'
import type { Completion } from '../../src/server/schemas/completion-schema.js'
import { type ErrorBody, openServer, post, type TestServer } from '../support/server.js'

let server: TestServer
const open = async (...asked: Parameters<typeof openServer>) =>
  (server = await openServer(...asked))
const complete = (payload: object) => post(server.app, '/v1/completions', payload)

afterEach(() => server.app.close())

describe('a completion', () => {
  it('has a text, the usage and a summary of the descent', async () => {
    await open()
    const reply = await complete({ prompt: 'once', max_tokens: 3 })
    expect(reply.statusCode).toBe(200)
    const refinement = {
      steps: 12,
      energy: { initial: 8, final: 1, best: 1 },
      candidates: 1,
      converged: false,
      stop_reason: 'max_steps',
    }
    expect(reply.json()).toEqual({
      id: expect.stringMatching(/^cmpl-/) as string,
      object: 'text_completion',
      created: expect.any(Number) as number,
      model: 'scripted',
      choices: [
        {
          index: 0,
          text: 'alpha beta gamma ',
          logprobs: null,
          finish_reason: 'length',
          refinement,
        },
      ],
      usage: { prompt_tokens: 4, completion_tokens: 3, total_tokens: 7 },
      refinement,
    })
    expect(reply.headers['x-request-id']).toMatch(/^req_/)
  })

  it('uses the defaults of the API for fields that are absent or null', async () => {
    await open()
    const fields = ['max_tokens', 'temperature', 'top_p', 'n', 'stop', 'seed', 'logit_bias', 'user']
    await complete({ prompt: 'a' })
    await complete({ prompt: 'a', ...Object.fromEntries(fields.map((name) => [name, null])) })
    for (const job of server.engine.jobs) {
      expect(job).toMatchObject({
        prompt: 'a',
        maxTokens: 16,
        stop: [],
        sampling: { temperature: 1, topP: 1, topK: 0, presencePenalty: 0, logitBias: {} },
        budget: { maxSteps: 4, candidates: 1, select: 'min', keep: 'best' },
        reportSteps: false,
        hold: false,
      })
      expect(job).not.toHaveProperty('logprobs')
      expect(job).not.toHaveProperty('template')
    }
  })

  it('draws among all tokens where top_k is -1, as other servers spell it', async () => {
    await open()
    expect((await complete({ prompt: 'a', max_tokens: 1, top_k: -1 })).statusCode).toBe(200)
    expect(server.engine.jobs[0]?.sampling.topK).toBe(0)
  })

  it('passes every setting on to the engine', async () => {
    await open()
    const reply = await complete({
      model: 'scripted',
      prompt: [5, 6],
      max_tokens: 2,
      temperature: 0.5,
      top_p: 0.9,
      top_k: 7,
      stop: ['x', 'yz'],
      seed: 42,
      logprobs: 3,
      logit_bias: { 4: -100, 5: 1.5 },
      presence_penalty: 1,
      frequency_penalty: -1,
      refinement: {
        max_steps: 2,
        min_steps: 1,
        max_seconds: 5,
        tolerance: 0.1,
        patience: 2,
        gradient_tolerance: 0,
        energy_target: -3,
        candidates: 2,
        select: 'max_gap',
        step_size: 0.5,
        noise: 0.25,
        keep: 'last',
        accept_lower: true,
      },
    })
    expect(reply.statusCode).toBe(200)
    expect(server.engine.jobs).toMatchObject([
      {
        prompt: [5, 6],
        maxTokens: 2,
        stop: ['x', 'yz'],
        logprobs: 3,
        sampling: {
          temperature: 0.5,
          topP: 0.9,
          topK: 7,
          seed: 42,
          presencePenalty: 1,
          frequencyPenalty: -1,
          logitBias: { 4: -100, 5: 1.5 },
        },
        budget: {
          maxSteps: 2,
          minSteps: 1,
          maxSeconds: 5,
          tolerance: 0.1,
          patience: 2,
          gradientTolerance: 0,
          energyTarget: -3,
          candidates: 2,
          select: 'max_gap',
          stepSize: 0.5,
          noise: 0.25,
          keep: 'last',
          acceptLower: true,
        },
      },
    ])
    expect(reply.json<Completion>().choices[0]?.logprobs).toMatchObject({
      tokens: ['alpha ', 'beta '],
      text_offset: [0, 6],
    })
  })

  it.each([
    [{ refinement: { max_steps: 1 } }, 1, 'max_steps'],
    [{ refinement: { max_steps: 2 } }, 2, 'max_steps'],
    [{ refinement: { max_steps: 8 } }, 8, 'max_steps'],
    [{ refinement: { max_steps: null, tolerance: 1, patience: 3 } }, 4, 'converged'],
    [{ refinement: { max_steps: null, energy_target: 0.01 } }, 11, 'energy_target'],
    [{ reasoning_effort: 'none' }, 1, 'max_steps'],
    [{ reasoning_effort: 'low' }, 2, 'max_steps'],
    [{ reasoning_effort: 'xhigh' }, 16, 'max_steps'],
  ])('with %j takes %d steps and stops by %s', async (asked, steps, reason) => {
    await open()
    const reply = await complete({ prompt: 'a', max_tokens: 1, ...asked })
    expect(reply.json<Completion>().refinement).toMatchObject({ steps, stop_reason: reason })
  })

  it('orders choices by prompt, and counts the tokens of each prompt once', async () => {
    await open()
    const prompts = ['a', 'bb']
    const reply = await complete({ prompt: prompts, n: 2, max_tokens: 1, echo: true, seed: 5 })
    const { choices, usage } = reply.json<Completion>()
    expect(choices.map(({ index, text }) => [index, text])).toEqual([
      [0, 'aalpha '],
      [1, 'aalpha '],
      [2, 'bbalpha '],
      [3, 'bbalpha '],
    ])
    expect(usage).toEqual({ prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 })
    expect(server.engine.jobs.map(({ sampling }) => sampling.seed)).toEqual([5, 6, 5, 6])
  })

  it('echoes the prompt with its log-probabilities, the first of which is null', async () => {
    await open()
    const asked = { prompt: 'abc', echo: true, logprobs: 0 }
    const reply = await complete({ ...asked, max_tokens: 1, seed: 9 })
    const { choices, usage } = reply.json<Completion>()
    expect(choices[0]).toMatchObject({
      text: 'abcalpha ',
      logprobs: {
        tokens: ['a', 'b', 'c', 'alpha '],
        token_logprobs: [null, -2, -3, -9],
        top_logprobs: [null, {}, {}, {}],
        text_offset: [0, 1, 2, 3],
      },
    })
    expect(usage).toEqual({ prompt_tokens: 3, completion_tokens: 1, total_tokens: 4 })
    const read = (await complete({ ...asked, max_tokens: 0 })).json<Completion>()
    expect(read.choices[0]).toMatchObject({ text: 'abc', logprobs: { tokens: ['a', 'b', 'c'] } })
    expect(read.usage.completion_tokens).toBe(0)
  })

  it('has the n best of best_of choices by the energy of their tokens, best first', async () => {
    await open()
    const reply = await complete({ prompt: 'a', n: 2, best_of: 5, seed: 3, max_tokens: 2 })
    const { choices, usage } = reply.json<Completion>()
    expect(choices.map(({ index, logprobs }) => [index, logprobs])).toEqual([
      [0, null],
      [1, null],
    ])
    expect(server.engine.jobs.map(({ sampling }) => sampling.seed)).toEqual([3, 4, 5, 6, 7])
    expect(usage.completion_tokens).toBe(10)
  })

  it('fills the blanks of a template', async () => {
    await open()
    const reply = await complete({ template: '1_3' })
    expect(reply.json<Completion>().choices[0]?.text).toBe('113')
  })

  it('hides the reason of an engine failure from the client', async () => {
    await open()
    const reply = await complete({ prompt: 'explode' })
    expect(reply.statusCode).toBe(500)
    expect(reply.body).not.toContain('secret')
    expect(reply.json<ErrorBody>().error).toMatchObject({ type: 'server_error', code: 'internal' })
    expect(server.engine.outstanding).toBe(0)
  })

  it('ends the other choices if one fails', async () => {
    await open({ slots: 2 })
    const reply = await complete({ prompt: ['explode', 'a'], max_tokens: 40 })
    expect(reply.statusCode).toBe(500)
    expect(server.engine.outstanding).toBe(0)
  })
})

describe('a full queue', () => {
  it('refuses a request at once with 429 and Retry-After', async () => {
    await open({ auto: false, slots: 2, maxQueue: 1 })
    const { engine } = server
    const waiting = [1, 2, 3].map(() => complete({ prompt: 'a', max_tokens: 1 }))
    await expect.poll(() => engine.outstanding).toBe(3)
    const refused = await complete({ prompt: 'a' })
    expect(refused.statusCode).toBe(429)
    expect(refused.headers['retry-after']).toBe('1')
    expect(refused.json<ErrorBody>().error).toMatchObject({ code: 'queue_full' })
    for (let i = 0; i < 8; i++) engine.tick()
    expect((await Promise.all(waiting)).map(({ statusCode }) => statusCode)).toEqual([
      200, 200, 200,
    ])
  })

  it('takes either all choices of a request or none', async () => {
    await open({ auto: false, slots: 2, maxQueue: 1 })
    const refused = await complete({ prompt: 'a', n: 4 })
    expect(refused.statusCode).toBe(429)
    expect(server.engine.outstanding).toBe(0)
  })
})

describe('a server that shuts down', () => {
  it('refuses new requests with 503', async () => {
    await open()
    void server.engine.drain()
    const refused = await complete({ prompt: 'a' })
    expect(refused.statusCode).toBe(503)
    expect(refused.headers['retry-after']).toBe('5')
    expect(refused.json<ErrorBody>().error).toMatchObject({ code: 'shutting_down' })
  })
})
