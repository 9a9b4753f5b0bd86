/** API keys: which routes need one, and what their file holds. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { addKey, ApiKeys, keyHolders, revokeKey } from '../../src/server/api-keys.js'
import {
  appOf,
  type ErrorBody,
  openServer,
  socketAddress,
  type TestServer,
} from '../support/server.js'

let server: TestServer
let path: string
let key: string

beforeEach(async () => {
  path = join(mkdtempSync(join(tmpdir(), 'basin-keys-')), 'keys.json')
  key = addKey(path, 'alice')
  addKey(path, 'bob')
  server = await openServer({}, {}, ApiKeys.open(path))
})
afterEach(() => server.app.close())

const routes = ['/v1/models', '/v1/models/scripted', '/v1/refine', '/metrics', '/v1/nothing'].map(
  (url) => ['GET', url] as const,
)
const posts = [
  'completions',
  'chat/completions',
  'responses',
  'score',
  'rerank',
  'embeddings',
  'landscape',
  'tokenize',
  'detokenize',
  'completions/x/finish',
  'responses/x/cancel',
].map((name) => ['POST', `/v1/${name}`] as const)

describe('a request without a valid key', () => {
  it.each([...routes, ...posts])('gets 401 from %s %s', async (method, url) => {
    for (const headers of [{}, { authorization: 'Bearer basin_guess' }, { 'x-api-key': '' }]) {
      const reply = await server.app.inject({ method, url, headers })
      expect(reply.statusCode).toBe(401)
      expect(reply.headers['www-authenticate']).toBe('Bearer')
      expect(reply.json<ErrorBody>().error.code).toBe('unauthorized')
    }
  })

  it.each(['/health', '/ready'])('gets a reply from %s', async (url) => {
    expect((await server.app.inject({ method: 'GET', url })).statusCode).toBe(200)
  })

  it.each(['/docs', '/docs/static/swagger-ui.css', '/docs/json', '/openapi.json'])(
    'gets a reply from %s, unless the server closes it',
    async (url) => {
      expect((await server.app.inject({ method: 'GET', url })).statusCode).toBe(200)
      const closed = await appOf(server.engine, { keys: ApiKeys.open(path), privateDocs: true })
      expect((await closed.inject({ method: 'GET', url })).statusCode).toBe(401)
      const headers = { 'x-api-key': key }
      expect((await closed.inject({ method: 'GET', url, headers })).statusCode).toBe(200)
      await closed.close()
    },
  )

  it('opens no socket', async () => {
    const address = await socketAddress(server.app)
    const socket = new WebSocket(address)
    const refused = await new Promise((resolve) => {
      socket.once('unexpected-response', (_, response) => resolve(response.statusCode))
    })
    expect(refused).toBe(401)
    const known = new WebSocket(address, { headers: { authorization: `Bearer ${key}` } })
    await new Promise((resolve) => known.once('open', resolve))
    known.terminate()
  })
})

it('metrics are shown to administrators, and to no other client', async () => {
  const administrator = addKey(path, 'operator', true)
  await server.app.close()
  server = await openServer({}, {}, ApiKeys.open(path))
  const ask = (key: string) =>
    server.app.inject({ method: 'GET', url: '/metrics', headers: { 'x-api-key': key } })
  const refused = await ask(key)
  expect(refused.statusCode).toBe(403)
  expect(refused.json<ErrorBody>().error.code).toBe('forbidden')
  expect((await ask(administrator)).body).toContain('basin_build_info')
})

it('the OpenAPI document declares 401 for every route but /health and /ready', async () => {
  const headers = { 'x-api-key': key }
  const reply = await server.app.inject({ method: 'GET', url: '/openapi.json', headers })
  const { paths } = reply.json<{ paths: Record<string, Record<string, { responses: object }>> }>()
  const silent = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, { responses }]) =>
      '401' in responses ? [] : `${method} ${path}`,
    ),
  )
  expect(silent).toEqual(['get /health', 'get /ready'])
})

describe('a request with a key', () => {
  it.each([
    ['authorization', 'Bearer '],
    ['x-api-key', ''],
  ])(
    'in the header %s is answered, and its client is the name of the key',
    async (header, scheme) => {
      const reply = await server.app.inject({
        method: 'POST',
        url: '/v1/completions',
        headers: { [header]: scheme + key },
        payload: { prompt: 'a', max_tokens: 1 },
      })
      expect(reply.statusCode).toBe(200)
      expect(reply.headers).not.toHaveProperty('www-authenticate')
      expect(server.engine.jobs[0]?.client).toBe('alice')
    },
  )
})

describe('a key', () => {
  const asks = (value: string) =>
    server.app.inject({ method: 'GET', url: '/v1/models', headers: { 'x-api-key': value } })

  it('that is revoked or added holds no more, or from then on, once the file is read again', async () => {
    await server.app.close()
    const keys = ApiKeys.open(path)
    server = await openServer({}, {}, keys)
    expect(keyHolders(path).map(({ name }) => name)).toEqual(['alice', 'bob'])
    revokeKey(path, 'alice')
    const carol = addKey(path, 'carol', true)
    expect([(await asks(key)).statusCode, (await asks(carol)).statusCode]).toEqual([200, 401])
    expect(keys.reload(path)).toBe(2)
    expect([(await asks(key)).statusCode, (await asks(carol)).statusCode]).toEqual([401, 200])
    expect(keyHolders(path)).toEqual([
      { name: 'bob', admin: false },
      { name: 'carol', admin: true },
    ])
    expect(() => {
      revokeKey(path, 'alice')
    }).toThrow('has no key named alice; it has bob, carol')
  })

  it('holds on while the file cannot be read', () => {
    const keys = ApiKeys.open(path)
    writeFileSync(path, '{"keys": []}')
    expect(() => keys.reload(path)).toThrow('holds no key')
    expect(keys.identify({ 'x-api-key': key }).name).toBe('alice')
  })
})

describe('the file of keys', () => {
  it('holds names and hashes, and no key', () => {
    expect(key).toMatch(/^basin_[\w-]{32}$/)
    const text = readFileSync(path, 'utf8')
    expect(text).toContain('alice')
    expect(text).not.toContain(key)
    expect(() => addKey(path, 'alice')).toThrow('already')
  })

  it.each(['{', '{"keys":[]}', '{"keys":[{"name":"a","sha256":"abc"}]}', '[]'])(
    'is refused if it contains %s',
    (text) => {
      writeFileSync(path, text)
      expect(() => ApiKeys.open(path)).toThrow(expect.objectContaining({ code: 'invalid_data' }))
    },
  )
})
