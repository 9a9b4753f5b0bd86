/** Traces of a real server, as a collector receives them: how long the parts of a request took, and no text. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { addKey } from '../../src/server/api-keys.js'
import { attributesOf, Collector, type Span } from '../support/collector.js'
import { Peer } from '../support/peer.js'
import { BasinProcess, Server, writeModels } from '../support/process.js'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 })

const SECRET = 'once upon a time'
const caller = { trace: '0af7651916cd43dd8448eb211c80319c', span: 'b7ad6b7169203331' }
const budget = { prompt: SECRET, max_tokens: 4, temperature: 0, refinement: { max_steps: 3 } }

describe('a trace collector', () => {
  let collector: Collector
  let spans: Span[]
  let key: string
  beforeAll(async () => {
    collector = await Collector.start()
    const keys = join(mkdtempSync(join(tmpdir(), 'basin-tracing-')), 'keys.json')
    key = addKey(keys, 'alice')
    const args = ['--keys', keys, '--otlp-endpoint', collector.url]
    const server = await Server.start(writeModels(), ...args)
    const ask = (path: string, body: object, headers: object) =>
      fetch(server.url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
      })
    const headers = { 'x-api-key': key, traceparent: `00-${caller.trace}-${caller.span}-01` }
    const asked = await ask('/v1/completions', { ...budget, n: 2 }, headers)
    await asked.text()
    await (await ask('/v1/completions', budget, {})).text()
    await (await fetch(`${server.url}/health`)).text()
    const peer = await Peer.connect(server.socket, { 'x-api-key': key })
    peer.say({ type: 'start', ...budget })
    await peer.finished()
    peer.socket.terminate()
    // Spans that have not been sent yet are sent at the end.
    expect((await server.stop()).code).toBe(0)
    spans = collector.spans
  })
  afterAll(() => {
    collector.close()
  })

  const named = (name: string): Span[] => spans.filter((span) => span.name === name)
  const below = ({ spanId }: Span): Span[] => spans.filter((span) => span.parentSpanId === spanId)
  const seconds = (span: Span): number =>
    Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)) / 1e9

  it('receives a span below that of the caller for each request, but none for /health', () => {
    const requests = named('POST /v1/completions')
    expect(requests.map((span) => attributesOf(span)['http.response.status_code'])).toEqual([
      200, 401,
    ])
    expect(requests[0]).toMatchObject({ traceId: caller.trace, parentSpanId: caller.span })
    expect(requests[1]?.parentSpanId).toBeUndefined()
    expect(spans.filter(({ name }) => name.includes('health'))).toEqual([])
    expect(collector.resource).toMatchObject({ 'service.name': 'basin' })
    expect(collector.received.every(({ url }) => url === '/v1/traces')).toBe(true)
  })

  it('receives the spans of each choice', () => {
    const [request] = named('POST /v1/completions')
    const runs = request ? below(request) : []
    expect(runs.map(({ name }) => name)).toEqual(['generate letters', 'generate letters'])
    for (const run of runs) {
      expect(attributesOf(run)).toMatchObject({
        'gen_ai.request.model': 'letters',
        'gen_ai.usage.output_tokens': 4,
      })
      const parts = below(run)
      expect(parts.map(({ name }) => name)).toEqual(['queue', 'prefill', 'refinement'])
      // The answers' steps, of two tokens each.
      expect(attributesOf(parts[2] as Span)).toMatchObject({
        'basin.answers': 2,
        'basin.steps': 6,
        'basin.stop_reason': 'max_steps',
      })
      const whole = parts.reduce((sum, part) => sum + seconds(part), 0)
      for (const part of parts) expect(seconds(part)).toBeGreaterThanOrEqual(0)
      expect(whole).toBeCloseTo(seconds(run), 2)
    }
  })

  it('receives the spans of a request on the socket', () => {
    const [run] = named('generate letters').filter(({ parentSpanId }) => !parentSpanId)
    expect(attributesOf(run as Span)).toMatchObject({ 'basin.route': '/v1/refine' })
    expect(below(run as Span)).toHaveLength(3)
  })

  it('receives no text, no key and no address', () => {
    const all = collector.received.map(({ body }) => body).join()
    expect(all).toContain('refinement')
    for (const secret of [SECRET, 'upon', key, 'alice', '127.0.0.1']) {
      expect(all).not.toContain(secret)
    }
  })
})

it('a collector that cannot be reached is only warned of', async () => {
  const server = await Server.start(writeModels(), '--otlp-endpoint', 'http://127.0.0.1:1')
  await server.complete({ ...budget, refinement: { max_steps: 1 } })
  const { code, stderr } = await server.stop()
  expect(code).toBe(0)
  expect(stderr).toMatch(/ECONNREFUSED.*traces: |traces: .*ECONNREFUSED/)
})

it('an endpoint that is not a URL is refused', async () => {
  const server = new BasinProcess('serve', '--models', writeModels(), '--otlp-endpoint', 'nowhere')
  const { code, stderr } = await server.ended
  expect(code).toBe(1)
  expect(stderr).toContain('is not the URL of a collector')
})
