/** How many sockets a client may have, what their unfinished messages may cost, and what a flood of starts logs. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { FrameMeter } from '../../src/server/basin/frame-meter.js'
import { addKey, ApiKeys } from '../../src/server/api-keys.js'
import type { App } from '../../src/server/context.js'
import { defaultLimits, type Limits } from '../../src/server/limits.js'
import { pick, randomOf } from '../support/arbitrary.js'
import { Peer } from '../support/peer.js'
import { RawClient } from '../support/raw-client.js'
import { ScriptedGeneration } from '../support/scripted-generation.js'
import { appOf, openServer, portOf, socketAddress } from '../support/server.js'

const soon = { timeout: 10_000 }
let app: App
let keys: { alice: string; bob: string; operator: string }
const sockets: { terminate: () => void }[] = []

beforeEach(() => {
  sockets.length = 0
})
afterEach(async () => {
  for (const socket of sockets) socket.terminate()
  await app.close()
})

/** A server with three keys and these limits. */
async function serve(limits: Partial<Limits>): Promise<void> {
  const path = join(mkdtempSync(join(tmpdir(), 'basin-keys-')), 'keys.json')
  const [alice, bob] = [addKey(path, 'alice'), addKey(path, 'bob')]
  keys = { alice, bob, operator: addKey(path, 'operator', true) }
  app = (await openServer({}, limits, ApiKeys.open(path))).app
  await portOf(app)
}

/** The status with which a socket was refused; undefined for one that is open. */
async function open(key: string): Promise<number | undefined> {
  const socket = new WebSocket(await socketAddress(app), { headers: { 'x-api-key': key } })
  sockets.push(socket)
  return new Promise((resolve, reject) => {
    socket.once('open', () => resolve(undefined))
    socket.once('unexpected-response', (_, { statusCode }) => resolve(statusCode))
    socket.once('error', reject)
  })
}

async function metric(line: string): Promise<number> {
  const headers = { 'x-api-key': keys.operator }
  const { body } = await app.inject({ method: 'GET', url: '/metrics', headers })
  const found = body.split('\n').find((each) => each.startsWith(`${line} `))
  return Number(found?.slice(line.length))
}

describe('the sockets of one client', () => {
  it('are as many as the limit, and those of others are not counted', async () => {
    await serve({ clientSockets: 3 })
    for (let i = 0; i < 3; i++) expect(await open(keys.alice)).toBeUndefined()
    expect(await open(keys.alice)).toBe(429)
    expect(await open(keys.bob)).toBeUndefined()
    expect(await metric('basin_sockets_open')).toBe(4)
    expect(await metric('basin_sockets_refused_total{reason="sockets"}')).toBe(1)
    sockets[0]?.terminate()
    await expect.poll(() => metric('basin_sockets_open'), soon).toBe(3)
    expect(await open(keys.alice)).toBeUndefined()
  })

  it('are no more where many are opened at once', async () => {
    await serve({ clientSockets: 3 })
    const opened = await Promise.all(Array.from({ length: 40 }, () => open(keys.alice)))
    expect(opened.filter((status) => status === undefined)).toHaveLength(3)
    expect(opened.filter((status) => status === 429)).toHaveLength(37)
  })

  it('are those of an address where there are no keys', async () => {
    app = (await openServer({}, { clientSockets: 1 })).app
    await portOf(app)
    expect(await open('none')).toBeUndefined()
    expect(await open('none')).toBe(429)
  })
})

/** The beginning of a message of `length` bytes, of which one is missing. */
function unfinished(length: number): Buffer {
  const head = Buffer.alloc(14)
  head.writeUInt8(0x81)
  head.writeUInt8(0xff, 1)
  head.writeUInt32BE(length, 6)
  return Buffer.concat([head, Buffer.alloc(length - 1, 0x61)])
}

