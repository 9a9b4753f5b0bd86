/** The socket `/v1/refine`: its frames, its controls, and the frames that it refuses. */
import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { Peer } from '../support/peer.js'
import { openServer, socketAddress, type TestServer } from '../support/server.js'

let server: TestServer
const peers: Peer[] = []
const open = async (...asked: Parameters<typeof openServer>) =>
  (server = await openServer(...asked))

async function connect(): Promise<Peer> {
  const peer = await Peer.connect(await socketAddress(server.app))
  peers.push(peer)
  return peer
}

afterEach(async () => {
  for (const peer of peers.splice(0)) peer.socket.terminate()
  await server.app.close()
})

const endless = { type: 'start', prompt: 'a', max_tokens: 1, refinement: { max_steps: null } }
/** Lets the engine take steps until `peer` has got a frame of this type. */
async function tickUntil(peer: Peer, type: 'started' | 'committed' | 'finished') {
  for (;;) {
    const frame = peer.frames.find((each) => each.type === type)
    if (frame) return frame
    server.engine.tick()
    await new Promise(setImmediate)
  }
}

describe('an answer on a socket', () => {
  it('is sent from start to end in frames numbered without gaps', async () => {
    await open()
    const peer = await connect()
    peer.say({ type: 'start', prompt: 'ab', max_tokens: 2, refinement: { max_steps: 3 } })
    const finished = await peer.finished()
    expect(peer.frames.map(({ type }) => type)).toEqual([
      'started',
      'step',
      'step',
      'step',
      'committed',
      'step',
      'step',
      'step',
      'committed',
      'finished',
    ])
    expect(peer.frames.map((frame) => frame.sequence_number)).toEqual([...Array(10).keys()])
    expect(peer.frames[0]).toMatchObject({ model: 'scripted', prompt_tokens: 2, queue_seconds: 0 })
    expect(peer.frames[1]).toEqual({
      sequence_number: 1,
      type: 'step',
      position: 0,
      step: 1,
      candidate: 0,
      energy: 8,
      best_energy: 8,
      gradient_norm: 8,
      text: 'draft 1',
      top: [],
    })
    expect(peer.frames[4]).toMatchObject({
      position: 0,
      text: 'alpha ',
      tokens: 1,
      steps: 3,
      stop_reason: 'max_steps',
      energy: { initial: 8, final: 2, best: 2 },
    })
    expect(finished).toMatchObject({
      finish_reason: 'length',
      text: 'alpha beta ',
      usage: { prompt_tokens: 2, completion_tokens: 2, total_tokens: 4 },
      refinement: { steps: 6, stop_reason: 'max_steps', converged: false },
    })
  })

  it('settles with the best so far after finish', async () => {
    await open({ auto: false })
    const peer = await connect()
    peer.say(endless)
    await tickUntil(peer, 'started')
    peer.say({ type: 'finish' })
    await tickUntil(peer, 'finished')
    expect(await peer.finished()).toMatchObject({
      text: 'alpha ',
      refinement: { stop_reason: 'finished' },
    })
  })

  it('goes on from where it stopped after extend', async () => {
    await open()
    const peer = await connect()
    const start = { type: 'start', prompt: 'a', max_tokens: 1 }
    peer.say({ ...start, refinement: { max_steps: 3 } })
    expect(await peer.finished()).toMatchObject({ refinement: { steps: 3 } })
    peer.say({ type: 'extend', steps: 2 })
    const extended = await peer.finished()
    peer.say({ ...start, refinement: { max_steps: 5 } })
    const longer = await peer.finished()
    expect({ ...extended, sequence_number: 0 }).toEqual({ ...longer, sequence_number: 0 })
  })

  it('takes no step while it is paused', async () => {
    await open({ auto: false })
    const peer = await connect()
    peer.say({ ...endless, refinement: { max_steps: 4 } })
    await tickUntil(peer, 'started')
    peer.say({ type: 'pause' })
    const figures = () => server.app.inject({ method: 'GET', url: '/metrics' })
    await expect
      .poll(async () => {
        server.engine.tick()
        return (await figures()).body
      })
      .toContain('basin_requests{model="scripted",state="paused"} 1')
    const taken = peer.steps().length
    for (let i = 0; i < 10; i++) server.engine.tick()
    peer.say({ type: 'resume' })
    await tickUntil(peer, 'finished')
    expect(peer.steps()[taken]?.step).toBe(taken + 1)
    expect(await peer.finished()).toMatchObject({ refinement: { steps: 4 } })
  })

  it('ends after cancel, and another can start', async () => {
    await open({ auto: false })
    const peer = await connect()
    peer.say(endless)
    await tickUntil(peer, 'started')
    peer.say({ type: 'cancel' })
    expect(await peer.finished()).toMatchObject({ finish_reason: 'cancelled' })
    expect(server.engine.outstanding).toBe(0)
    peer.say({ type: 'start', prompt: 'b', max_tokens: 1 })
    await expect.poll(() => server.engine.outstanding).toBe(1)
  })

  it('ends when its connection closes', async () => {
    await open({ auto: false })
    const peer = await connect()
    peer.say(endless)
    await tickUntil(peer, 'started')
    peer.socket.terminate()
    await expect.poll(() => server.engine.outstanding).toBe(0)
  })

  it('is released from being held when its connection closes', async () => {
    await open()
    const peer = await connect()
    peer.say({ type: 'start', prompt: 'a', max_tokens: 1 })
    await peer.finished()
    await peer.close()
    const figures = () => server.app.inject({ method: 'GET', url: '/metrics' })
    await expect
      .poll(async () => (await figures()).body)
      .toContain('basin_requests{model="scripted",state="held"} 0')
  })

  it('stays held if the next start is refused', async () => {
    await open()
    const peer = await connect()
    peer.say({ type: 'start', prompt: 'a', max_tokens: 1, refinement: { max_steps: 2 } })
    await peer.finished()
    peer.say({ type: 'start', model: 'oracle', prompt: 'a' })
    expect(await peer.next('error')).toMatchObject({ error: { code: 'model_not_found' } })
    peer.say({ type: 'extend', steps: 1 })
    expect(await peer.finished()).toMatchObject({ refinement: { steps: 3 } })
  })
})

