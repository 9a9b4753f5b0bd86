/** Host names and origins that the server accepts, and the security headers of its replies. */
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { OriginPolicy } from '../../src/server/plugins/origin-policy.js'
import { addKey, ApiKeys } from '../../src/server/api-keys.js'
import type { App } from '../../src/server/context.js'
import { ScriptedGeneration } from '../support/scripted-generation.js'
import { appOf, type ErrorBody, portOf, socketAddress } from '../support/server.js'

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

describe('the Host header', () => {
  it.each([
    'evil.example',
    'evil.example:8000',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
  ])('is refused if it is the public name %s', async (host) => {
    await open()
    const reply = await ask({ host })
    expect(reply.statusCode).toBe(403)
    expect(reply.json<ErrorBody>().error.code).toBe('forbidden')
  })

  it.each([
    'localhost',
    'LOCALHOST:8000',
    '127.0.0.1:8000',
    '[::1]:8000',
    '10.1.2.3',
    'basin:8000',
    'basin.models.svc',
    'basin.models.svc.cluster.local',
    'gpu.internal',
    'localhost.',
  ])('is accepted if it is the private name or address %s', async (host) => {
    await open()
    expect((await ask({ host })).statusCode).toBe(200)
  })

  it.each([' ', 'a b', '[', 'http://localhost', '@'])(
    'is refused if it is not a name: "%s"',
    async (host) => {
      await open({ hosts: ['localhost'] })
      expect((await ask({ host })).statusCode).toBe(403)
    },
  )

  it('is checked at every path but /health and /ready', async () => {
    await open()
    const host = 'evil.example'
    for (const url of ['/', '/docs', '/metrics', '/openapi.json', '/stray', '/admin/models']) {
      expect([url, (await ask({ host }, url)).statusCode]).toEqual([url, 403])
    }
    for (const url of ['/health', '/ready']) expect((await ask({ host }, url)).statusCode).toBe(200)
  })

  it('is checked before a socket opens', async () => {
    await open()
    const socket = new WebSocket(await socketAddress(app), { headers: { host: 'evil.example' } })
    const status = await new Promise((resolve) => {
      socket.once('unexpected-response', (_, response) => resolve(response.statusCode))
    })
    expect(status).toBe(403)
  })

  it('is accepted if it is listed, and then no other is', async () => {
    await open({ hosts: ['chat.example'] })
    expect((await ask({ host: 'chat.example:443' })).statusCode).toBe(200)
    expect((await ask({ host: 'localhost' })).statusCode).toBe(403)
  })

  it('may be any name where the server has keys', async () => {
    const { key, keys } = newKey()
    await open({}, keys)
    expect((await ask({ host: 'evil.example' })).statusCode).toBe(401)
    expect((await ask({ host: 'a.example', 'x-api-key': key })).statusCode).toBe(200)
  })
})

describe('a page of another origin', () => {
  it('is told how it may ask; a file does where null is listed', async () => {
    await open()
    const origin = 'null'
    const refused = await ask({ ...headers, origin })
    expect(refused.statusCode).toBe(403)
    expect(refused.json<ErrorBody>().error.message).toContain('--cors-origin null')
    await app.close()
    await open({ origins: [origin] })
    const reply = await ask({ ...headers, origin })
    expect([reply.statusCode, reply.headers['access-control-allow-origin']]).toEqual([200, origin])
  })

  const headers = { host: 'localhost:8000' }

  it.each(['https://evil.example', 'null', 'http://localhost:3000', 'file://', 'http://'])(
    'is refused: %s',
    async (origin) => {
      await open()
      expect((await ask({ ...headers, origin })).statusCode).toBe(403)
    },
  )

  it('is distinguished from a page of this server', async () => {
    await open()
    expect((await ask({ ...headers, origin: 'http://localhost:8000' })).statusCode).toBe(200)
  })

  it('opens no socket, and a page of this server does', async () => {
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

  it('may ask if it is listed, after a preflight without a key', async () => {
    const { key, keys } = newKey()
    const origin = 'https://chat.example'
    await open({ origins: [origin] }, keys)
    const preflight = await app.inject({
      method: 'OPTIONS',
      url: '/v1/completions',
      headers: {
        ...headers,
        origin,
        'access-control-request-method': 'POST',
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

  it('may ask if all origins are allowed', async () => {
    await open({ origins: ['*'] })
    const reply = await ask({ ...headers, origin: 'https://any.example' })
    expect(reply.statusCode).toBe(200)
    expect(reply.headers['access-control-allow-origin']).toBe('*')
  })
})

describe('replies', () => {
  it('have headers that forbid framing, type sniffing and scripts', async () => {
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

  it('allow the documentation page to run its own scripts only', async () => {
    await open()
    const { headers } = await ask({ host: 'localhost' }, '/docs/')
    expect(headers['content-security-policy']).toMatch(/script-src 'self'/)
    expect(headers['content-security-policy']).not.toMatch(/script-src[^;]*unsafe-inline/)
  })
})
