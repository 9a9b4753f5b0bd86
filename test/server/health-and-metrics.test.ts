/** What an operator sees: models, health, readiness, metrics, and the pages that describe the API. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ErrorBody, openServer, post, type TestServer } from '../support/server.js'

let server: TestServer
const get = (url: string) => server.app.inject({ method: 'GET', url })

beforeEach(async () => {
  server = await openServer()
})
afterEach(() => server.app.close())

describe('models', () => {
  it('are listed with their capabilities', async () => {
    const list = (await get('/v1/models')).json<{ object: string; data: object[] }>()
    const model = {
      id: 'scripted',
      object: 'model',
      owned_by: 'basin',
      capabilities: { context_length: 64, block: 4, steps: 4, template: { blank: '_' } },
    }
    expect(list).toMatchObject({ object: 'list', data: [model] })
    expect((await get('/v1/models/scripted')).json()).toEqual(list.data[0])
  })

  it('turn text into tokens and back', async () => {
    const tokens = (await post(server.app, '/v1/tokenize', { text: 'añ' })).json<object>()
    expect(tokens).toEqual({ model: 'scripted', tokens: [97, 241], count: 2 })
    const text = await post(server.app, '/v1/detokenize', { model: 'scripted', tokens: [97, 241] })
    expect(text.json()).toEqual({ model: 'scripted', text: 'añ' })
  })
})

describe('health', () => {
  it('says which engine runs which model', async () => {
    const reply = await get('/health')
    expect(reply.statusCode).toBe(200)
    expect(reply.json()).toMatchObject({
      status: 'ok',
      version: '0.0.0-test',
      models: [{ model: 'scripted', engine: { name: 'scripted' }, waiting: 0, outstanding: 0 }],
    })
  })

  it('is 503 while an engine does not answer, and 200 again after', async () => {
    for (const silence of [31, Infinity]) {
      server.engine.silence = silence
      for (const url of ['/health', '/ready']) {
        const reply = await get(url)
        expect(reply.statusCode).toBe(503)
        expect(reply.json()).toMatchObject({ status: 'stalled', models: [{ stalled: true }] })
      }
    }
    server.engine.silence = 29
    expect((await get('/health')).statusCode).toBe(200)
  })

  it('stays 200 while the server drains, and readiness becomes 503', async () => {
    expect((await get('/ready')).statusCode).toBe(200)
    server.draining = true
    expect((await get('/health')).statusCode).toBe(200)
    const ready = await get('/ready')
    expect(ready.statusCode).toBe(503)
    expect(ready.json()).toMatchObject({ status: 'draining' })
  })
})

/** A line of Prometheus's format: a HELP or TYPE comment, or a sample. */
const exposition =
  /^(# (HELP|TYPE) [a-zA-Z_:][a-zA-Z0-9_:]* .+|[a-zA-Z_:][a-zA-Z0-9_:]*(\{[^}]*\})? (-?[0-9.e+-]+|NaN|[+-]Inf))$/i

/** The sum of a metric's samples that carry these labels, NaN if there is none. */
function sample(text: string, name: string, ...labels: string[]): number {
  const values = text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) && labels.every((label) => line.includes(label)))
    .map((line) => Number(line.slice(line.lastIndexOf(' '))))
  return values.length === 0 ? NaN : values.reduce((sum, value) => sum + value)
}

