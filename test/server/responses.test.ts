/** `/v1/responses` with a scripted engine. */
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { addKey, ApiKeys } from '../../src/server/api-keys.js'
import type { ResponseReply } from '../../src/server/schemas/response-schema.js'
import { outputText } from '../support/responses.js'
import { type ErrorBody, openServer, portOf, post, type TestServer } from '../support/server.js'

interface Event {
  type: string
  sequence_number: number
  response?: ResponseReply
  delta?: string
  step?: number
  item_id?: string
}

let server: TestServer
const open = async (...asked: Parameters<typeof openServer>) =>
  (server = await openServer(...asked))
afterEach(() => server.app.close())

const create = (payload: object) => post(server.app, '/v1/responses', payload)
const get = (path: string) => server.app.inject({ method: 'GET', url: `/v1/responses/${path}` })

/** A stream on its own connection, which closes when its reader stops. */
async function streamed(payload: object): Promise<IncomingMessage> {
  const asking = request({
    port: await portOf(server.app),
    path: '/v1/responses',
    method: 'POST',
    agent: false,
    headers: { 'content-type': 'application/json' },
  })
  asking.end(JSON.stringify({ stream: true, ...payload }))
  const [reply] = (await once(asking, 'response')) as [IncomingMessage]
  return reply
}

function eventsIn(body: string): Event[] {
  const parts = body.split('\n\n').filter((part) => part.startsWith('event: '))
  return parts.map((part) => {
    const [name = '', data = ''] = part.split('\n')
    const event = JSON.parse(data.replace(/^data: /, '')) as Event
    expect(name).toBe(`event: ${event.type}`)
    return event
  })
}

async function begun(payload: object): Promise<ResponseReply> {
  const reply = await create({ background: true, ...payload })
  expect(reply.statusCode).toBe(200)
  return reply.json<ResponseReply>()
}

const ended = async (id: string): Promise<ResponseReply> => {
  const done = ['completed', 'incomplete', 'failed', 'cancelled']
  await expect
    .poll(async () => (await get(id)).json<ResponseReply>().status)
    .toSatisfy((status) => done.includes(status as string))
  return (await get(id)).json<ResponseReply>()
}

const consecutive = (events: Event[], from = 0) => {
  expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, i) => from + i))
}