describe('a slow client', () => {
  it('misses steps that newer ones have overtaken, and nothing else', async () => {
    // A client that does not read does not answer pings, and would be disconnected on a slow machine.
    await open({}, { heartbeatSeconds: 600 })
    const peer = await connect()
    peer.socket.pause()
    const refinement = { max_steps: 60_000 }
    peer.say({ type: 'start', prompt: 'a', max_tokens: 3, refinement, hold: false })
    await expect.poll(() => server.engine.outstanding).toBe(1)
    await expect.poll(() => server.engine.outstanding, { timeout: 50_000 }).toBe(0)
    peer.socket.resume()
    await peer.finished()
    const { frames } = peer
    expect(frames.filter(({ type }) => type === 'started')).toHaveLength(1)
    expect(frames.filter(({ type }) => type === 'committed')).toHaveLength(3)
    expect(frames.map((frame) => frame.sequence_number)).toEqual([...frames.keys()])
    expect(peer.steps().length).toBeLessThan(3 * 60_000)
    expect(peer.steps().at(-1)).toMatchObject({ position: 2, step: 60_000 })
  })
})

describe('extend', () => {
  const capped = { caps: { maxSteps: 10, maxSeconds: 20, candidates: 4 } }

  it('is refused beyond the cap on the sum of all extensions', async () => {
    await open({}, capped)
    const peer = await connect()
    peer.say({ type: 'start', prompt: 'a', max_tokens: 1, refinement: { max_steps: 6 } })
    await peer.finished()
    peer.say({ type: 'extend', steps: 3 })
    expect(await peer.finished()).toMatchObject({ refinement: { steps: 9 } })
    peer.say({ type: 'extend', steps: 2 })
    expect(await peer.next('error')).toMatchObject({
      error: {
        code: 'out_of_range',
        param: 'steps',
        message: 'steps must be at most 1 (an answer may take 10 in all), got 2',
      },
    })
    peer.say({ type: 'extend', steps: 1 })
    expect(await peer.finished()).toMatchObject({ refinement: { steps: 10 } })
  })

  it('of a running answer counts earlier extensions', async () => {
    await open({ auto: false }, capped)
    const peer = await connect()
    peer.say({ ...endless, refinement: { max_steps: 6, max_seconds: 15 } })
    await tickUntil(peer, 'started')
    peer.say({ type: 'extend', steps: 4, seconds: 5 })
    peer.say({ type: 'extend', steps: 1 })
    expect(await peer.next('error')).toMatchObject({ error: { param: 'steps' } })
    peer.say({ type: 'extend', seconds: 1 })
    expect(await peer.next('error')).toMatchObject({ error: { param: 'seconds' } })
    await tickUntil(peer, 'finished')
    expect(await peer.finished()).toMatchObject({ refinement: { steps: 10 } })
  })
})

