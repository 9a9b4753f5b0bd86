/** One real process: budgets, sockets, concurrent requests, disconnects, invalid requests, memory. */
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Peer } from '../support/peer.js'
import { Server, writeModels } from '../support/process.js'

let server: Server

beforeAll(async () => {
  server = await Server.start(writeModels(), '--slots', '16', '--max-queue', '4')
})

afterAll(() => server.stop())

const greedy = { prompt: 'once upon a time', max_tokens: 2, temperature: 0 }
const endless = { max_steps: null, tolerance: 0, patience: 1000, min_steps: 100_000 }
const idle = () => expect.poll(() => server.metric('basin_slots_used'), { timeout: 10_000 }).toBe(0)

describe('a budget', () => {
  it.each([1, 2, 8])('of %d steps ends an answer after them', async (steps) => {
    const { refinement } = await server.complete({ ...greedy, refinement: { max_steps: steps } })
    expect(refinement).toMatchObject({ steps, stop_reason: 'max_steps', converged: false })
  })

  it('without a step limit and with a tolerance ends an answer by convergence', async () => {
    const unbounded = { max_steps: null, tolerance: 1e-3, patience: 3 }
    const { refinement } = await server.complete({ ...greedy, refinement: unbounded })
    expect(refinement).toMatchObject({ stop_reason: 'converged', converged: true })
    expect(refinement.steps).toBeGreaterThan(3)
  })

  it('of seconds ends an answer after them', async () => {
    const refinement = { ...endless, max_seconds: 0.05 }
    const reply = await server.complete({ ...greedy, refinement })
    expect(reply.refinement.stop_reason).toBe('max_seconds')
  })
})

describe('an answer on the socket', () => {
  const start = { type: 'start', ...greedy }

  it('is the same after an extension as after one longer run', async () => {
    const peer = await Peer.connect(server.socket)
    peer.say({ ...start, refinement: { max_steps: 3 } })
    await peer.finished()
    peer.say({ type: 'extend', steps: 4 })
    const extended = await peer.finished()
    peer.say({ ...start, refinement: { max_steps: 7 } })
    const longer = await peer.finished()
    expect({ ...extended, sequence_number: 0 }).toEqual({ ...longer, sequence_number: 0 })
    await peer.close()
  })

  it('is the best so far after finish', async () => {
    const peer = await Peer.connect(server.socket)
    peer.say({ ...start, refinement: endless })
    await peer.next('step')
    peer.say({ type: 'finish' })
    const { refinement, text } = await peer.finished()
    expect(refinement.stop_reason).toBe('finished')
    expect(text).toHaveLength(2)
    const energies = peer.steps().map(({ energy }) => energy)
    expect(refinement.energy.best).toBeLessThanOrEqual(Math.min(...energies))
    await peer.close()
  })

  it('takes no step while it is paused', async () => {
    const peer = await Peer.connect(server.socket)
    peer.say({ ...start, refinement: endless })
    await peer.next('step')
    peer.say({ type: 'pause' })
    const paused = () => server.metric('basin_requests{model="letters",state="paused"}')
    await expect.poll(paused).toBe(1)
    const before = await server.metric('basin_refinement_steps_total')
    const other = await server.complete({ ...greedy, refinement: { max_steps: 8 } })
    const after = await server.metric('basin_refinement_steps_total')
    expect(after - before).toBe(other.refinement.steps)
    peer.say({ type: 'resume' })
    await peer.next('step')
    await peer.close()
    await idle()
  })
})

describe('sixteen requests at once', () => {
  it('have the texts that each has alone', async () => {
    const words = ['once', 'upon', 'a', 'time', 'there', 'was', 'little', 'fox']
    const requests = Array.from({ length: 16 }, (_, i) => ({
      prompt: [...words.slice(i % 8), ...words.slice(0, i % 5)].join(' '),
      max_tokens: 6 + (i % 4),
      temperature: 0,
      refinement: { max_steps: 2 + (i % 7) },
    }))
    const alone: string[] = []
    for (const request of requests) {
      alone.push((await server.complete(request)).choices[0]?.text ?? '')
    }
    const together = await Promise.all(requests.map((request) => server.complete(request)))
    expect(together.map(({ choices }) => choices[0]?.text)).toEqual(alone)
    expect(new Set(alone).size).toBeGreaterThan(4)
  })
})