describe('a response', () => {
  it('has the fields of the Responses API', async () => {
    await open()
    const reply = await create({
      input: 'abc',
      max_output_tokens: 3,
      temperature: 0.5,
      seed: 4,
      metadata: { a: 'b' },
      reasoning: { effort: 'low' },
    })
    expect(reply.statusCode).toBe(200)
    expect(reply.json()).toMatchObject({
      object: 'response',
      status: 'incomplete',
      model: 'scripted',
      background: false,
      incomplete_details: { reason: 'max_output_tokens' },
      error: null,
      instructions: null,
      max_output_tokens: 3,
      previous_response_id: null,
      output: [
        {
          type: 'message',
          role: 'assistant',
          status: 'incomplete',
          content: [{ type: 'output_text', text: 'alpha beta gamma ', annotations: [] }],
        },
      ],
      usage: { input_tokens: 3, output_tokens: 3, total_tokens: 6 },
      temperature: 0.5,
      seed: 4,
      store: true,
      metadata: { a: 'b' },
      reasoning: { effort: 'low' },
      refinement: { steps: 6, stop_reason: 'max_steps' },
    })
  })

  it('joins the texts of its messages by blank lines for a model without a chat template', async () => {
    await open()
    const input = [
      { type: 'reasoning', id: 'rs_1', summary: [] },
      { role: 'user', content: 'a' },
      { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'b' }] },
      { role: 'user', content: [{ type: 'input_text', text: 'c' }] },
    ]
    await create({ input, instructions: 'd', max_output_tokens: 1 })
    const prompt = server.engine.jobs[0]?.prompt as number[]
    expect(String.fromCodePoint(...prompt)).toBe('d\n\nab\n\nc')
  })

  it('fills a template', async () => {
    await open()
    const reply = await create({ template: '_2_' })
    expect(outputText(reply.json<ResponseReply>())).toBe('121')
  })

  it('fills its template whatever its messages say, where the model fills puzzles', async () => {
    await open({ templateLength: 3 })
    const first = await create({ template: '_2_', input: 'Please', instructions: 'Be quick' })
    expect(first.json()).toMatchObject({ output: [{ content: [{ text: '121' }] }] })
    const { id } = first.json<ResponseReply>()
    const next = await create({ template: '3__', previous_response_id: id })
    expect(next.json()).toMatchObject({ output: [{ content: [{ text: '311' }] }] })
    expect(server.engine.jobs.map(({ prompt }) => prompt)).toEqual([[], []])
  })

  it('takes the budget and the terms of a completion in the background', async () => {
    await open({ templateLength: 3 })
    const { id, reasoning } = await begun({
      template: '_2_',
      reasoning_effort: 'low',
      refinement: {
        max_steps: 64,
        candidates: 2,
        restarts: { after: 8, policy: 'noise' },
        commit: { count: 1, after: 4 },
      },
      energy_terms: [{ type: 'compare', less: 0, than: 2, required: true }],
    })
    expect(reasoning.effort).toBe('low')
    expect(server.engine.jobs[0]).toMatchObject({
      template: '_2_',
      budget: {
        maxSteps: 64,
        candidates: 2,
        restarts: { after: 8, policy: 'noise' },
        commit: { count: 1, after: 4 },
      },
      terms: [{ type: 'compare', less: 0, than: 2, required: true }],
    })
    await ended(id)
  })

  it('may fill the context unless it limits its tokens', async () => {
    await open()
    await create({ input: 'abcd' })
    expect(server.engine.jobs[0]?.maxTokens).toBe(56)
  })

  it.each([
    [{ input: 'a', tools: [{ type: 'web_search' }] }, 'tools', 'not_supported'],
    [{ input: 'a', text: { format: { type: 'grammar' } } }, 'text.format.type', 'not_supported'],
    [{ input: 'a', truncation: 'auto' }, 'truncation', 'not_supported'],
    [{ input: [{ role: 'user' }] }, 'input.0.content', 'invalid_request'],
    [{ input: [{ content: 'a' }] }, 'input.0.role', 'invalid_request'],
    [{ input: [{ type: 'item_reference', id: 'x' }] }, 'input.0.type', 'not_supported'],
    [
      { input: [{ role: 'user', content: [{ type: 'input_image' }] }] },
      'input.0.content.0',
      'not_supported',
    ],
    [{ input: 'a', context_management: [] }, 'context_management', 'not_supported'],
    [{ input: 'a', background: true, store: false }, 'background', 'invalid_request'],
    [{ input: 'a', max_output_tokens: 0 }, 'max_output_tokens', 'out_of_range'],
    [{ input: 'a', temperature: 3 }, 'temperature', 'out_of_range'],
    [{ input: 'a', conversation: 'conv_1' }, 'conversation', 'not_supported'],
    [{ input: 'a', include: ['everything'] }, 'include.0', 'invalid_request'],
    [{ input: 'a', metadata: { a: 1 } }, 'metadata.a', 'invalid_request'],
    [{ input: [{ role: 'tool', content: 'a' }] }, 'input.0.role', 'invalid_request'],
    [{ input: '' }, 'prompt', 'empty_prompt'],
    [{ input: 'a'.repeat(100) }, 'prompt', 'context_length_exceeded'],
    [{ input: 'a'.repeat(70), background: true }, 'prompt', 'context_length_exceeded'],
    [{ input: 'a', previous_response_id: 'resp_x' }, 'previous_response_id', 'not_found'],
  ])('with %j is refused for its field %s with %s', async (payload, param, code) => {
    await open()
    const reply = await create(payload)
    expect(reply.statusCode).toBe(code === 'not_found' ? 404 : 400)
    expect(reply.json<ErrorBody>().error).toMatchObject({ param, code })
  })

  it('has an error status if the engine fails, and hides the reason', async () => {
    await open()
    const reply = await create({ input: 'explode', max_output_tokens: 2 })
    expect(reply.statusCode).toBe(500)
    expect(reply.body).not.toContain('secret')
  })
})