async function rawSocket(key: string): Promise<RawClient> {
  const client = await RawClient.open(await portOf(app))
  sockets.push({ terminate: () => client.leave() })
  const lines = ['GET /v1/refine HTTP/1.1', 'Host: localhost', `X-Api-Key: ${key}`]
  const asks = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13']
  const nonce = `Sec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}`
  client.send([...lines, ...asks, nonce, '', ''].join('\r\n'))
  expect((await client.replies(1))[0]?.status).toBe(101)
  return client
}

/** Its answer to a start is whole. */
async function expectAnswered(key: string): Promise<void> {
  const peer = await Peer.connect(await socketAddress(app), { 'x-api-key': key })
  sockets.push(peer.socket)
  peer.say({ type: 'start', prompt: 'a', max_tokens: 1 })
  expect(await peer.finished()).toMatchObject({ text: 'alpha ' })
}

describe('unfinished messages', () => {
  const MEBIBYTE = 2 ** 20

  it('of one client take bounded memory: the socket that takes most is closed', async () => {
    await serve({ clientUnfinishedBytes: MEBIBYTE })
    const clients = await Promise.all(Array.from({ length: 20 }, () => rawSocket(keys.alice)))
    const waits = await rawSocket(keys.bob)
    waits.send(unfinished(1000))
    for (const client of clients) client.send(unfinished(300_000))
    const closed = 'basin_sockets_refused_total{reason="bytes"}'
    await expect.poll(() => metric(closed), soon).toBeGreaterThanOrEqual(17)
    expect(await metric('basin_sockets_unfinished_bytes')).toBeLessThan(1.1 * MEBIBYTE)
    expect(waits.socket.readableEnded).toBe(false)
    await expectAnswered(keys.bob)
    await expectAnswered(keys.alice)
  })

  it('of all clients take bounded memory', async () => {
    await serve({ unfinishedBytes: MEBIBYTE, clientUnfinishedBytes: MEBIBYTE })
    const alice = await Promise.all([0, 1].map(() => rawSocket(keys.alice)))
    const bob = await Promise.all([0, 1].map(() => rawSocket(keys.bob)))
    for (const client of [...alice, ...bob]) client.send(unfinished(400_000))
    const closed = 'basin_sockets_refused_total{reason="bytes"}'
    await expect.poll(() => metric(closed), soon).toBe(2)
    expect(await metric('basin_sockets_unfinished_bytes')).toBeLessThan(MEBIBYTE)
    await expectAnswered(keys.bob)
  })

  it('must end in time, and those that follow each other may go on for longer', async () => {
    await serve({ requestSeconds: 1 })
    const late = await rawSocket(keys.alice)
    const peer = await Peer.connect(await socketAddress(app), { 'x-api-key': keys.bob })
    sockets.push(peer.socket)
    late.send(unfinished(100))
    const sent = setInterval(() => peer.say({ type: 'pause' }), 20)
    expect(await late.rest()).toContain('a message did not end in time')
    await new Promise((resolve) => setTimeout(resolve, 500))
    clearInterval(sent)
    expect(await metric('basin_sockets_refused_total{reason="seconds"}')).toBe(1)
    expect(peer.socket.readyState).toBe(WebSocket.OPEN)
  })

  it('leave nothing behind when their connection closes', async () => {
    await serve({})
    const client = await rawSocket(keys.alice)
    client.send(unfinished(300_000))
    const bytes = () => metric('basin_sockets_unfinished_bytes')
    await expect.poll(bytes, soon).toBeGreaterThan(300_000)
    client.leave()
    await expect.poll(bytes, soon).toBe(0)
  })
})

