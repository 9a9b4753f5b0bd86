/** `/v1/score` and `/v1/rerank`. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openServer, post, type TestServer } from '../support/server.js'

let server: TestServer

beforeEach(async () => {
  server = await openServer()
})
afterEach(() => server.app.close())

describe('a score', () => {
  it.each(['energy', 'readout'])('by %s has a total and its parts', async (by) => {
    const reply = await post(server.app, '/v1/score', { prompt: 'x', answers: ['ab', [99]], by })
    expect(reply.json()).toEqual({
      object: 'list',
      model: 'scripted',
      by,
      data: [
        {
          object: 'score',
          index: 0,
          energy: 3,
          energy_per_token: 1.5,
          tokens: 2,
          parts: [
            { text: 'a', tokens: 1, energy: 1 },
            { text: 'b', tokens: 1, energy: 2 },
          ],
        },
        {
          object: 'score',
          index: 1,
          energy: 3,
          energy_per_token: 3,
          tokens: 1,
          parts: [{ text: 'c', tokens: 1, energy: 3 }],
        },
      ],
      usage: { prompt_tokens: 5, completion_tokens: 0, total_tokens: 5 },
    })
  })

  it('is of the read-out where energies rate points and not tokens', async () => {
    const reply = await post(server.app, '/v1/score', { answers: ['a'] })
    expect(reply.json()).toMatchObject({ by: 'readout' })
    expect(server.engine.jobs).toMatchObject([{ given: { by: 'logprobs' }, maxTokens: 0 }])
  })
})

describe('ranked documents', () => {
  it('come in the order of their energies', async () => {
    const documents = ['c', { text: 'aa' }, 'b']
    const reply = await post(server.app, '/v1/rerank', { query: 'q', documents })
    const results = reply.json<{ results: { index: number; relevance_score: number }[] }>().results
    expect(results).toEqual([
      { index: 1, relevance_score: Math.exp(-1), document: { text: 'aa' } },
      { index: 2, relevance_score: Math.exp(-2), document: { text: 'b' } },
      { index: 0, relevance_score: Math.exp(-3), document: { text: 'c' } },
    ])
  })

  it('can be limited in number, and left out of the reply', async () => {
    const asked = { query: 'q', documents: ['b', 'a'], top_n: 1, return_documents: false }
    const reply = await post(server.app, '/v1/rerank', { ...asked, by: 'energy' })
    const score = expect.closeTo(1 / (1 + Math.E), 12) as number
    expect(reply.json()).toMatchObject({
      by: 'energy',
      results: [{ index: 1, relevance_score: score }],
    })
    expect(reply.body).not.toContain('document"')
  })
})