describe('a client that disconnects', () => {
  it.each([true, false])('frees its slots (stream: %s)', async (stream) => {
    const leaving = new AbortController()
    const body = { ...greedy, stream, refinement: endless }
    const reply = server.post('/v1/completions', body, leaving.signal).catch(() => undefined)
    await expect.poll(() => server.metric('basin_slots_used')).toBe(1)
    leaving.abort()
    await reply
    await idle()
    expect(await server.metric('basin_cache_pages_used')).toBe(0)
  })

  it('makes no internal error, even while it sends its body', async () => {
    const { hostname, port } = new URL(server.url)
    const upload = () =>
      new Promise<void>((resolve) => {
        const socket = connect(Number(port), hostname, () => {
          socket.write(
            'POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n' +
              'Content-Length: 1000\r\n\r\n{"prompt":',
            () => setTimeout(() => socket.destroy(), 50),
          )
        })
        socket.once('close', () => {
          resolve()
        })
      })
    await Promise.all(Array.from({ length: 20 }, upload))
    const text = async () => (await fetch(`${server.url}/metrics`)).text()
    await expect.poll(text).toMatch(/basin_errors_total\{[^}]*code="cancelled"[^}]*\} [2-9]\d/)
    const internal = (await text())
      .split('\n')
      .filter((line) => /code="internal"\} [1-9]/.test(line))
    expect(internal).toEqual([])
  })

  it('frees its slots on the socket too', async () => {
    const peer = await Peer.connect(server.socket)
    peer.say({ type: 'start', ...greedy, refinement: endless })
    await peer.next('step')
    peer.socket.terminate()
    await idle()
  })
})

describe('a full queue', () => {
  it('refuses a request at once with 429, and serves again when there is room', async () => {
    const leaving = new AbortController()
    const body = { ...greedy, refinement: endless }
    const busy = Array.from({ length: 20 }, () =>
      server.post('/v1/completions', body, leaving.signal).catch(() => undefined),
    )
    const outstanding = () => server.metric('basin_requests')
    await expect.poll(outstanding, { timeout: 10_000 }).toBe(20)
    // Slots are counted by the engine's reports, which come later than the requests.
    await expect.poll(() => server.metric('basin_slots_used')).toBeGreaterThan(0)
    const refused = await server.post('/v1/completions', greedy)
    expect(refused.status).toBe(429)
    expect(refused.headers.get('retry-after')).toBe('1')
    expect(await refused.json()).toMatchObject({ error: { code: 'queue_full' } })
    leaving.abort()
    await Promise.all(busy)
    await idle()
    expect((await server.complete(greedy)).usage.completion_tokens).toBe(2)
  })
})

describe('an invalid request', () => {
  const wrong: [string, object | string | Uint8Array, number, string | null][] = [
    ['a wrong type', { ...greedy, max_tokens: '8' }, 400, 'max_tokens'],
    ['NaN', '{"prompt":"a","temperature":NaN}', 400, 'body'],
    ['1e308', { ...greedy, refinement: { max_seconds: 1e308 } }, 400, 'refinement.max_seconds'],
    ['negative steps', { ...greedy, refinement: { max_steps: -5 } }, 400, 'refinement.max_steps'],
    ['huge steps', { ...greedy, refinement: { max_steps: 1e9 } }, 400, 'refinement.max_steps'],
    ['too long a prompt', { ...greedy, prompt: 'a'.repeat(63) }, 400, 'prompt'],
    ['an empty prompt', { ...greedy, prompt: '' }, 400, 'prompt'],
    ['a character that no token has', { ...greedy, prompt: 'Ü' }, 400, 'prompt'],
    ['tokens that there are not', { ...greedy, prompt: [5, 99] }, 400, 'prompt'],
    ['a template without blanks', { ...greedy, template: 'abc' }, 400, 'template'],
    ['invalid UTF-8', Uint8Array.of(0x7b, 0x22, 0xc3, 0x28, 0x22, 0x7d), 400, 'body'],
    ['an unknown model', { ...greedy, model: 'oracle' }, 404, 'model'],
    ['a body over the limit', { ...greedy, prompt: 'a'.repeat(1_100_000) }, 413, null],
  ]

  it.each(wrong)('with %s is refused, and the engine goes on', async (_, body, status, param) => {
    const reply = await server.post('/v1/completions', body)
    expect(reply.status).toBe(status)
    expect(await reply.json()).toMatchObject({ error: { param } })
    expect((await server.complete(greedy)).choices[0]?.text).toHaveLength(2)
  })

  it('on the socket is refused, and the engine goes on', async () => {
    const peer = await Peer.connect(server.socket)
    for (const frame of ['{', Buffer.from('{}'), `"${'a'.repeat(1_100_000)}"`]) {
      peer.socket.send(frame)
      expect(await peer.next('error')).toMatchObject({ error: { code: 'invalid_frame' } })
    }
    peer.say({ type: 'start', ...greedy })
    expect((await peer.finished()).text).toHaveLength(2)
    const flood = await Peer.connect(server.socket)
    flood.socket.send('a'.repeat(5_000_000))
    expect(await flood.closed).toBe(1009)
    await peer.close()
    expect((await server.complete(greedy)).choices[0]?.text).toHaveLength(2)
  })
})

describe('a long descent', () => {
  const MEGABYTE = 2 ** 20

  it('takes less than 20 MB for 5,000 steps', async () => {
    const peer = await Peer.connect(server.socket)
    const refine = async (steps: number) => {
      const refinement = { max_steps: steps }
      peer.say({ type: 'start', ...greedy, refinement, hold: false })
      expect((await peer.finished()).refinement.steps).toBe(steps)
      peer.forget()
      return server.metric('basin_process_resident_memory_bytes')
    }
    const before = await refine(2000)
    const after = await refine(5000)
    expect((after - before) / MEGABYTE).toBeLessThan(20)
    await peer.close()
  })
})