describe('a response stream', () => {
  it('has the standard events in their order, numbered', async () => {
    await open()
    const events = eventsIn((await create({ input: 'a', max_output_tokens: 2, stream: true })).body)
    expect(events.map(({ type }) => type.replace('response.', ''))).toEqual([
      'created',
      'in_progress',
      'output_item.added',
      'content_part.added',
      'output_text.delta',
      'output_text.delta',
      'output_text.done',
      'content_part.done',
      'output_item.done',
      'incomplete',
    ])
    consecutive(events)
    const text = events.map(({ delta }) => delta ?? '').join('')
    expect(text).toBe('alpha beta ')
    const last = events.at(-1)?.response
    expect(outputText(last ?? { output: [] })).toBe(text)
    expect((await get(last?.id ?? '')).json()).toEqual(last)
  })

  it.each([
    { stream_options: { include_refinement: true } },
    { include: ['basin:refinement_step'] },
  ])('has the steps of the descent with %j', async (asked) => {
    await open()
    const refinement = { max_steps: 3 }
    const payload = { input: 'a', max_output_tokens: 1, stream: true, refinement, ...asked }
    const events = eventsIn((await create(payload)).body)
    consecutive(events)
    const steps = events.filter(({ type }) => type === 'basin:refinement_step')
    expect(steps.map(({ step }) => step)).toEqual([1, 2, 3])
    for (const each of steps) expect(each.item_id).toMatch(/^msg_/)
  })

  it('has an error status if the request is refused before its first event', async () => {
    await open()
    const reply = await create({ input: 'a'.repeat(100), stream: true })
    expect(reply.statusCode).toBe(400)
  })

  it('ends with response.failed if the engine fails', async () => {
    await open()
    const events = eventsIn((await create({ input: 'explode', stream: true })).body)
    expect(events.at(-1)).toMatchObject({
      type: 'response.failed',
      response: { status: 'failed', error: { code: 'server_error', message: 'Internal error' } },
    })
  })

  it('ends its work when the client disconnects, and is kept as cancelled', async () => {
    await open({ auto: false })
    const reply = await streamed({ input: 'a', refinement: { max_steps: 1000 } })
    let text = ''
    for await (const chunk of reply) {
      text += String(chunk)
      if (text.includes('"id":"resp_')) break
    }
    const id = /"id":"(resp_[^"]+)"/.exec(text)?.[1] ?? ''
    await expect.poll(() => server.engine.outstanding).toBe(0)
    expect((await ended(id)).status).toBe('cancelled')
  })
})

