/**
 * One client attacks at the door of a real server; another one's requests are answered all the while, and
 * nothing of the attack stays behind. On a machine that does nothing else, BASIN_FIGURES=1 prints what was
 * measured and holds the other client's wait to its bound; otherwise what other programs take would count too,
 * and only a starved client is an error. BASIN_SCALE=10 takes ten times as many attackers (1,000 idle sockets,
 * 64 busy ones, 200 clients that time out).
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { addKey } from '../../src/server/api-keys.js'
import { sumOfSamples } from '../support/metric-samples.js'
import { Peer } from '../support/peer.js'
import { Server, writeModels } from '../support/process.js'
import { postText, RawClient } from '../support/raw-client.js'
import { idleMachine, mostWait, percentile99 } from '../support/waits.js'

// Long enough for a slow machine.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 60_000 })
const soon = { timeout: 60_000 }

const scale = Number(process.env['BASIN_SCALE'] ?? 1)
const REQUESTS = 60
const MEBIBYTE = 2 ** 20
const MOST_MEBIBYTES = 256

let folder: string
let server: Server
let port: number
let attacker: string
let victim: string
let operator: string
/** Of the victim, in milliseconds, while nobody attacks. */
let undisturbed: number

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'basin-attacks-'))
  const keys = join(folder, 'keys.json')
  attacker = addKey(keys, 'attacker')
  victim = addKey(keys, 'victim')
  operator = addKey(keys, 'operator', true)
  server = await Server.start(writeModels(), '--keys', keys, '--log-level', 'silent')
  port = Number(new URL(server.url).port)
  await percentile()
  undisturbed = await percentile()
})
afterAll(async () => {
  await server.stop()
  rmSync(folder, { recursive: true })
})

const body = { prompt: 'once upon', max_tokens: 4, temperature: 0 }
const endless = { ...body, refinement: { max_steps: null, tolerance: 0, min_steps: 100_000 } }

