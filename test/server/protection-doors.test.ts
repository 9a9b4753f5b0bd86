/** What a browser on the operator's machine may be made to ask, and what it is told. */
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { OriginPolicy } from '../../src/server/plugins/origin-policy.js'
import { addKey, ApiKeys } from '../../src/server/api-keys.js'
import type { App } from '../../src/server/context.js'
import { ScriptedGeneration } from '../support/scripted-generation.js'
import { appOf, type ErrorBody, portOf, post, socketAddress } from '../support/server.js'

let app: App
afterEach(() => app.close())

const open = async (policy: OriginPolicy = {}, keys?: ApiKeys): Promise<void> => {
  app = await appOf(new ScriptedGeneration(), { origins: policy, ...(keys && { keys }) })
}

const newKey = (): { key: string; keys: ApiKeys } => {
  const path = join(mkdtempSync(join(tmpdir(), 'basin-doors-')), 'keys.json')
  const key = addKey(path, 'alice')
  return { key, keys: ApiKeys.open(path) }
}

const ask = (headers: Record<string, string>, url = '/v1/models') =>
  app.inject({ method: 'GET', url, headers })

describe('a name that strangers can point here', () => {
  it.each([
    'evil.example',
    'evil.example:8000',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
  ])('%s is refused', async (host) => {
    await open()
    const reply = await ask({ host })
    expect(reply.statusCode).toBe(403)
    expect(reply.json<ErrorBody>().error.code).toBe('forbidden')
  })

  it.each([
    ...['localhost', 'LOCALHOST:8000', '127.0.0.1:8000', '[::1]:8000', '10.1.2.3', 'basin:8000'],
    ...['basin.models.svc', 'basin.models.svc.cluster.local', 'gpu.internal', 'localhost.'],
  ])('%s is none', async (host) => {
    await open()
    expect((await ask({ host })).statusCode).toBe(200)
  })

  it.each([' ', 'a b', '[', 'http://localhost', '@'])('"%s" is no name at all', async (host) => {
    await open({ hosts: ['localhost'] })
    expect((await ask({ host })).statusCode).toBe(403)
  })

  it('is refused at every path but those that tell only that the process lives', async () => {
    await open()
    const host = 'evil.example'
    for (const url of ['/', '/docs', '/metrics', '/openapi.json', '/stray', '/admin/models']) {
      expect([url, (await ask({ host }, url)).statusCode]).toEqual([url, 403])
    }
    for (const url of ['/health', '/ready']) expect((await ask({ host }, url)).statusCode).toBe(200)
  })

  it('opens no socket', async () => {
    await open()
    const socket = new WebSocket(await socketAddress(app), { headers: { host: 'evil.example' } })
    const status = await new Promise((resolve) => {
      socket.once('unexpected-response', (_, response) => resolve(response.statusCode))
    })
    expect(status).toBe(403)
  })

  it('may be listed, and then others may not be used', async () => {
    await open({ hosts: ['chat.example'] })
    expect((await ask({ host: 'chat.example:443' })).statusCode).toBe(200)
    expect((await ask({ host: 'localhost' })).statusCode).toBe(403)
  })

  it('does no harm where keys are asked for, which it does not have', async () => {
    const { key, keys } = newKey()
    await open({}, keys)
    expect((await ask({ host: 'evil.example' })).statusCode).toBe(401)
    expect((await ask({ host: 'a.example', 'x-api-key': key })).statusCode).toBe(200)
  })
})

