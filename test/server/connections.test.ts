/** What one connection may do to the server and to other clients: attacks with bytes on real connections. */
import { createHash } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { ApiKeys } from '../../src/server/api-keys.js'
import type { App } from '../../src/server/context.js'
import { defaultLimits } from '../../src/server/limits.js'
import { getText, postText, RawClient } from '../support/raw-client.js'
import { ScriptedGeneration } from '../support/scripted-generation.js'
import { appOf, type ErrorBody, openServer, portOf, type TestServer } from '../support/server.js'

let app: App
const clients: RawClient[] = []

afterEach(async () => {
  for (const client of clients.splice(0)) client.leave()
  await app.close()
})

async function serve(...asked: Parameters<typeof openServer>): Promise<TestServer> {
  const server = await openServer(...asked)
  app = server.app
  return server
}

async function connect(reads = true): Promise<RawClient> {
  const client = await RawClient.open(await portOf(app), { reads })
  clients.push(client)
  return client
}

const openConnections = (): Promise<number> =>
  new Promise((resolve, reject) => {
    app.server.getConnections((error, count) => {
      if (error) reject(error)
      else resolve(count)
    })
  })

const endless = { prompt: 'a', max_tokens: 1, refinement: { max_steps: null } }
const soon = { timeout: 10_000 }

describe('requests that one connection sends without waiting for replies', () => {
  it('are all cancelled when the connection breaks', async () => {
    const { engine } = await serve({ auto: false })
    const client = await connect()
    client.send(postText('/v1/completions', endless).repeat(10))
    await expect.poll(() => engine.outstanding, soon).toBe(10)
    client.leave()
    await expect.poll(() => engine.outstanding, soon).toBe(0)
  })

  it('are all cancelled where their replies are streams that nobody reads', async () => {
    const { engine } = await serve({ auto: false })
    const client = await connect(false)
    client.send(postText('/v1/completions', { ...endless, stream: true }).repeat(10))
    await expect.poll(() => engine.outstanding, soon).toBe(10)
    client.leave()
    await expect.poll(() => engine.outstanding, soon).toBe(0)
  })

  it('are answered in their order', async () => {
    await serve()
    const client = await connect()
    client.send(postText('/v1/tokenize', { text: 'ab' }) + getText('/v1/models') + getText('/none'))
    const replies = await client.replies(3)
    expect(replies.map(({ status }) => status)).toEqual([200, 200, 404])
    expect(JSON.parse(replies[0]?.body ?? '')).toMatchObject({ count: 2 })
  })

  it('leave their idempotency keys to others when the connection breaks', async () => {
    const { engine } = await serve({ auto: false })
    const client = await connect()
    const keyed = postText('/v1/completions', endless, 'Idempotency-Key: one')
    client.send(postText('/v1/completions', endless) + keyed)
    await expect.poll(() => engine.outstanding, soon).toBe(2)
    client.leave()
    await expect.poll(() => engine.outstanding, soon).toBe(0)
    const other = await connect()
    other.send(keyed)
    await expect.poll(() => engine.outstanding, soon).toBe(1)
  })

  it('leave a model that can be unloaded and loaded when the connection breaks', async () => {
    const key = 'basin_operator'
    const sha256 = createHash('sha256').update(key).digest('hex')
    const keys = new ApiKeys({ keys: [{ name: 'operator', sha256, admin: true }] })
    const opened: ScriptedGeneration[] = []
    const open = () => {
      const engine = new ScriptedGeneration({ auto: false })
      opened.push(engine)
      return Promise.resolve(engine)
    }
    const engine = await open()
    const { model } = engine
    const sources = new Map([[model.name, { model, chat: false, bytes: 1, open }]])
    app = await appOf(engine, { keys, sources })
    const bearer = `Authorization: Bearer ${key}`
    const client = await connect()
    const asked = postText('/v1/completions', endless, bearer)
    const stream = postText('/v1/completions', { ...endless, stream: true }, bearer)
    const tokens = postText('/v1/tokenize', { text: 'a' }, bearer)
    client.send(asked + tokens + stream + tokens)
    await expect.poll(() => engine.outstanding, soon).toBe(2)
    client.leave()
    const admin = async (verb: string) => {
      const operator = await connect()
      operator.send(postText(`/admin/models/${model.name}/${verb}`, {}, bearer))
      return (await operator.replies(1))[0]
    }
    expect((await admin('unload'))?.status).toBe(202)
    expect((await admin('load'))?.status).toBe(200)
    expect(opened).toHaveLength(2)
  })
})

describe('a request that offers another protocol', () => {
  const h2c = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk']

  it('is answered over HTTP/1.1, its body read whole', async () => {
    await serve()
    const client = await connect()
    const text = 'a'.repeat(100_000)
    client.send(postText('/v1/tokenize', { text }, ...h2c))
    const [reply] = await client.replies(1)
    expect(reply?.status).toBe(200)
    expect(JSON.parse(reply?.body ?? '')).toMatchObject({ count: text.length })
    client.send(postText('/v1/tokenize', { text: 'abc' }))
    const [, next] = await client.replies(2)
    expect(JSON.parse(next?.body ?? '')).toMatchObject({ count: 3 })
  })

  it('is answered where its body comes in pieces', async () => {
    await serve()
    const client = await connect()
    const whole = postText('/v1/tokenize', { text: 'abcd' }, ...h2c)
    client.send(whole.slice(0, -5))
    await new Promise((resolve) => setTimeout(resolve, 50))
    client.send(whole.slice(-5))
    const [reply] = await client.replies(1)
    expect(JSON.parse(reply?.body ?? '')).toMatchObject({ count: 4 })
  })

  it('is answered where it has no body', async () => {
    await serve()
    const client = await connect()
    client.send(getText('/v1/models', ...h2c))
    expect((await client.replies(1))[0]?.status).toBe(200)
    client.send(getText('/v1/models', 'Connection: Upgrade', 'Upgrade: websocket'))
    expect((await client.replies(2))[1]?.status).toBe(200)
  })

  it('is no socket at /v1/refine, unless that protocol is WebSocket', async () => {
    await serve()
    const client = await connect()
    client.send(getText('/v1/refine', ...h2c))
    const [refused] = await client.replies(1)
    expect(refused?.status).toBe(400)
    const other = await connect()
    const key = `Sec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}`
    const asks = ['Connection: keep-alive, Upgrade', 'Upgrade: WebSocket']
    other.send(getText('/v1/refine?x=1', ...asks, 'Sec-WebSocket-Version: 13', key))
    expect((await other.replies(1))[0]?.status).toBe(101)
  })
})