describe('a frame', () => {
  const wrong: [string, string | Buffer, string | null][] = [
    ['that is not JSON', 'start!', 'frame'],
    ['that is a list', '[]', 'frame'],
    ['that is null', 'null', 'frame'],
    ['without a type', '{}', 'frame'],
    ['of an unknown type', '{"type":"launch"}', 'frame'],
    ['of an inherited type', '{"type":"constructor"}', 'frame'],
    ['that is binary', Buffer.from('{"type":"start"}'), 'frame'],
    ['that is too long', `{"type":"start","prompt":"${'a'.repeat(5000)}"}`, 'frame'],
    ['with a stray field', '{"type":"start","promt":"a"}', 'promt'],
    ['with a wrong type', '{"type":"start","prompt":5}', 'prompt'],
    ['with infinity', '{"type":"start","prompt":"a","temperature":1e999}', 'temperature'],
    [
      'with negative steps',
      '{"type":"start","prompt":"a","refinement":{"max_steps":-1}}',
      'refinement.max_steps',
    ],
    ['with an empty prompt', '{"type":"start","prompt":""}', 'prompt'],
    ['that extends nothing', '{"type":"extend","steps":1}', null],
    ['that extends by less than nothing', '{"type":"extend","steps":-1}', 'steps'],
    ['that extends by half a step', '{"type":"extend","steps":0.5}', 'steps'],
    ['that finishes nothing', '{"type":"finish"}', 'type'],
    ['that cancels nothing', '{"type":"cancel"}', 'type'],
    ['that pauses nothing', '{"type":"pause"}', 'type'],
  ]

  it.each(wrong)('%s is refused, and the connection goes on', async (_, frame, param) => {
    await open({}, { frameBytes: 4096 })
    const peer = await connect()
    peer.socket.send(frame)
    expect(await peer.next('error')).toMatchObject({
      sequence_number: 0,
      error: { type: 'invalid_request_error', param },
    })
    peer.say({ type: 'start', prompt: 'a', max_tokens: 1 })
    expect(await peer.finished()).toMatchObject({ text: 'alpha ' })
  })

  it('that starts a second answer is refused, and the first goes on', async () => {
    await open({ auto: false })
    const peer = await connect()
    peer.say({ ...endless, refinement: { max_steps: 3 } })
    await tickUntil(peer, 'started')
    peer.say({ type: 'start', prompt: 'b' })
    expect(await peer.next('error')).toMatchObject({ error: { code: 'invalid_frame' } })
    await tickUntil(peer, 'finished')
    expect(server.engine.jobs).toHaveLength(1)
  })

  it.each([
    ['far beyond the limit', randomBytes(20_000).toString('hex'), 1009],
    ['that is not UTF-8', Buffer.from([0xff, 0xfe]), 1007],
  ])('%s closes its connection, and no other', async (_, frame, code) => {
    await open({}, { frameBytes: 4096 })
    const [peer, other] = [await connect(), await connect()]
    peer.socket.send(frame, { binary: false })
    expect(await peer.closed).toBe(code)
    other.say({ type: 'start', prompt: 'a', max_tokens: 1 })
    expect(await other.finished()).toMatchObject({ text: 'alpha ' })
  })

  it('that starts an answer gets queue_full while the queue is full', async () => {
    await open({ auto: false, slots: 1, maxQueue: 0 })
    const [first, second] = [await connect(), await connect()]
    first.say(endless)
    await expect.poll(() => server.engine.outstanding).toBe(1)
    second.say(endless)
    expect(await second.next('error')).toMatchObject({ error: { code: 'queue_full' } })
  })

  it('that starts an answer is refused while the server shuts down', async () => {
    await open()
    const peer = await connect()
    void server.engine.drain()
    peer.say(endless)
    expect(await peer.next('error')).toMatchObject({ error: { code: 'shutting_down' } })
  })

  it('that fails in the engine gets no reason from there', async () => {
    await open()
    const peer = await connect()
    peer.say({ type: 'start', prompt: 'explode', max_tokens: 2 })
    const { error } = await peer.next('error')
    expect(error).toMatchObject({ code: 'internal', message: 'Internal error' })
  })
})

describe('a connection', () => {
  it('is closed if its peer does not answer pings', async () => {
    await open({ auto: false }, { heartbeatSeconds: 0.02 })
    const peer = await connect()
    peer.say(endless)
    peer.socket.pong = () => undefined
    peer.socket.pause()
    await expect.poll(() => server.engine.jobs.length).toBe(1)
    await expect.poll(() => server.engine.outstanding).toBe(0)
  })

  it('is closed with 1001 when the server shuts down', async () => {
    await open()
    const peer = await connect()
    await server.app.close()
    expect(await peer.closed).toBe(1001)
  })
})