describe('a background response', () => {
  const slow = { input: 'a', max_output_tokens: 2, refinement: { max_steps: 3 } }

  it('is queued, runs and completes while nobody reads it', async () => {
    await open({ auto: false })
    const { id, status } = await begun(slow)
    expect(status).toBe('queued')
    server.engine.tick()
    await expect.poll(async () => (await get(id)).json<ResponseReply>().status).toBe('in_progress')
    for (let i = 0; i < 3; i++) server.engine.tick()
    await expect.poll(async () => outputText((await get(id)).json<ResponseReply>())).toBe('alpha ')
    for (let i = 0; i < 3; i++) server.engine.tick()
    expect(await ended(id)).toMatchObject({
      status: 'incomplete',
      output: [{ content: [{ text: 'alpha beta ' }] }],
    })
  })

  it('repeats its events from any number on', async () => {
    await open()
    const { id } = await begun({ ...slow, include: ['basin:refinement_step'] })
    await ended(id)
    const all = eventsIn((await get(`${id}?stream=true`)).body)
    consecutive(all)
    expect(all.map(({ type }) => type).slice(0, 3)).toEqual([
      'response.created',
      'response.queued',
      'response.in_progress',
    ])
    for (const after of [0, 4, all.length - 1, 1000]) {
      const rest = eventsIn((await get(`${id}?stream=true&starting_after=${after}`)).body)
      expect(rest).toEqual(all.slice(after + 1))
    }
  })

  it('can be read by two clients at once while it runs', async () => {
    await open({ auto: false })
    const { id } = await begun(slow)
    const readers = [get(`${id}?stream=true`), get(`${id}?stream=true&starting_after=1`)]
    for (let i = 0; i < 6; i++) {
      server.engine.tick()
      await new Promise(setImmediate)
    }
    const [all = [], late = []] = (await Promise.all(readers)).map(({ body }) => eventsIn(body))
    consecutive(all)
    expect(all.at(-1)?.type).toBe('response.incomplete')
    expect(late).toEqual(all.slice(2))
  })

  it('goes on when the reader of its stream disconnects', async () => {
    await open({ auto: false })
    const reply = await streamed({ ...slow, background: true })
    expect(reply.statusCode).toBe(200)
    reply.destroy()
    await once(reply, 'close')
    await new Promise(setImmediate)
    expect(server.engine.outstanding).toBe(1)
  })

  it('ends when it is cancelled, and stays cancelled', async () => {
    await open({ auto: false })
    const other = await begun(slow)
    const { id } = await begun(slow)
    server.engine.tick()
    const cancel = () => post(server.app, `/v1/responses/${id}/cancel`, {})
    expect((await cancel()).json()).toMatchObject({ id, status: 'cancelled' })
    for (let i = 0; i < 6; i++) server.engine.tick()
    expect(await ended(id)).toMatchObject({ status: 'cancelled', refinement: null })
    expect((await cancel()).json()).toMatchObject({ status: 'cancelled' })
    const events = eventsIn((await get(`${id}?stream=true`)).body)
    consecutive(events)
    expect(events.at(-1)).toMatchObject({
      type: 'response.incomplete',
      response: { status: 'cancelled' },
    })
    expect((await ended(other.id)).status).toBe('incomplete')
  })

  it('can be cancelled while it is queued, without effect on another', async () => {
    await open({ auto: false, slots: 1 })
    const [first, second] = [await begun(slow), await begun(slow)]
    server.engine.tick()
    await post(server.app, `/v1/responses/${second.id}/cancel`, {})
    for (let i = 0; i < 6; i++) server.engine.tick()
    expect((await ended(first.id)).status).toBe('incomplete')
    expect((await ended(second.id)).status).toBe('cancelled')
  })

  it('is the only kind that can be cancelled', async () => {
    await open()
    const { id } = (await create({ input: 'a', max_output_tokens: 1 })).json<ResponseReply>()
    const reply = await post(server.app, `/v1/responses/${id}/cancel`, {})
    expect(reply.statusCode).toBe(400)
    expect(reply.json<ErrorBody>().error.param).toBe('id')
  })

  it('ends with its best answer so far after finish', async () => {
    await open({ auto: false })
    const { id } = await begun({ ...slow, refinement: { max_steps: 1000 } })
    server.engine.tick()
    expect((await post(server.app, `/v1/responses/${id}/finish`, {})).statusCode).toBe(200)
    server.engine.tick()
    expect(await ended(id)).toMatchObject({ refinement: { steps: 2, stop_reason: 'finished' } })
    expect((await post(server.app, `/v1/responses/${id}/finish`, {})).statusCode).toBe(404)
  })
})

