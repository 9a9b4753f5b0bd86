/**
 * A real server under hostile sockets: frames made from the schemas with faults, texts that are no frames, and
 * bytes that break the protocol itself. None makes it fail, hang, leave out a number or keep anything.
 * `npm run fuzz -- frames --count 20000 --seed 7` runs more of them (test/fuzz.mjs).
 */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { clientFrames } from '../../src/server/schemas/frame-schema.js'
import { damaged, pick, type Random, randomOf, type Schema, valueOf } from '../support/arbitrary.js'
import { Server, writeModels } from '../support/process.js'

const count = Number(process.env['BASIN_FUZZ_COUNT'] ?? 400)
const seed = Number(process.env['BASIN_FUZZ_SEED'] ?? 1)
const AT_ONCE = 8
const FRAMES_PER_SOCKET = 20
/** The share of sockets that end with bytes against the protocol. */
const BREAKING_SHARE = 0.3
/** After which an answer to the last frame counts as missing: the server ends each answer after 1 s. */
const REPLY_TIMEOUT_MS = 60_000
/** Normal, going away, protocol error, no status, abnormal, not UTF-8, policy, too large. */
const CLOSE_CODES = [1000, 1001, 1002, 1005, 1006, 1007, 1008, 1009]

let server: Server
beforeAll(async () => {
  const small = ['--max-seconds-cap', '1', '--max-steps-cap', '64', '--max-request-steps', '4096']
  const short = ['--pause-seconds', '1', '--hold-seconds', '1']
  server = await Server.start(
    writeModels(),
    '--slots',
    '8',
    '--log-level',
    'silent',
    ...small,
    ...short,
  )
})
afterAll(() => server.stop())

function frameOf(random: Random): string | Buffer {
  const kind = random()
  if (kind < 0.03) return Buffer.from(Array.from({ length: 50 }, () => Math.floor(random() * 256)))
  if (kind < 0.05) return '['.repeat(1 + Math.floor(random() * 5000))
  if (kind < 0.06) return `{"type":"start","prompt":"${'a'.repeat(2 ** 20)}"}`
  const type = pick(random, ['start', 'start', 'start', ...Object.keys(clientFrames)])
  const schema = clientFrames[type as keyof typeof clientFrames] as unknown as Schema
  const value = {
    ...(valueOf(schema, random) as object),
    ...(type === 'start' && random() < 0.7 && { model: 'letters', prompt: 'once upon a time' }),
  }
  const text = JSON.stringify(kind < 0.4 ? damaged(value, random) : value)
  return kind < 0.1 ? text.slice(0, Math.floor(random() * text.length)) : text
}

/** Bytes that no client of the protocol sends: unmasked, reserved, endless or torn frames. */
const breaking = (random: Random): Buffer =>
  pick<() => Buffer>(random, [
    () => Buffer.of(0x81, 0x01, 0x61),
    () => Buffer.of(0xf1, 0x81, 0, 0, 0, 0, 0x61),
    () => Buffer.of(0x83, 0x80, 0, 0, 0, 0),
    () => Buffer.of(0x80, 0x81, 0, 0, 0, 0, 0x61),
    () => Buffer.of(0x09, 0x80, 0, 0, 0, 0),
    () => Buffer.of(0x89, 0xfe, 0x01, 0x00, 0, 0, 0, 0),
    () => Buffer.of(0x88, 0x81, 0, 0, 0, 0, 0x03),
    () => Buffer.of(0x88, 0x82, 0, 0, 0, 0, 0x00, 0x01),
    () => Buffer.of(0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0),
    () => Buffer.of(0x81, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0),
    () => Buffer.of(0x81, 0xff, 0, 0, 0, 0, 0, 0x3f, 0xff, 0xff, 0, 0, 0, 0, 0x61, 0x61),
    () => Buffer.of(0x01, 0x81, 0, 0, 0, 0, 0x61, 0x01, 0x81, 0, 0, 0, 0, 0x61),
    () => Buffer.of(0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe),
    () => Buffer.from(Array.from({ length: 40 }, () => Math.floor(random() * 256))),
  ])()

