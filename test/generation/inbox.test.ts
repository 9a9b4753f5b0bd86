import { describe, expect, it } from 'vitest'
import { Inbox } from '../../src/generation/inbox.js'
import type { JobEvent } from '../../src/generation/protocol.js'

const step = (candidate: number, number: number): JobEvent => ({
  ...{ type: 'step', position: 0, step: number, candidate, energy: 1, bestEnergy: 1 },
  ...{ gradientNorm: 1, text: '', top: [] },
})
const started: JobEvent = { type: 'started', promptTokens: 1, queueSeconds: 0 }

async function read(inbox: Inbox): Promise<string[]> {
  inbox.end()
  const seen: string[] = []
  for await (const event of inbox) {
    seen.push(event.type === 'step' ? `${event.candidate}:${event.step}` : event.type)
  }
  return seen
}

describe('Inbox', () => {
  it('keeps every step that one message brings', async () => {
    const inbox = new Inbox(() => undefined)
    for (const number of [1, 2, 3])
      for (const candidate of [0, 1]) inbox.push(step(candidate, number), 1)
    expect(await read(inbox)).toEqual(['0:1', '1:1', '0:2', '1:2', '0:3', '1:3'])
  })

  it('loses what a later message has overtaken, of the same candidate', async () => {
    const inbox = new Inbox(() => undefined)
    for (const number of [1, 2]) inbox.push(step(0, number), 1)
    inbox.push(step(1, 1), 1)
    for (const number of [3, 4]) inbox.push(step(0, number), 2)
    expect(await read(inbox)).toEqual(['1:1', '0:3', '0:4'])
  })

  it('loses no event of another kind, and no step before it', async () => {
    const inbox = new Inbox(() => undefined)
    inbox.push(step(0, 1), 1)
    inbox.push(started, 1)
    inbox.push(step(0, 1), 2)
    inbox.push(step(0, 2), 3)
    expect(await read(inbox)).toEqual(['0:1', 'started', '0:2'])
  })

  it('gives each event once to who reads along', async () => {
    const inbox = new Inbox(() => undefined)
    inbox.push(step(0, 1), 1)
    const { value } = await inbox.next()
    expect(value).toMatchObject({ step: 1 })
    inbox.push(step(0, 2), 2)
    expect(await read(inbox)).toEqual(['0:2'])
  })
})