describe('the meter of a socket', () => {
  const frame = (payload: Buffer, first: number, masked: boolean): Buffer => {
    const { length } = payload
    const mask = masked ? 0x80 : 0
    const head =
      length < 126
        ? Buffer.of(first, mask | length)
        : length < 65_536
          ? Buffer.of(first, mask | 126, length >> 8, length & 255)
          : Buffer.concat([Buffer.of(first, mask | 127), Buffer.alloc(8)])
    if (length >= 65_536) head.writeUInt32BE(length, 6)
    return Buffer.concat([head, Buffer.alloc(masked ? 4 : 0), payload])
  }

  it('is at 0 exactly between messages, wherever their bytes are cut', () => {
    const random = randomOf(5)
    for (let round = 0; round < 300; round++) {
      const meter = new FrameMeter()
      const masked = random() < 0.5
      for (let message = 0; message < 4; message++) {
        const count = 1 + Math.floor(random() * 3)
        const frames = Array.from({ length: count }, (_, i) => {
          const length = Math.floor(random() * pick(random, [2, 130, 70_000]))
          const first = (i === 0 ? 1 : 0) | (i === count - 1 ? 0x80 : 0)
          const ping = i > 0 && random() < 0.3 ? [frame(randomBytes(5), 0x89, masked)] : []
          return Buffer.concat([...ping, frame(randomBytes(length), first, masked)])
        })
        const bytes = Buffer.concat(frames)
        for (let at = 0; at < bytes.length;) {
          const end = Math.min(bytes.length, at + 1 + Math.floor(random() * bytes.length))
          meter.take(bytes.subarray(at, end))
          if (end < bytes.length && at > 0) expect(meter.unfinishedBytes).toBeGreaterThan(0)
          at = end
        }
        expect(meter.unfinishedBytes).toBe(0)
      }
    }
  })

  it('counts what a piece costs besides its bytes, so that pieces of one byte are not free', () => {
    const meter = new FrameMeter()
    const bytes = unfinished(1000)
    for (const byte of bytes) meter.take(Buffer.of(byte))
    expect(meter.unfinishedBytes).toBe(bytes.length * 257)
    meter.take(Buffer.of(0x61))
    expect(meter.unfinishedBytes).toBe(0)
    const fragments = Array.from({ length: 1000 }, () => frame(Buffer.of(0x61), 0, true))
    meter.take(Buffer.concat([frame(Buffer.of(0x61), 1, true), ...fragments]))
    expect(meter.unfinishedBytes).toBe(1001 * 7 + 1002 * 256)
  })
})

describe('a start right after a cancel', () => {
  it('is accepted, and the end of the cancelled answer comes first', async () => {
    app = (await openServer({ auto: false })).app
    const peer = await Peer.connect(await socketAddress(app))
    sockets.push(peer.socket)
    const start = { type: 'start', prompt: 'a', max_tokens: 1, refinement: { max_steps: null } }
    for (let i = 0; i < 10; i++) {
      peer.say(start)
      peer.say({ type: 'cancel' })
    }
    for (let i = 0; i < 10; i++) {
      expect(await peer.next()).toMatchObject({ type: 'finished', finish_reason: 'cancelled' })
    }
    expect(peer.frames).toHaveLength(10)
  })
})

describe('refused starts', () => {
  it('log one line a second, without a stack', async () => {
    const lines: { level: number; refused?: number; err?: object }[] = []
    const logger = pino(
      { level: 'warn' },
      { write: (line) => lines.push(JSON.parse(line) as (typeof lines)[number]) },
    )
    const engine = new ScriptedGeneration()
    const waiting = new ScriptedGeneration({ name: 'waiting' })
    let arrive: (engine: ScriptedGeneration) => void = () => undefined
    const arriving = new Promise<ScriptedGeneration>((resolve) => (arrive = resolve))
    const source = { model: waiting.model, chat: false, bytes: 1, open: () => arriving }
    const limits = defaultLimits
    app = await appOf(engine, { logger, limits, sources: new Map([['waiting', source]]) })
    const peer = await Peer.connect(await socketAddress(app))
    sockets.push(peer.socket)
    const start = { type: 'start', model: 'waiting', prompt: 'a' }
    for (let i = 0; i < 500; i++) peer.say(start)
    for (let i = 0; i < 500; i++)
      expect(await peer.next()).toMatchObject({ error: { code: 'engine_unavailable' } })
    await expect.poll(() => lines.length, soon).toBe(2)
    expect(lines.reduce((sum, { refused = 0 }) => sum + refused, 0)).toBe(500)
    expect(lines.every(({ err, level }) => level === 40 && err === undefined)).toBe(true)
    arrive(waiting)
  })
})