describe('a client that does not send its request in time', () => {
  const halves: [string, string][] = [
    ['nothing', ''],
    ['half a header', 'GET /v1/models HTTP/1.1\r\nHost: lo'],
    ['half a body', postText('/v1/tokenize', { text: 'a'.repeat(100) }).slice(0, -50)],
  ]

  it.each(halves)('is told so and disconnected, having sent %s', async (_, bytes) => {
    await serve({}, { requestSeconds: 0.5 })
    const client = await connect()
    client.send(bytes)
    const began = performance.now()
    expect(await client.rest()).toMatch(/^HTTP\/1\.1 408 .*"code":"request_timeout"/s)
    expect(performance.now() - began).toBeLessThan(5000)
    await expect.poll(openConnections, soon).toBe(0)
  })

  it.each([true, false])(
    'is disconnected though it never closes (and reads: %s)',
    async (reads) => {
      await serve({}, { requestSeconds: 0.5 })
      await portOf(app)
      const late = await Promise.all(Array.from({ length: 50 }, () => connect(reads)))
      for (const client of late) client.send('POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n')
      await expect.poll(openConnections).toBe(50)
      await expect.poll(openConnections, soon).toBe(0)
    },
  )

  it('gets no refusal amid the reply to its earlier request', async () => {
    const { engine } = await serve({ auto: false }, { requestSeconds: 0.5 })
    const client = await connect()
    client.send(postText('/v1/completions', { ...endless, stream: true }))
    await expect.poll(() => engine.outstanding, soon).toBe(1)
    engine.tick()
    await expect.poll(() => client.text, soon).toContain(': open')
    client.send('nonsense\r\n\r\n')
    expect((await client.rest()).match(/HTTP\/1\.1/g)).toHaveLength(1)
    await expect.poll(() => engine.outstanding, soon).toBe(0)
  })
})

describe('a request with several Host headers', () => {
  it.each([
    ['different', 'Host: other'],
    ['equal', 'Host: localhost'],
    ['differently written', 'hOsT: other'],
  ])('is refused: %s ones', async (_, header) => {
    await serve()
    const client = await connect()
    client.send(getText('/v1/models', header))
    const [reply] = await client.replies(1)
    expect(reply?.status).toBe(400)
    const { error } = JSON.parse(reply?.body ?? '') as ErrorBody
    expect(error).toMatchObject({ code: 'invalid_request', param: 'host' })
  })
})

describe('a body in pieces', () => {
  const chunked = (pieces: string) =>
    postText('/v1/tokenize', {}).replace(
      /Content-Length[^]*/,
      'Transfer-Encoding: chunked\r\n\r\n',
    ) + pieces
  const piece = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`

  it('is read whole', async () => {
    await serve()
    const client = await connect()
    const text = 'ab'.repeat(40_000)
    const pieces = JSON.stringify({ text }).match(/.{1,100}/g) ?? []
    client.send(chunked([...pieces, ''].map(piece).join('')))
    const [reply] = await client.replies(1)
    expect(JSON.parse(reply?.body ?? '')).toMatchObject({ count: text.length })
  })

  it('may have some thousand of one byte, and no more', async () => {
    await serve()
    const small = await connect()
    small.send(
      chunked([...Array.from(JSON.stringify({ text: 'a'.repeat(3000) })), ''].map(piece).join('')),
    )
    expect((await small.replies(1))[0]?.status).toBe(200)
    const client = await connect()
    client.send(
      chunked(
        Array.from(JSON.stringify({ text: 'a'.repeat(300_000) }))
          .map(piece)
          .join(''),
      ),
    )
    const [reply] = await client.replies(1)
    expect(reply?.status).toBe(400)
    expect((JSON.parse(reply?.body ?? '') as ErrorBody).error).toMatchObject({ param: 'body' })
    await client.rest()
  })

  it('is refused beyond the limit, told or not', async () => {
    await serve({}, { bodyBytes: 10_000 })
    const client = await connect()
    client.send(chunked(piece('a'.repeat(9000)).repeat(3)))
    expect((await client.replies(1))[0]?.status).toBe(413)
    const other = await connect()
    other.send(postText('/v1/tokenize', { text: 'a'.repeat(20_000) }))
    expect((await other.replies(1))[0]?.status).toBe(413)
  })
})

it('a body with a length and in chunks as well is refused, and its connection closed', async () => {
  await serve()
  const client = await connect()
  client.send(postText('/v1/tokenize', { text: 'a' }, 'Transfer-Encoding: chunked'))
  expect(await client.rest()).toMatch(/^HTTP\/1\.1 400 /)
})

it('the default time for a request is the documented one', () => {
  expect(defaultLimits.requestSeconds).toBe(30)
})