describe('a page of another origin', () => {
  const headers = { host: 'localhost:8000' }

  it.each(['https://evil.example', 'null', 'http://localhost:3000', 'file://', 'http://'])(
    '%s is refused',
    async (origin) => {
      await open()
      expect((await ask({ ...headers, origin })).statusCode).toBe(403)
    },
  )

  it('is told from a page of this one', async () => {
    await open()
    expect((await ask({ ...headers, origin: 'http://localhost:8000' })).statusCode).toBe(200)
  })

  it('does not open a socket with the reader’s cookies and network', async () => {
    await open()
    const socket = new WebSocket(await socketAddress(app), { origin: 'https://evil.example' })
    const status = await new Promise((resolve) => {
      socket.once('unexpected-response', (_, response) => resolve(response.statusCode))
    })
    expect(status).toBe(403)
    const own = `http://127.0.0.1:${await portOf(app)}`
    const same = new WebSocket(await socketAddress(app), { origin: own })
    await new Promise((resolve) => same.once('open', resolve))
    same.terminate()
  })

  it('may ask where it is listed, with a preflight that needs no key', async () => {
    const { key, keys } = newKey()
    const origin = 'https://chat.example'
    await open({ origins: [origin] }, keys)
    const preflight = await app.inject({
      method: 'OPTIONS',
      url: '/v1/completions',
      headers: {
        ...{ ...headers, origin, 'access-control-request-method': 'POST' },
        'access-control-request-headers': 'authorization,content-type',
      },
    })
    expect(preflight.statusCode).toBe(204)
    expect(preflight.headers['access-control-allow-origin']).toBe(origin)
    expect(preflight.headers['access-control-allow-headers']).toContain('authorization')
    const reply = await ask({ ...headers, origin, authorization: `Bearer ${key}` })
    expect(reply.statusCode).toBe(200)
    expect(reply.headers['access-control-allow-origin']).toBe(origin)
    expect(reply.headers['access-control-expose-headers']).toContain('x-request-id')
    const refused = await ask({ ...headers, origin })
    expect(refused.statusCode).toBe(401)
    expect(refused.headers['access-control-allow-origin']).toBe(origin)
    expect((await ask({ ...headers, origin: 'https://evil.example' })).statusCode).toBe(403)
  })

  it('may ask wherever it is from, if all are', async () => {
    await open({ origins: ['*'] })
    const reply = await ask({ ...headers, origin: 'https://any.example' })
    expect(reply.statusCode).toBe(200)
    expect(reply.headers['access-control-allow-origin']).toBe('*')
  })
})

describe('replies', () => {
  it('tell browsers to frame nothing, guess no type and run nothing', async () => {
    await open()
    for (const url of ['/v1/models', '/stray', '/metrics']) {
      const { headers } = await ask({ host: 'localhost' }, url)
      expect(headers).toMatchObject({
        'content-security-policy': "default-src 'none';frame-ancestors 'none'",
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'SAMEORIGIN',
        'cross-origin-resource-policy': 'same-origin',
        'referrer-policy': 'no-referrer',
      })
      expect(headers).not.toHaveProperty('x-powered-by')
    }
  })

  it('let the page of the API run its own scripts and no others', async () => {
    await open()
    const { headers } = await ask({ host: 'localhost' }, '/docs/')
    expect(headers['content-security-policy']).toMatch(/script-src 'self'/)
    expect(headers['content-security-policy']).not.toMatch(/script-src[^;]*unsafe-inline/)
  })
})

describe('JSON', () => {
  const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)

  it.each([
    ['lists', nested(100_000)],
    ['lists that never end', '['.repeat(1_000_000)],
    ['objects', '{"a":'.repeat(100) + '1' + '}'.repeat(100)],
    ['a field', `{"prompt": ${nested(40)}}`],
  ])('of %s that nest too deep is refused before it is parsed', async (_, payload) => {
    await open()
    const reply = await post(app, '/v1/completions', payload)
    expect(reply.statusCode).toBe(400)
    expect(reply.json<ErrorBody>().error).toMatchObject({ param: 'body', code: 'out_of_range' })
  })

  it('may have brackets in its texts', async () => {
    await open()
    const prompt = `${'['.repeat(20)}\\"${'{'.repeat(20)}`
    expect((await post(app, '/v1/completions', { prompt, max_tokens: 1 })).statusCode).toBe(200)
  })

  it('of a frame that nests too deep is refused, and the socket lives', async () => {
    await open()
    const socket = new WebSocket(await socketAddress(app))
    await new Promise((resolve) => socket.once('open', resolve))
    const said = new Promise<string>((resolve) =>
      socket.once('message', (data: Buffer) => resolve(data.toString())),
    )
    socket.send(nested(1000))
    expect(JSON.parse(await said)).toMatchObject({ error: { code: 'invalid_frame' } })
    expect(socket.readyState).toBe(WebSocket.OPEN)
    socket.terminate()
  })
})