describe('a stored response', () => {
  it('can be deleted', async () => {
    await open()
    const { id } = (await create({ input: 'a', max_output_tokens: 1 })).json<ResponseReply>()
    const reply = await server.app.inject({ method: 'DELETE', url: `/v1/responses/${id}` })
    expect(reply.json()).toEqual({ id, object: 'response', deleted: true })
    expect((await get(id)).statusCode).toBe(404)
    expect((await get(`${id}?stream=true`)).statusCode).toBe(404)
  })

  it('ends when it is deleted while it runs', async () => {
    await open({ auto: false })
    const { id } = await begun({ input: 'a', refinement: { max_steps: 1000 } })
    server.engine.tick()
    await server.app.inject({ method: 'DELETE', url: `/v1/responses/${id}` })
    expect(server.engine.outstanding).toBe(0)
    await expect.poll(async () => (await get(id)).statusCode).toBe(404)
  })

  it('does not exist with store: false', async () => {
    await open()
    const { id } = (
      await create({ input: 'a', max_output_tokens: 1, store: false })
    ).json<ResponseReply>()
    await expect.poll(async () => (await get(id)).statusCode).toBe(404)
  })

  it('expires after its time', async () => {
    await open({}, { responseSeconds: 0 })
    const { id } = (await create({ input: 'a', max_output_tokens: 1 })).json<ResponseReply>()
    await expect.poll(async () => (await get(id)).statusCode).toBe(404)
  })

  it('lists the messages of its input', async () => {
    await open()
    const input = ['a', 'b', 'c'].map((content) => ({ role: 'user', content }))
    const { id } = (await create({ input, max_output_tokens: 1 })).json<ResponseReply>()
    const list = async (query: string) =>
      (await get(`${id}/input_items${query}`)).json<{
        data: { id: string; content: { text: string }[] }[]
        has_more: boolean
        first_id: string
        last_id: string
      }>()
    const texts = ({ data }: Awaited<ReturnType<typeof list>>) =>
      data.map(({ content }) => content[0]?.text)
    expect(texts(await list(''))).toEqual(['c', 'b', 'a'])
    const page = await list('?order=asc&limit=2')
    expect(texts(page)).toEqual(['a', 'b'])
    expect(page).toMatchObject({ has_more: true, last_id: page.data[1]?.id })
    expect(texts(await list(`?order=asc&after=${page.last_id}`))).toEqual(['c'])
    expect((await get(`${id}/input_items?after=msg_x`)).statusCode).toBe(400)
    expect((await get(`${id}/input_items?limit=0`)).statusCode).toBe(400)
  })

  it('can be continued by previous_response_id', async () => {
    await open()
    const first = (await create({ input: 'ab', max_output_tokens: 1 })).json<ResponseReply>()
    const asked = { input: 'cd', max_output_tokens: 1, previous_response_id: first.id }
    const second = (await create(asked)).json<ResponseReply>()
    await create({ input: 'e', max_output_tokens: 1, previous_response_id: second.id })
    const prompts = server.engine.jobs.map(({ prompt }) =>
      String.fromCodePoint(...(prompt as number[])),
    )
    expect(prompts).toEqual(['ab', 'abalpha \n\ncd', 'abalpha \n\ncdalpha \n\ne'])
  })

  it.each(['?starting_after=1', '?stream=true&starting_after=-1', '?stream=maybe', '?page=1'])(
    'is refused with the query %s',
    async (query) => {
      await open()
      const { id } = (await create({ input: 'a', max_output_tokens: 1 })).json<ResponseReply>()
      const reply = await get(id + query)
      expect(reply.statusCode).toBe(400)
      expect(reply.json<ErrorBody>().error.param).not.toBeNull()
    },
  )

  it('is visible to the key that asked for it only', async () => {
    const path = join(mkdtempSync(join(tmpdir(), 'basin-keys-')), 'keys.json')
    const [alice, bob] = [addKey(path, 'alice'), addKey(path, 'bob')]
    await open({}, {}, ApiKeys.open(path))
    const ask = async (
      key: string,
      method: 'GET' | 'POST' | 'DELETE',
      url: string,
      body?: object,
    ) =>
      server.app.inject({
        method,
        url,
        headers: { authorization: `Bearer ${key}` },
        ...(body && { payload: body }),
      })
    const made = await ask(alice, 'POST', '/v1/responses', { input: 'a', background: true })
    const { id } = made.json<ResponseReply>()
    const url = `/v1/responses/${id}`
    for (const [method, path] of [
      ['GET', url],
      ['GET', `${url}?stream=true`],
      ['GET', `${url}/input_items`],
      ['POST', `${url}/cancel`],
      ['POST', `${url}/finish`],
      ['DELETE', url],
    ] as const) {
      expect((await ask(bob, method, path)).statusCode).toBe(404)
    }
    const chained = { input: 'b', previous_response_id: id }
    expect((await ask(bob, 'POST', '/v1/responses', chained)).statusCode).toBe(404)
    expect((await ask(alice, 'GET', url)).statusCode).toBe(200)
  })
})
