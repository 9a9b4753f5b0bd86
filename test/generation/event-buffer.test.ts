import { describe, expect, it } from 'vitest'
import { Inbox, MOST_WAITING } from '../../src/generation/client/event-buffer.js'
import type { RequestEvent } from '../../src/generation/protocol.js'

const step = (candidate: number, number: number): RequestEvent => ({
  ...{ type: 'step', position: 0, step: number, candidate, energy: 1, bestEnergy: 1 },
  ...{ gradientNorm: 1, text: '', top: [] },
})
const started: RequestEvent = { type: 'started', promptTokens: 1, queueSeconds: 0 }

async function read(inbox: Inbox): Promise<string[]> {
  inbox.end()
  const seen: string[] = []
  for await (const event of inbox) {
    seen.push(event.type === 'step' ? `${event.candidate}:${event.step}` : event.type)
  }
  return seen
}

describe('Inbox', () => {
  it('keeps every step of a consumer that is not far behind', async () => {
    const inbox = new Inbox(() => undefined)
    for (const number of [1, 2, 3])
      for (const candidate of [0, 1]) inbox.push(step(candidate, number))
    expect(await read(inbox)).toEqual(['0:1', '1:1', '0:2', '1:2', '0:3', '1:3'])
  })

  it('loses the oldest steps, of the same candidate, that later ones have overtaken', async () => {
    const inbox = new Inbox(() => undefined)
    inbox.push(step(1, 1))
    for (let number = 1; number <= MOST_WAITING + 10; number++) inbox.push(step(0, number))
    const seen = await read(inbox)
    expect(seen).toHaveLength(MOST_WAITING)
    expect(seen.slice(0, 2)).toEqual(['1:1', '0:12'])
    expect(seen.at(-1)).toBe(`0:${MOST_WAITING + 10}`)
  })

  it('loses no event of another kind, and no last step before one', async () => {
    const inbox = new Inbox(() => undefined)
    inbox.push(step(0, 1))
    inbox.push(started)
    inbox.push(step(0, 2))
    inbox.push(step(1, 2))
    for (let i = 0; i < MOST_WAITING; i++) inbox.push(started)
    inbox.push(step(0, 3))
    const seen = await read(inbox)
    expect(seen).toHaveLength(MOST_WAITING + 5)
    expect(seen.filter((name) => name !== 'started')).toEqual(['0:1', '0:2', '1:2', '0:3'])
  })

  it('gives each event once to who reads along', async () => {
    const inbox = new Inbox(() => undefined)
    inbox.push(step(0, 1))
    const { value } = await inbox.next()
    expect(value).toMatchObject({ step: 1 })
    inbox.push(step(0, 2))
    expect(await read(inbox)).toEqual(['0:2'])
  })
})