describe('metrics', () => {
  const figures = async () => (await get('/metrics')).body

  it('are in the format of Prometheus', async () => {
    await post(server.app, '/v1/completions', { prompt: 'a' })
    const reply = await get('/metrics')
    expect(reply.headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/)
    const lines = reply.body.split('\n').filter((line) => line !== '')
    for (const line of lines) expect(line).toMatch(exposition)
  })

  it('count completions, answers, steps and energies', async () => {
    await post(server.app, '/v1/completions', { prompt: 'abc', max_tokens: 2 })
    await post(server.app, '/v1/completions', { prompt: 'explode' })
    await post(server.app, '/v1/completions', { prompt: '' })
    const text = await figures()
    const of = (name: string, ...labels: string[]) =>
      sample(text, `basin_${name}`, 'model="scripted"', ...labels)
    expect(of('completions_total', 'finish_reason="length"')).toBe(1)
    expect(of('completions_total', 'finish_reason="failed"')).toBe(2)
    expect(of('prompt_tokens_total')).toBe(3 + 7)
    expect(of('completion_tokens_total')).toBe(3)
    expect(of('answers_total', 'stop_reason="max_steps"')).toBe(3)
    expect(of('answer_steps_sum')).toBe(12)
    expect(of('answer_energy_first_sum')).toBe(24)
    expect(of('answer_energy_last_sum')).toBe(3)
    expect(of('answer_energy_drop_sum')).toBe(21)
    expect(of('time_to_first_token_seconds_count')).toBe(2)
    expect(of('inter_token_latency_seconds_count')).toBe(1)
    expect(of('refinement_steps_total')).toBe(12)
    expect(of('step_duration_seconds_count')).toBe(12)
    expect(of('tick_rows_sum')).toBe(12)
    const route = 'route="/v1/completions"'
    expect(sample(text, 'basin_errors_total', route, 'code="empty_prompt"')).toBe(1)
    expect(sample(text, 'basin_errors_total', route, 'code="engine_failed"')).toBe(1)
    expect(sample(text, 'basin_http_requests_total', route, 'status="200"')).toBe(1)
  })

  it('begin at zero, and describe engine, cache and process', async () => {
    const text = await figures()
    for (const name of [
      'basin_requests{model="scripted",state="running"} 0',
      'basin_requests{model="scripted",state="waiting"} 0',
      'basin_cache_pages_used{model="scripted"} 0',
      'basin_cache_pages{model="scripted"} 64',
      'basin_slots{model="scripted"} 8',
      'basin_sockets_open 0',
      'basin_engine_info{model="scripted",engine="scripted",backend="paper",threads="1"} 1',
      'basin_build_info{version="0.0.0-test"} 1',
    ]) {
      expect(text).toContain(`${name}\n`)
    }
    for (const name of [
      'basin_process_resident_memory_bytes',
      'basin_process_cpu_seconds_total',
      'basin_nodejs_eventloop_lag_p99_seconds',
      'basin_queue_duration_seconds',
      'basin_engine_seconds_total',
    ]) {
      expect(text).toContain(`# TYPE ${name} `)
    }
  })

  it('have no more series for clients that ask for unknown paths, models and users', async () => {
    const own = async () =>
      (await figures()).split('\n').filter((line) => !/basin_(nodejs|process)_/.test(line))
    const ask = async (i: number) => {
      await get(`/stray/${i}`)
      await post(server.app, '/v1/completions', { prompt: 'a', model: `m${i}`, user: `u${i}` })
    }
    await own()
    await ask(0)
    const after = await own()
    expect(after.join()).toContain('route="unknown"')
    for (let i = 1; i < 20; i++) await ask(i)
    expect(await own()).toHaveLength(after.length)
  })
})

describe('the OpenAPI document', () => {
  it('has every route and the errors it may answer', async () => {
    const { openapi, paths } = (await get('/openapi.json')).json<{
      openapi: string
      paths: Record<string, Record<string, { responses: Record<string, unknown> }>>
    }>()
    expect(openapi).toBe('3.1.0')
    expect(Object.keys(paths)).toEqual(
      expect.arrayContaining([
        '/v1/models',
        '/v1/models/{model}',
        '/v1/completions',
        '/v1/tokenize',
        '/v1/detokenize',
        '/health',
        '/ready',
        '/metrics',
      ]),
    )
    expect(Object.keys(paths['/v1/completions']?.['post']?.responses ?? {})).toEqual(
      expect.arrayContaining(['200', '400', '404', '413', '415', '429', '500', '503']),
    )
  })

  it('is shown by a page that loads everything from this server', async () => {
    expect((await get('/')).headers['location']).toBe('/docs')
    const page = await get('/docs')
    const html = page.statusCode === 302 ? await get(page.headers['location'] as string) : page
    expect(html.headers['content-type']).toMatch(/^text\/html/)
    const parts = [...html.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path ?? '')
    expect(parts.length).toBeGreaterThan(2)
    for (const path of parts) {
      expect(path).not.toMatch(/^https?:/)
      expect((await get(new URL(path, 'http://host/docs/').pathname)).statusCode).toBe(200)
    }
  })
})

describe('every reply', () => {
  it('has a request id of its own, errors included', async () => {
    const replies = [await get('/health'), await get('/health'), await get('/stray')]
    const ids = replies.map(({ headers }) => headers['x-request-id'])
    expect(new Set(ids).size).toBe(3)
    expect((await get('/stray')).json<ErrorBody>().error.code).toBe('not_found')
  })
})
