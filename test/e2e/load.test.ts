/**
 * One real process under many clients: some time out, some are idle, many ask at once, and some read one
 * byte a second. BASIN_FIGURES=1 prints what was measured.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Peer } from '../support/peer.js'
import { Server, writeModels } from '../support/process.js'
import { SlowReader } from '../support/slow-reader.js'

// Long enough for a slow machine.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 60_000 })
const soon = { timeout: 120_000 }

const MEBIBYTE = 2 ** 20

let server: Server
beforeEach(async () => {
  server = await Server.start(writeModels(), '--log-level', 'silent')
})
afterEach(() => server.stop())

const endless = { max_steps: null, tolerance: 0, patience: 1000, min_steps: 100_000 }
const greedy = { prompt: 'once upon a time', max_tokens: 2, temperature: 0 }
const slots = () => server.metric('basin_slots_used')
const resident = async () => (await server.metric('basin_process_resident_memory_bytes')) / MEBIBYTE

const figure = (text: string) => {
  if (process.env['BASIN_FIGURES']) console.info(text)
}

const secondsOf = async (work: () => Promise<unknown>): Promise<number> => {
  const began = performance.now()
  await work()
  return (performance.now() - began) / 1000
}

it('200 clients that time out free their slots and pages, and the next one is answered', async () => {
  const leaving = new AbortController()
  const clients = Array.from({ length: 200 }, () =>
    server
      .post('/v1/completions', { ...greedy, refinement: endless }, leaving.signal)
      .catch(() => undefined),
  )
  await expect.poll(() => server.metric('basin_requests'), soon).toBe(200)
  leaving.abort()
  const seconds = await secondsOf(() => server.complete({ ...greedy, max_tokens: 8 }))
  figure(`after 200 clients that timed out, one is answered in ${seconds.toFixed(3)} s`)
  expect(seconds).toBeLessThan(60)
  await Promise.all(clients)
  await expect.poll(slots, soon).toBe(0)
  expect(await server.metric('basin_cache_pages_used')).toBe(0)
})

describe('1,000 idle sockets and 64 busy ones', () => {
  const STEPS = 400
  const TOKENS = 8
  /** Steps of a busy answer: two tokens settle in one descent. */
  const ALL = (STEPS * TOKENS) / 2
  const taken = (peer: Peer): number => {
    const last = peer.steps().at(-1)
    return last ? (last.position / 2) * STEPS + last.step : 0
  }

  it('take bounded memory, get equal turns, and stay usable', async () => {
    await server.complete(greedy)
    const before = await resident()
    const idle = await Promise.all(Array.from({ length: 1000 }, () => Peer.connect(server.socket)))
    expect(await server.metric('basin_sockets_open')).toBe(1000)
    const waiting = (await resident()) - before
    const busy = await Promise.all(Array.from({ length: 64 }, () => Peer.connect(server.socket)))
    const refinement = { max_steps: STEPS }
    for (const peer of busy) peer.say({ type: 'start', ...greedy, max_tokens: TOKENS, refinement })
    await Promise.race(busy.map((peer) => peer.finished()))
    const behind = busy.map(taken).sort((a, b) => a - b)
    const counts = await Promise.all(
      busy.map(async (peer) => {
        if (peer.frames.at(-1)?.type !== 'finished') await peer.finished()
        return peer.frames.at(-1)?.['refinement'] as { steps: number }
      }),
    )
    const grown = (await resident()) - before
    figure(
      `1,000 idle sockets: ${waiting.toFixed(0)} MiB; with 64 busy ones ${grown.toFixed(0)} MiB; ` +
        `when the first had all its ${ALL} steps, the last had ${behind[0] ?? 0}`,
    )
    for (const { steps } of counts) expect(steps).toBe(ALL)
    expect(behind[0]).toBeGreaterThan(ALL / 2)
    expect(waiting).toBeLessThan(128)
    expect(grown).toBeLessThan(256)
    const pongs = idle.map(
      ({ socket }) => new Promise((resolve) => socket.once('pong', resolve).ping()),
    )
    await Promise.all(pongs)
    for (const peer of idle.slice(0, 64)) peer.say({ type: 'start', ...greedy })
    for (const peer of idle.slice(0, 64)) expect((await peer.finished()).text).toHaveLength(2)
    for (const { socket } of [...idle, ...busy]) socket.terminate()
    await expect.poll(() => server.metric('basin_sockets_open'), soon).toBe(0)
  })
})

describe('a client that reads one byte a second', () => {
  /** Many candidates have many events, which soon fill the buffers of the system. */
  const CANDIDATES = 32
  const asked = {
    ...greedy,
    refinement: { ...endless, candidates: CANDIDATES, max_seconds: 240 },
  }
  const streamed = {
    ...asked,
    stream: true,
    stream_options: { include_refinement: true },
  }
  const respond = {
    input: greedy.prompt,
    max_output_tokens: 2,
    stream: true,
    refinement: asked.refinement,
    include: ['basin:refinement_step'],
  }
  const steps = () => server.metric('basin_refinement_steps_total')
  const STEPS = 100_000

  it.each([
    ['of completions', () => SlowReader.post(server.url, '/v1/completions', streamed)],
    ['of responses', () => SlowReader.post(server.url, '/v1/responses', respond)],
    ['of a socket', () => SlowReader.say(server.url, '/v1/refine', { type: 'start', ...asked })],
  ])('%s leaves other clients answered and takes bounded memory', async (_, open) => {
    await server.complete(greedy)
    const before = await resident()
    const reader = open()
    await expect.poll(slots, soon).toBe(CANDIDATES)
    let others = 0
    while ((await steps()) < STEPS) {
      expect((await server.complete(greedy)).usage.completion_tokens).toBe(2)
      others++
    }
    const grown = (await resident()) - before
    expect(await slots()).toBe(CANDIDATES)
    reader.hurry()
    const stepsWhileSlow = await steps()
    const received = () =>
      Array.from(reader.text.matchAll(/"step":(\d+)/g), ([, step]) => Number(step) * CANDIDATES)
    // Steps come in their order: after a later one, none of those before it is still to come.
    await expect.poll(() => received().at(-1) ?? 0, soon).toBeGreaterThan(stepsWhileSlow)
    reader.leave()
    // Only the steps before it read at full speed: later ones all reach a client that reads.
    const receivedWhileSlow = received().filter((step) => step <= stepsWhileSlow).length
    figure(
      `${stepsWhileSlow} steps, ${others} other answers meanwhile, ${receivedWhileSlow} steps received, ${grown.toFixed(0)} MiB`,
    )
    expect(receivedWhileSlow).toBeGreaterThan(0)
    expect(receivedWhileSlow).toBeLessThan(stepsWhileSlow / 2)
    expect(grown).toBeLessThan(128)
    await expect.poll(slots, soon).toBe(0)
  })
})
