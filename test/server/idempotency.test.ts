/** `Idempotency-Key`: a request that is sent twice runs once. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { addKey, ApiKeys } from '../../src/server/api-keys.js'
import { type ErrorBody, openServer, type TestServer } from '../support/server.js'

let server: TestServer
afterEach(() => server.app.close())

const ask = (key: string, payload: object, url = '/v1/completions', bearer?: string) =>
  server.app.inject({
    method: 'POST',
    url,
    payload,
    headers: {
      'idempotency-key': key,
      ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
    },
  })

const request = { prompt: 'a', max_tokens: 2 }
const jobs = () => server.engine.jobs.length

describe('the second request with a key', () => {
  it('gets the reply of the first', async () => {
    server = await openServer()
    const [first, second] = [await ask('k', request), await ask('k', request)]
    expect(second.statusCode).toBe(200)
    expect(second.body).toBe(first.body)
    expect(second.headers['content-type']).toBe(first.headers['content-type'])
    expect(second.headers['idempotent-replayed']).toBe('true')
    expect(first.headers).not.toHaveProperty('idempotent-replayed')
    expect(jobs()).toBe(1)
  })

  it('waits for the first while that runs', async () => {
    server = await openServer({ auto: false })
    const asking = [ask('k', request), ask('k', request)]
    await expect.poll(jobs).toBe(1)
    while (server.engine.outstanding > 0) {
      server.engine.tick()
      await new Promise(setImmediate)
    }
    const [first, second] = await Promise.all(asking)
    expect(second?.body).toBe(first?.body)
    expect(jobs()).toBe(1)
  })

  it('starts no second background response', async () => {
    server = await openServer()
    const payload = { input: 'a', background: true }
    const [first, second] = [
      await ask('k', payload, '/v1/responses'),
      await ask('k', payload, '/v1/responses'),
    ]
    expect(second.json<{ id: string }>().id).toBe(first.json<{ id: string }>().id)
    expect(jobs()).toBe(1)
  })

  it('is refused if its body differs', async () => {
    server = await openServer()
    await ask('k', request)
    const other = await ask('k', { ...request, max_tokens: 3 })
    expect(other.statusCode).toBe(400)
    expect(other.json<ErrorBody>().error).toMatchObject({
      code: 'idempotency_mismatch',
      param: 'idempotency-key',
    })
  })

  it('runs if the first has failed', async () => {
    server = await openServer()
    const failing = { prompt: 'explode', max_tokens: 2 }
    expect((await ask('k', failing)).statusCode).toBe(500)
    expect((await ask('k', failing)).statusCode).toBe(500)
    expect(jobs()).toBe(2)
  })
})

it('requests with another key or of another client run on their own', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'basin-keys-')), 'keys.json')
  const [alice, bob] = [addKey(path, 'alice'), addKey(path, 'bob')]
  server = await openServer({}, {}, ApiKeys.open(path))
  await ask('k', request, '/v1/completions', alice)
  await ask('other', request, '/v1/completions', alice)
  await ask('k', request, '/v1/completions', bob)
  expect(jobs()).toBe(3)
})

it.each([
  ['a key that is too long', 'k'.repeat(256), request],
  ['an empty key', '', request],
  ['a key for a stream', 'k', { ...request, stream: true }],
])('refuses %s', async (_, key, payload) => {
  server = await openServer()
  const reply = await ask(key, payload)
  expect(reply.statusCode).toBe(400)
  expect(reply.json<ErrorBody>().error.param).toBe('idempotency-key')
  expect(jobs()).toBe(0)
})
