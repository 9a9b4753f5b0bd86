/** `energy_terms` over HTTP and on the socket. The server and the model of 6x6 sudokus are real. */
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EngineClient } from '../../src/generation/client/engine-client.js'
import { startEngineClient } from '../../src/generation/client/engine-client.js'
import { type Limits, defaultLimits } from '../../src/server/limits.js'
import type { App } from '../../src/server/context.js'
import type { Completion } from '../../src/server/schemas/completion-schema.js'
import { Peer } from '../support/peer.js'
import { appOf, type ErrorBody, openServer, post, socketAddress } from '../support/server.js'

const template = '_4______6__1_5__2___45____1__63_____'
const rows = Array.from({ length: 6 }, (_, row) => Array.from({ length: 6 }, (_, i) => 6 * row + i))
const refinement = { candidates: 4, noise: 1, noise_steps: 1, max_steps: 24 }

const engineOf = (model: string, engine = 'auto'): Promise<EngineClient> =>
  startEngineClient(
    {
      modelPath: fileURLToPath(new URL(`../../models/${model}`, import.meta.url)),
      engine,
      threads: 1,
      slots: 8,
      pages: 64,
      maxQueue: 16,
      prefillChunk: 64,
      holdSeconds: 30,
      pauseSeconds: 30,
      watchdogSeconds: 0,
    },
    new URL('../../dist/generation/core/worker.js', import.meta.url),
  )

let engine: EngineClient
let app: App
beforeAll(async () => {
  engine = await engineOf('sudoku6')
  app = await appOf(engine)
})
afterAll(async () => {
  await app.close()
  await engine.close()
})

const complete = async (body: object, of = app): Promise<Completion> => {
  const reply = await post(of, '/v1/completions', { template, refinement, seed: 1, ...body })
  expect(reply.statusCode, reply.body).toBe(200)
  return reply.json()
}

const errorOf = async (energy_terms: unknown, of = app, body: object = {}) => {
  const reply = await post(of, '/v1/completions', { template, energy_terms, ...body })
  expect(reply.statusCode).toBe(400)
  return reply.json<ErrorBody>().error
}

describe('a completion with terms', () => {
  it('has their values in every step and at the end, and counts them in the metrics', async () => {
    const energy_terms = [
      { type: 'distinct', positions: rows, required: true },
      { type: 'compare', less: 0, than: 2, weight: 5 },
      { type: 'sum', positions: rows[0], equals: 21, tolerance: 0.5 },
      { type: 'count', token: '3', equals: 6 },
    ]
    const body = { energy_terms, stream: true, stream_options: { include_refinement: true } }
    const reply = await post(app, '/v1/completions', { template, refinement, seed: 1, ...body })
    const chunks = reply.body
      .split('\n')
      .filter((line) => line.startsWith('data: {'))
      .map(
        (line) => JSON.parse(line.slice(6)) as { refinement?: { type: string; terms?: object[] } },
      )
    const told = chunks.flatMap(({ refinement }) => (refinement ? [refinement] : []))
    expect(told.filter(({ type }) => type === 'step').length).toBeGreaterThan(3)
    for (const each of told) expect(each.terms).toHaveLength(4)
    const last = told.at(-1)
    expect(last?.type).toBe('finished')
    expect(last?.terms).toEqual([
      { type: 'distinct', value: expect.any(Number) as number, satisfied: true },
      {
        type: 'compare',
        value: expect.any(Number) as number,
        satisfied: expect.any(Boolean) as boolean,
      },
      { type: 'sum', value: expect.any(Number) as number, satisfied: true },
      { type: 'count', value: expect.any(Number) as number, satisfied: true },
    ])
    await new Promise(setImmediate)
    const metrics = (await app.inject('/metrics')).body
    expect(metrics).toMatch(
      /basin_terms_total\{model="sudoku6",type="distinct",satisfied="true"\} 1/,
    )
  })

  it('finishes as unsatisfied where a required term is not met, and counts it', async () => {
    const energy_terms = [{ type: 'count', token: '1', equals: 36, required: true }]
    const { choices } = await complete({ energy_terms })
    expect(choices[0]?.finish_reason).toBe('unsatisfied')
    expect(choices[0]?.refinement.terms).toMatchObject([{ type: 'count', satisfied: false }])
    await new Promise(setImmediate)
    expect((await app.inject('/metrics')).body).toMatch(
      /basin_completions_total\{model="sudoku6",route="\/v1\/completions",finish_reason="unsatisfied"\} 1/,
    )
  })

  it('forces and forbids tokens', async () => {
    const first = template.indexOf('_')
    const plain = (await complete({})).choices[0]?.text[first] ?? ''
    const term = { type: 'token', position: first, tokens: [plain], weight: 200, required: true }
    const kept = await complete({ energy_terms: [term] })
    expect(kept.choices[0]?.text[first]).toBe(plain)
    const other = await complete({ energy_terms: [{ ...term, not: true }] })
    expect(other.choices[0]?.text[first]).not.toBe(plain)
    expect(other.choices[0]?.finish_reason).toBe('stop')
  })

  it('puts choices that satisfy it first where the best of several are returned', async () => {
    const energy_terms = [{ type: 'compare', less: 0, than: 2, required: true, weight: 40 }]
    const { choices } = await complete({ energy_terms, n: 1, best_of: 4, temperature: 1 })
    expect(choices[0]?.finish_reason).toBe('stop')
  })

  it('is the same on the tfjs engine: the rule is obeyed and told', async () => {
    const other = await engineOf('sudoku6', 'tfjs:wasm')
    const there = await appOf(other)
    const energy_terms = [{ type: 'distinct', positions: rows, required: true }]
    const { choices } = await complete({ energy_terms, refinement: { max_steps: 16 } }, there)
    expect(choices[0]?.refinement.terms).toMatchObject([{ satisfied: true }])
    await there.close()
    await other.close()
  })

  it('works on the socket', async () => {
    const peer = await Peer.connect(await socketAddress(app))
    const energy_terms = [{ type: 'sum', positions: rows[1], equals: 21, required: true }]
    peer.say({ type: 'start', template, refinement, energy_terms, hold: false })
    const { finish_reason, refinement: summary } = await peer.finished()
    expect(finish_reason).toBe('stop')
    expect(summary).toMatchObject({ terms: [{ type: 'sum', satisfied: true }] })
    for (const step of peer.steps())
      expect(step).toMatchObject({ terms: [{ type: 'sum', value: expect.any(Number) as number }] })
    peer.socket.close()
  })

  it('pulls text towards what it names', async () => {
    const stories = await engineOf('stories')
    const there = await appOf(stories)
    const body = {
      template: null,
      prompt: 'Once upon a time there was a',
      refinement: {},
      max_tokens: 12,
      temperature: 0,
    }
    const asked = { type: 'contains', text: ' dog', weight: 60, required: true }
    const plain = (await complete(body, there)).choices[0]?.text ?? ''
    const pulled = (await complete({ ...body, energy_terms: [asked] }, there)).choices[0]
    expect(plain).not.toContain(' dog')
    expect(pulled?.text).toContain(' dog')
    expect(pulled?.finish_reason).toBe('length')
    const near = { type: 'similar', text: 'dog', weight: 1, tolerance: 2 }
    const { refinement } =
      (await complete({ ...body, energy_terms: [near] }, there)).choices[0] ?? {}
    const value = refinement?.terms?.[0]?.value ?? NaN
    expect(value).toBeGreaterThan(0)
    expect(value).toBeLessThan(2)
    await there.close()
    await stories.close()
  })
})

