/** Invalid requests: each gets a status and the name of the field at fault, and the server goes on. */
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ErrorBody, openServer, portOf, post, type TestServer } from '../support/server.js'

let server: TestServer

beforeAll(async () => {
  server = await openServer({}, { bodyBytes: 65_536 })
})

afterAll(() => server.app.close())

const errorOf = (reply: { body: string }) => (JSON.parse(reply.body) as ErrorBody).error
const sound = { prompt: 'a', max_tokens: 1 }
const huge = 1e308

const wrongFields: [object | string, string][] = [
  [{ prompt: 5 }, 'prompt'],
  [{ prompt: { text: 'a' } }, 'prompt'],
  [{ prompt: ['a', 5] }, 'prompt'],
  [{ prompt: [1.5] }, 'prompt'],
  [{ prompt: [-1] }, 'prompt.0'],
  [{ prompt: '' }, 'prompt'],
  [{ prompt: [] }, 'prompt'],
  [{ prompt: null }, 'prompt'],
  [{}, 'prompt'],
  [{ prompt: 'a'.repeat(100) }, 'prompt'],
  [{ max_tokens: '5' }, 'max_tokens'],
  [{ max_tokens: 0 }, 'max_tokens'],
  [{ max_tokens: -1 }, 'max_tokens'],
  [{ max_tokens: 1.5 }, 'max_tokens'],
  [{ max_tokens: huge }, 'max_tokens'],
  ['{"prompt":"a","max_tokens":1e999}', 'max_tokens'],
  [{ temperature: -0.1 }, 'temperature'],
  [{ temperature: huge }, 'temperature'],
  [{ temperature: [] }, 'temperature'],
  [{ top_p: 1.01 }, 'top_p'],
  [{ top_k: -2 }, 'top_k'],
  [{ n: 0 }, 'n'],
  [{ n: 129 }, 'n'],
  [{ n: 100 }, 'n'],
  [{ best_of: huge }, 'best_of'],
  [{ n: 3, best_of: 2 }, 'best_of'],
  [{ best_of: 3, stream: true }, 'best_of'],
  [{ best_of: 100 }, 'best_of'],
  [{ echo: true, logprobs: 1, template: '_' }, 'echo'],
  [{ stop: '' }, 'stop'],
  [{ stop: ['a', ''] }, 'stop.1'],
  [{ stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop'],
  [{ stop: 5 }, 'stop'],
  [{ seed: 2 ** 60 }, 'seed'],
  [{ seed: 1.5 }, 'seed'],
  [{ logprobs: 6 }, 'logprobs'],
  [{ logprobs: true }, 'logprobs'],
  [{ logit_bias: { 3: 101 } }, 'logit_bias.3'],
  [{ logit_bias: { 3: 'x' } }, 'logit_bias.3'],
  [{ logit_bias: { x: 1 } }, 'logit_bias.x'],
  [{ logit_bias: { 4096: 1 } }, 'logit_bias.4096'],
  [{ presence_penalty: 3 }, 'presence_penalty'],
  [{ frequency_penalty: -3 }, 'frequency_penalty'],
  [{ template: 5 }, 'template'],
  [{ reasoning_effort: 'extreme' }, 'reasoning_effort'],
  [{ refinement: 5 }, 'refinement'],
  [{ refinement: { max_steps: -1 } }, 'refinement.max_steps'],
  [{ refinement: { max_steps: 0 } }, 'refinement.max_steps'],
  [{ refinement: { max_steps: 2.5 } }, 'refinement.max_steps'],
  [{ refinement: { max_steps: 1e6 } }, 'refinement.max_steps'],
  [{ refinement: { max_steps: huge } }, 'refinement.max_steps'],
  [{ refinement: { max_steps: 'NaN' } }, 'refinement.max_steps'],
  ['{"prompt":"a","refinement":{"max_steps":1e999}}', 'refinement.max_steps'],
  [{ refinement: { min_steps: 9 } }, 'refinement.min_steps'],
  [{ refinement: { max_seconds: 0 } }, 'refinement.max_seconds'],
  [{ refinement: { max_seconds: huge } }, 'refinement.max_seconds'],
  ['{"prompt":"a","refinement":{"max_seconds":-1e999}}', 'refinement.max_seconds'],
  [{ refinement: { tolerance: -1 } }, 'refinement.tolerance'],
  [{ refinement: { patience: 0 } }, 'refinement.patience'],
  [{ refinement: { energy_target: huge } }, 'refinement.energy_target'],
  [{ refinement: { candidates: 0 } }, 'refinement.candidates'],
  [{ refinement: { candidates: 65 } }, 'refinement.candidates'],
  [{ refinement: { select: 'best' } }, 'refinement.select'],
  [{ refinement: { allocation: 'fair' } }, 'refinement.allocation'],
  [{ refinement: { step_size: 0 } }, 'refinement.step_size'],
  [{ refinement: { noise: -1 } }, 'refinement.noise'],
  [{ refinement: { keep: 'first' } }, 'refinement.keep'],
  [{ refinement: { accept_lower: 'yes' } }, 'refinement.accept_lower'],
  [{ refinement: { steps: 3 } }, 'refinement.steps'],
  [{ stream: 'yes' }, 'stream'],
  [{ stream_options: { include_usage: true } }, 'stream_options'],
  [{ stream: true, stream_options: { include: 1 } }, 'stream_options.include'],
  [{ suffix: 'the end' }, 'suffix'],
  [{ promt: 'a' }, 'promt'],
]

describe('a completion request', () => {
  it.each(wrongFields)('with %j is refused for its field %s', async (wrong, param) => {
    const asked = typeof wrong === 'object' && 'max_tokens' in wrong ? { prompt: 'a' } : sound
    const whole = typeof wrong === 'string' || Object.keys(wrong).length === 0 || 'prompt' in wrong
    const reply = await post(server.app, '/v1/completions', whole ? wrong : { ...asked, ...wrong })
    expect([reply.statusCode, errorOf(reply).param]).toEqual([400, param])
    expect(errorOf(reply).type).toBe('invalid_request_error')
    expect(server.engine.outstanding).toBe(0)
  })

  it('is answered with the bound and the value that exceeds it', async () => {
    const reply = await post(server.app, '/v1/completions', { ...sound, temperature: 2.5 })
    expect(errorOf(reply).message).toBe('temperature must be <= 2, got 2.5')
  })

  it.each([
    ['repeat_penalty', 'repetition_penalty'],
    ['num_predict', 'max_tokens'],
    ['grammar', 'guided_grammar'],
  ])('with %s, a name of another server, is told of %s', async (name, meant) => {
    const reply = await post(server.app, '/v1/completions', { ...sound, [name]: 1 })
    expect(errorOf(reply).message).toBe(`${name}: is not a field of this request; use ${meant}`)
  })

  it.each([
    ['/completions', '/v1/completions'],
    ['/v1/v1/chat/completions', '/v1/chat/completions'],
    ['/api/chat', '/v1/chat/completions'],
    ['/api/generate', '/v1/completions'],
  ])('to %s is told of %s', async (url, meant) => {
    const reply = await post(server.app, url, sound)
    expect(reply.statusCode).toBe(404)
    expect(errorOf(reply).message).toBe(`This path (the API has ${meant}) not found`)
  })

  it('for an unknown model gets 404 and the names of the models that are served', async () => {
    const reply = await post(server.app, '/v1/completions', { ...sound, model: 'oracle' })
    expect(reply.statusCode).toBe(404)
    expect(errorOf(reply)).toMatchObject({ code: 'model_not_found', param: 'model' })
    expect(errorOf(reply).message).toContain('scripted')
  })

  it.each([
    ['that is empty', ''],
    ['that is not JSON', '{"prompt":'],
    ['that is not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d])],
    ['that is a list', '[]'],
    ['that is NaN', 'NaN'],
    ['that is null', 'null'],
    ['that would poison prototypes', '{"prompt":"a","__proto__":{"admin":true}}'],
  ])('with a body %s is refused', async (_, body) => {
    const reply = await post(server.app, '/v1/completions', body)
    expect([reply.statusCode, errorOf(reply).param]).toEqual([400, 'body'])
  })

  it('whose JSON nests 30,000 deep is refused', async () => {
    const body = `{"prompt":${'['.repeat(30_000)}${']'.repeat(30_000)}}`
    const reply = await post(server.app, '/v1/completions', body)
    expect([reply.statusCode, errorOf(reply).param]).toEqual([400, 'body'])
  })

  it('whose body exceeds the limit gets 413', async () => {
    const reply = await post(server.app, '/v1/completions', { prompt: 'a'.repeat(70_000) })
    expect(reply.statusCode).toBe(413)
    expect(errorOf(reply)).toMatchObject({
      code: 'body_too_large',
      message: 'The body exceeds 65536 bytes',
    })
  })

  it('of another content type gets 415', async () => {
    const headers = { 'content-type': 'text/plain' }
    const reply = await server.app.inject({
      method: 'POST',
      url: '/v1/completions',
      payload: 'prompt',
      headers,
    })
    expect(reply.statusCode).toBe(415)
    expect(errorOf(reply).code).toBe('unsupported_media_type')
  })
})

describe('a path', () => {
  it('that is unknown gets 404 in the shape of every error', async () => {
    const reply = await server.app.inject({ method: 'GET', url: '/v1/nothing' })
    expect(reply.statusCode).toBe(404)
    expect(errorOf(reply)).toMatchObject({ code: 'not_found', type: 'invalid_request_error' })
  })

  it('gets 405 and the methods that it has for another method', async () => {
    const reply = await server.app.inject({ method: 'GET', url: '/v1/completions' })
    expect([reply.statusCode, reply.headers['allow']]).toEqual([405, 'POST'])
    expect(errorOf(reply).code).toBe('method_not_allowed')
  })

  it('that cannot be decoded gets 400', async () => {
    const reply = await server.app.inject({ method: 'GET', url: '/v1/models/%E0%A4%A' })
    expect([reply.statusCode, errorOf(reply).param]).toEqual([400, 'url'])
  })

  it.each([
    ['oracle', 'oracle'],
    ['500 letters', 'x'.repeat(500)],
  ])('of an unknown model gets 404: %s', async (_, model) => {
    const reply = await server.app.inject({ method: 'GET', url: `/v1/models/${model}` })
    expect(reply.statusCode).toBe(404)
  })

  it('for sockets refuses requests without an upgrade', async () => {
    const reply = await server.app.inject({ method: 'GET', url: '/v1/refine' })
    expect([reply.statusCode, errorOf(reply).param]).toEqual([400, 'upgrade'])
  })
})

describe('a connection', () => {
  it.each([
    ['that is not HTTP', 'who is there?\r\n\r\n', 400, 'invalid_request'],
    [
      'with headers without end',
      `GET / HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
      431,
      'headers_too_large',
    ],
  ])('%s gets an error and is closed', async (_, sent, status, code) => {
    const socket = connect(await portOf(server.app), '127.0.0.1')
    socket.write(sent)
    let received = ''
    for await (const data of socket) received += String(data)
    expect(received).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(received).toContain(`"code":"${code}"`)
  })
})

describe('a request to score or rank', () => {
  it('with more answers than a request may have choices is refused', async () => {
    const reply = await post(server.app, '/v1/score', { answers: new Array<string>(65).fill('a') })
    expect([reply.statusCode, errorOf(reply).param]).toEqual([400, 'answers'])
  })

  it.each([
    ['/v1/score', {}, 'answers'],
    ['/v1/score', { answers: [] }, 'answers'],
    ['/v1/score', { answers: 'a' }, 'answers'],
    ['/v1/score', { answers: ['a'], by: 'magic' }, 'by'],
    ['/v1/score', { answers: ['a'], refinement: { max_steps: -1 } }, 'refinement.max_steps'],
    ['/v1/rerank', { query: 'a' }, 'documents'],
    ['/v1/rerank', { documents: ['a'] }, 'query'],
    ['/v1/rerank', { query: 'a', documents: ['a'], top_n: 0 }, 'top_n'],
    ['/v1/rerank', { query: 'a', documents: [{ title: 'a' }] }, 'documents.0.text'],
  ])('at %s with %j is refused for its field %s', async (url, body, param) => {
    const reply = await post(server.app, url, body)
    expect([reply.statusCode, errorOf(reply).param]).toEqual([400, param])
  })
})

describe('a request to tokenize', () => {
  it.each([
    ['/v1/tokenize', {}, 'text'],
    ['/v1/tokenize', { text: 5 }, 'text'],
    ['/v1/detokenize', { tokens: 'a' }, 'tokens'],
    ['/v1/detokenize', { tokens: [-1] }, 'tokens.0'],
    ['/v1/detokenize', { tokens: [huge] }, 'tokens.0'],
  ])('at %s with %j is refused for its field %s', async (url, body, param) => {
    const reply = await post(server.app, url, body)
    expect([reply.statusCode, errorOf(reply).param]).toEqual([400, param])
  })
})
