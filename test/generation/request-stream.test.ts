import { describe, expect, it } from 'vitest'
import { BufferedRequestStream, MOST_WAITING } from '../../src/generation/client/request-stream.js'
import type { RequestEvent, ToWorker } from '../../src/generation/protocol.js'
import { requestOf } from '../support/engine-bench.js'

const step = (candidate: number, number: number): RequestEvent => ({
  type: 'step',
  position: 0,
  step: number,
  candidate,
  energy: 1,
  bestEnergy: 1,
  gradientNorm: 1,
  text: '',
  top: [],
})
const started: RequestEvent = { type: 'started', promptTokens: 1, queueSeconds: 0 }

/** A stream, and what it has sent to the worker. */
function streamOf(): { stream: BufferedRequestStream; sent: ToWorker[] } {
  const sent: ToWorker[] = []
  return {
    stream: new BufferedRequestStream(requestOf('a'), (message) => sent.push(message)),
    sent,
  }
}

/** What is left in a stream when the worker has let go of its request. */
async function read(stream: BufferedRequestStream): Promise<string[]> {
  stream.release()
  const seen: string[] = []
  for await (const event of stream) {
    seen.push(event.type === 'step' ? `${event.candidate}:${event.step}` : event.type)
  }
  return seen
}

describe('a request stream', () => {
  it('keeps every step of a reader that is not far behind', async () => {
    const { stream } = streamOf()
    for (const number of [1, 2, 3])
      for (const candidate of [0, 1]) stream.push(step(candidate, number))
    expect(await read(stream)).toEqual(['0:1', '1:1', '0:2', '1:2', '0:3', '1:3'])
  })

  it('drops the oldest steps of a candidate that later ones have overtaken', async () => {
    const { stream } = streamOf()
    stream.push(step(1, 1))
    for (let number = 1; number <= MOST_WAITING + 10; number++) stream.push(step(0, number))
    const seen = await read(stream)
    expect(seen).toHaveLength(MOST_WAITING)
    expect(seen.slice(0, 2)).toEqual(['1:1', '0:12'])
    expect(seen.at(-1)).toBe(`0:${MOST_WAITING + 10}`)
  })

  it('drops no event of another type, and no last step before one', async () => {
    const { stream } = streamOf()
    stream.push(step(0, 1))
    stream.push(started)
    stream.push(step(0, 2))
    stream.push(step(1, 2))
    for (let i = 0; i < MOST_WAITING; i++) stream.push(started)
    stream.push(step(0, 3))
    const seen = await read(stream)
    expect(seen).toHaveLength(MOST_WAITING + 5)
    expect(seen.filter((name) => name !== 'started')).toEqual(['0:1', '0:2', '1:2', '0:3'])
  })

  it('gives each event to its reader once', async () => {
    const { stream } = streamOf()
    stream.push(step(0, 1))
    const { value } = await stream.next()
    expect(value).toMatchObject({ step: 1 })
    stream.push(step(0, 2))
    expect(await read(stream)).toEqual(['0:2'])
  })

  it('cancels its request once when its reader leaves early', async () => {
    const { sent, stream } = streamOf()
    stream.push(started)
    await stream.return()
    await stream.return()
    expect(sent).toEqual([{ type: 'control', id: 'a', control: { type: 'cancel' } }])
    expect(stream).toMatchObject({ stage: 'running', isOutstanding: true })
    stream.push({ type: 'failed', error: { code: 'cancelled', facts: {} } })
    expect(stream).toMatchObject({ stage: 'ended', isOutstanding: false })
    expect(await stream.next()).toEqual({ value: undefined, done: true })
  })
})