describe('errors of terms', () => {
  it('name the field and its bound', async () => {
    const cases: [unknown, string, RegExp][] = [
      [[{ type: 'no' }], 'energy_terms.0.type', /must be one of distinct, sum, compare/],
      [
        [{ type: 'sum', positions: [0, 1] }],
        'energy_terms[0].equals',
        /is required for a term of type sum/,
      ],
      [
        [{ type: 'compare', less: 0, than: 1, text: 'x' }],
        'energy_terms[0].text',
        /is not a field of a term of type compare/,
      ],
      [[{ type: 'compare', less: 3, than: 3 }], 'energy_terms[0].than', /another position/],
      [
        [{ type: 'distinct', positions: [[0, 1], 3] }],
        'energy_terms[0].positions',
        /one list of positions, or a list/,
      ],
      [[{ type: 'distinct', positions: [[4, 4]] }], 'energy_terms[0].positions', /twice/],
      [
        [{ type: 'sum', positions: [0, 1], equals: 1001 }],
        'energy_terms[0].equals',
        /at most 1000/,
      ],
      [[{ type: 'sum', positions: [0, -1], equals: 1 }], 'energy_terms.0.positions.1', />= 0/],
      [[{ type: 'contains', text: 'a', weight: 1e9 }], 'energy_terms.0.weight', /<= 1000000/],
      [
        [{ type: 'distinct', positions: [0, 36] }],
        'energy_terms[0].positions',
        /from 0 to 35, got 36/,
      ],
      [
        [{ type: 'count', token: '12', equals: 1 }],
        'energy_terms[0].token',
        /must be one token, and is 2/,
      ],
      ['x', 'energy_terms', /must be array or null/],
    ]
    for (const [terms, param, message] of cases) {
      const error = await errorOf(terms)
      expect(error.param).toBe(param)
      expect(error.message).toMatch(message)
    }
  })

  it('name what does not go together with them', async () => {
    const terms = [{ type: 'count', token: '1', equals: 6 }]
    const cases: [object, string][] = [
      [{ refinement: { accept_lower: true } }, 'refinement.accept_lower'],
      [{ refinement: { line_search: true } }, 'refinement.line_search'],
      [{ refinement: { keep: 'last' } }, 'refinement.keep'],
      [{ echo: true, logprobs: 1, template: null, prompt: '1' }, 'energy_terms'],
    ]
    for (const [body, param] of cases) expect((await errorOf(terms, app, body)).param).toBe(param)
  })

  it('hold the caps of the operator', async () => {
    const limits: Partial<Limits> = { terms: { ...defaultLimits.terms, terms: 2, positions: 8 } }
    const { app: capped } = await openServer({}, limits)
    const count = { type: 'count', token: '1', equals: 6 }
    expect((await errorOf([count, count, count], capped)).message).toMatch(
      /energy_terms must be at most 2 terms, got 3/,
    )
    const wide = {
      type: 'distinct',
      positions: [
        [0, 1, 2, 3, 4],
        [5, 6, 7, 8],
      ],
    }
    expect((await errorOf([wide], capped)).message).toMatch(/at most 8 positions in all, got 9/)
    await capped.close()
    expect(defaultLimits.terms.terms).toBeGreaterThan(2)
  })

  it.each([
    ['/v1/completions', { prompt: 'a' }],
    ['/v1/chat/completions', { messages: [{ role: 'user', content: 'a' }] }],
    ['/v1/responses', { input: 'a' }],
  ])('hold the cap on terms at %s', async (url, body) => {
    const { app: capped } = await openServer({}, { terms: { ...defaultLimits.terms, terms: 0 } })
    const energy_terms = [{ type: 'count', token: 'a', equals: 1 }]
    const reply = await post(capped, url, { ...body, energy_terms })
    expect(reply.statusCode, reply.body).toBe(400)
    expect(reply.json<ErrorBody>().error.message).toMatch(/at most 0 terms, got 1/)
    await capped.close()
  })
})