/** How often each type of frame, each code of an error and each code of a close came. */
const types: Record<string, number> = {}
const errors: Record<string, number> = {}
const closes: Record<number, number> = {}
const tally = <K extends string | number>(counts: Record<K, number>, key: K) => {
  counts[key] = ((counts[key] as number | undefined) ?? 0) + 1
}

interface Received {
  sequence_number: number
  type: string
  error?: { code: string; message: string }
}

/** Sends frames on one socket. Returns what is wrong with what came back; undefined if nothing is. */
async function attack(name: string, frames: number, random: Random): Promise<string | undefined> {
  const socket = new WebSocket(server.socket)
  await once(socket, 'open')
  const received: Received[] = []
  let last: () => void = () => undefined
  const answered = new Promise<void>((resolve) => (last = resolve))
  socket.on('message', (data: Buffer) => {
    const frame = JSON.parse(data.toString()) as Received
    received.push(frame)
    tally(types, frame.type)
    if (frame.error) tally(errors, frame.error.code)
    if (frame.error?.message.includes(name)) last()
  })
  const closed = new Promise<number>((resolve) => {
    socket.on('error', () => undefined).once('close', resolve)
  })
  for (let i = 0; i < frames; i++) {
    socket.send(frameOf(random))
    if (random() < 0.3) await new Promise((resolve) => setTimeout(resolve, random() * 20))
  }
  // Frames are acted on in their order, so the answer to this one is the last.
  socket.send('{"type":"cancel"}')
  socket.send(JSON.stringify({ type: 'start', model: name, prompt: 'a' }))
  const late = new Promise<'late'>((resolve) => {
    setTimeout(() => resolve('late'), REPLY_TIMEOUT_MS).unref()
  })
  const end = await Promise.race([answered, closed, late])
  if (end === 'late') return 'the last frame got no answer'
  if (end === undefined && random() < BREAKING_SHARE) await breakOff(socket, closed, random)
  else socket.close()
  const code = await Promise.race([closed, late])
  if (code === 'late') return 'the connection was not closed'
  tally(closes, code)
  if (!CLOSE_CODES.includes(code)) return `closed with ${code}`
  const gap = received.findIndex(({ sequence_number: number }, i) => number !== i)
  if (gap >= 0) return `frame ${gap} has the number ${received[gap]?.sequence_number ?? 'none'}`
  return received.some(({ error }) => error?.code === 'internal') ? 'an internal error' : undefined
}

async function breakOff(socket: WebSocket, closed: Promise<number>, random: Random): Promise<void> {
  const { _socket: connection } = socket as unknown as { _socket: Socket }
  connection.write(breaking(random))
  // Where the server waits for the rest of a frame, the client leaves.
  const leaving = setTimeout(() => socket.terminate(), 200)
  await closed
  clearTimeout(leaving)
}

it(
  `${count} frames of seed ${seed} get no internal error, no gap, and all an answer`,
  { timeout: Math.max(300_000, count * 1000) },
  async () => {
    const random = randomOf(seed)
    const faults = new Set<string>()
    let left = count
    let opened = 0
    const client = async () => {
      while (left > 0) {
        const frames = Math.min(left, FRAMES_PER_SOCKET)
        left -= frames
        const name = `last-${opened++}`
        const found = await attack(name, frames, random).catch((error: unknown) => String(error))
        if (found !== undefined) faults.add(found)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, client))
    console.info({ fuzzer: 'frames', seed, count, sockets: opened, types, errors, closes })
    expect([...faults]).toEqual([])
    const soon = { timeout: 30_000 }
    await expect.poll(() => server.metric('basin_sockets_open'), soon).toBe(0)
    await expect.poll(() => server.metric('basin_slots_used'), soon).toBe(0)
    expect(await server.metric('basin_sockets_unfinished_bytes')).toBe(0)
    expect((await fetch(`${server.url}/health`)).status).toBe(200)
    // A draw may end the text at once, so its length says nothing.
    const { choices } = await server.complete({ prompt: 'a', max_tokens: 2 })
    expect(choices).toHaveLength(1)
  },
)