async function complete(): Promise<void> {
  const reply = await fetch(`${server.url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': victim },
    body: JSON.stringify(body),
  })
  if (reply.status !== 200) throw new Error(`${reply.status}: ${await reply.text()}`)
  await reply.text()
}

const percentile = (): Promise<number> => percentile99(REQUESTS, complete)

async function metric(name: string): Promise<number> {
  const headers = { 'x-api-key': operator }
  return sumOfSamples(await (await fetch(`${server.url}/metrics`, { headers })).text(), name)
}

const raw: RawClient[] = []
const peers: Peer[] = []
async function connect(bytes: string | Buffer, reads = true): Promise<RawClient> {
  const client = await RawClient.open(port, { reads })
  raw.push(client)
  client.send(bytes)
  return client
}

async function peer(): Promise<Peer> {
  const opened = await Peer.connect(server.socket, { 'x-api-key': attacker })
  peers.push(opened)
  return opened
}

const times = <T>(count: number, work: (i: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count * scale }, (_, i) => work(i)))

afterEach(() => {
  for (const client of raw.splice(0)) client.leave()
  for (const { socket } of peers.splice(0)) socket.terminate()
})

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const key = () => `X-Api-Key: ${attacker}`
const head = (length: number): string =>
  `POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n${key()}\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`

/** The beginning of a socket's frame of 1 MiB, all but its last byte. */
function unfinishedFrame(): Buffer {
  const start = Buffer.alloc(14)
  start.writeUInt8(0x81)
  start.writeUInt8(0xff, 1)
  start.writeUInt32BE(MEBIBYTE, 6)
  return Buffer.concat([start, Buffer.alloc(MEBIBYTE - 1, 0x20)])
}

const handshake = (): string =>
  [
    'GET /v1/refine HTTP/1.1',
    'Host: localhost',
    key(),
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}`,
    '',
    '',
  ].join('\r\n')

/** What the attacker does again and again until it is told to stop. */
type Attack = (stopped: () => boolean) => Promise<void>

const repeated =
  (work: () => Promise<void>): Attack =>
  async (stopped) => {
    while (!stopped()) await work()
  }

const attacks: [string, Attack][] = [
  [
    'requests behind each other on connections that break',
    repeated(async () => {
      const client = await connect(postText('/v1/completions', endless, key()).repeat(10))
      await pause(15)
      client.leave()
    }),
  ],
  [
    'clients that time out',
    repeated(async () => {
      await times(20, async () => {
        const signal = AbortSignal.timeout(100)
        const headers = { 'content-type': 'application/json', 'x-api-key': attacker }
        const asked = { method: 'POST', headers, body: JSON.stringify(endless), signal }
        await fetch(`${server.url}/v1/completions`, asked).catch(() => undefined)
      })
    }),
  ],
  [
    'requests that never arrive in full',
    async (stopped) => {
      await times(50, (i) => connect(i % 2 === 0 ? 'GET / HTTP/1.1\r\nHost: lo' : head(1000)))
      while (!stopped()) await pause(50)
    },
  ],
  [
    'bodies in pieces of one byte',
    repeated(async () => {
      const chunked = head(0).replace('Content-Length: 0', 'Transfer-Encoding: chunked')
      const clients = await times(2, () => connect(chunked + '1\r\n \r\n'.repeat(300_000)))
      await pause(300)
      for (const client of clients) client.leave()
    }),
  ],
  [
    'sockets that are idle, and sockets that are busy',
    async (stopped) => {
      await times(100, peer)
      const busy = await Promise.all(Array.from({ length: Math.ceil(6.4 * scale) }, peer))
      const refinement = { max_steps: 400 }
      for (const each of busy) {
        each.say({ type: 'start', ...body, refinement })
        each.socket.on('message', (data: Buffer) => {
          if (data.includes('"finished"') && !stopped())
            each.say({ type: 'start', ...body, refinement })
        })
      }
      while (!stopped()) await pause(50)
    },
  ],
  [
    'frames that never end',
    repeated(async () => {
      const clients = await times(5, () => connect(handshake()))
      for (const client of clients) client.send(unfinishedFrame())
      await pause(100)
    }),
  ],
  [
    'frames that are refused',
    async (stopped) => {
      const attackers = await times(2, peer)
      while (!stopped()) {
        for (const each of attackers)
          for (let i = 0; i < 50; i++) each.say({ type: 'start', model: 'none', prompt: 'a' })
        await pause(20)
      }
    },
  ],
  [
    'readers of one byte a second',
    async (stopped) => {
      const streamed = { stream: true, stream_options: { include_refinement: true } }
      const asked = { ...endless, refinement: { ...endless.refinement, candidates: 8 } }
      const text = postText('/v1/completions', { ...asked, ...streamed }, key())
      await times(2, () => connect(text, false))
      while (!stopped()) await pause(50)
    },
  ],
]

it.each(attacks)('%s starve no other client and leave nothing behind', async (title, attack) => {
  const before = (await metric('basin_process_resident_memory_bytes')) / MEBIBYTE
  let stop = false
  const attacking = attack(() => stop)
  await pause(200)
  const disturbed = await percentile()
  const grown = (await metric('basin_process_resident_memory_bytes')) / MEBIBYTE - before
  stop = true
  await attacking
  for (const client of raw.splice(0)) client.leave()
  for (const { socket } of peers.splice(0)) socket.terminate()
  if (idleMachine) {
    const [from, to] = [undisturbed, disturbed].map((ms) => ms.toFixed(0))
    console.info(`${title}: p99 of the other client ${from} to ${to} ms, ${grown.toFixed(0)} MiB`)
  }
  expect(disturbed).toBeLessThan(mostWait(undisturbed))
  expect(grown).toBeLessThan(MOST_MEBIBYTES)
  for (const name of ['basin_slots_used', 'basin_sockets_open', 'basin_sockets_unfinished_bytes'])
    await expect.poll(() => metric(name), soon).toBe(0)
  await expect.poll(() => metric('basin_requests'), soon).toBe(0)
})
