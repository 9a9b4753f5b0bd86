/** Rate limits of a client, and the cost limit of a request. */
import { afterEach, describe, expect, it } from 'vitest'
import { MemoryUsageStore } from '../../src/server/requests/usage-store.js'
import { Quotas } from '../../src/server/requests/quotas.js'
import { Peer } from '../support/peer.js'
import {
  type ErrorBody,
  openServer,
  post,
  socketAddress,
  type TestServer,
} from '../support/server.js'

let server: TestServer
const complete = (payload: object) => post(server.app, '/v1/completions', payload)
const errorOf = (reply: { body: string }) => (JSON.parse(reply.body) as ErrorBody).error

describe('a client', () => {
  afterEach(() => server.app.close())

  it('that has used up its requests gets 429 and Retry-After', async () => {
    server = await openServer({}, { rates: { requests: 2 } })
    const first = await complete({ prompt: 'a', max_tokens: 1 })
    expect(first.headers).toMatchObject({
      'x-ratelimit-limit-requests': '2',
      'x-ratelimit-remaining-requests': '1',
      'x-ratelimit-reset-requests': expect.stringMatching(/^[0-9]+s$/) as string,
    })
    await complete({ prompt: 'a', max_tokens: 1 })
    const refused = await complete({ prompt: 'a', max_tokens: 1 })
    expect(refused.statusCode).toBe(429)
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
    expect(errorOf(refused)).toMatchObject({ code: 'rate_limited', type: 'rate_limit_error' })
    expect(errorOf(refused).message).toContain('2 requests per minute')
  })

  it.each([
    ['tokens', { tokens: 4 }],
    ['steps', { steps: 8 }],
  ])('that has used up its %s is refused, on the socket too', async (_, rates) => {
    server = await openServer({}, { rates })
    expect((await complete({ prompt: 'a', max_tokens: 3 })).statusCode).toBe(200)
    expect((await complete({ prompt: 'a' })).statusCode).toBe(429)
    const peer = await Peer.connect(await socketAddress(server.app))
    peer.say({ type: 'start', prompt: 'a' })
    expect(await peer.next('error')).toMatchObject({ error: { code: 'rate_limited' } })
    peer.socket.terminate()
  })

  it('may have a limited number of candidates at once, of whatever choices', async () => {
    server = await openServer({ auto: false }, { rates: { concurrent: 2 } })
    const wide = await complete({ prompt: 'a', refinement: { candidates: 3 } })
    expect(wide.statusCode).toBe(400)
    expect(wide.json()).toMatchObject({ error: { param: 'refinement.candidates' } })
    const first = complete({ prompt: 'a', n: 2, max_tokens: 1 })
    await expect.poll(() => server.engine.outstanding).toBe(2)
    expect((await complete({ prompt: 'a' })).statusCode).toBe(429)
    for (let i = 0; i < 4; i++) server.engine.tick()
    expect((await first).statusCode).toBe(200)
    const second = complete({ prompt: 'a', max_tokens: 1 })
    await expect.poll(() => server.engine.outstanding).toBe(1)
    for (let i = 0; i < 4; i++) server.engine.tick()
    expect((await second).statusCode).toBe(200)
  })
})

describe('a rate limit', () => {
  it('is reset after a minute, for each client by itself', async () => {
    let now = 30_000
    const quotas = new Quotas({ requests: 1 }, new MemoryUsageStore(), () => now)
    await quotas.enter('alice')
    await quotas.enter('bob')
    await expect(quotas.enter('alice')).rejects.toMatchObject({ facts: { retry_after: 30 } })
    now = 60_000
    await quotas.enter('alice')
  })

  it('sends no headers where nothing is limited', () => {
    expect(new Quotas({}).headers('alice')).toEqual({})
  })
})

describe('a request', () => {
  afterEach(() => server.app.close())

  it('that could take too many steps is refused before it is queued', async () => {
    server = await openServer({}, { steps: 1000 })
    const asked = { prompt: 'a', max_tokens: 32, n: 2 }
    const budget = (max_steps: number | null, candidates: number) => ({
      ...asked,
      refinement: { max_steps, candidates, energy_target: 1 },
    })
    expect((await complete(budget(10, 4))).statusCode).toBe(200)
    for (const dear of [budget(16, 4), budget(10, 7), budget(null, 1)]) {
      const reply = await complete(dear)
      expect(reply.statusCode).toBe(400)
      expect(errorOf(reply)).toMatchObject({ code: 'out_of_range', param: 'refinement' })
    }
    expect(server.engine.jobs).toHaveLength(2)
  })
})
