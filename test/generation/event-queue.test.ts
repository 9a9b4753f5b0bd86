/** Events on their way out of a worker: which are told together, and what asks to be told soon. */
import { describe, expect, it } from 'vitest'
import { EventQueue } from '../../src/generation/core/event-queue.js'
import type { RequestEvent, Of } from '../../src/generation/protocol.js'
import {
  requestAckMessage,
  createReportAck,
  acknowledge,
  isAcknowledged,
  markSent,
} from '../../src/generation/report-ack.js'
import { answersOf } from '../../src/generation/answer-columns.js'

const buffered = { id: 'a', buffered: true }
const eager = { id: 'b' }

const committed = (position: number, more: Partial<Of<'committed'>> = {}): Of<'committed'> => ({
  type: 'committed',
  position,
  text: `${String(position)} `,
  tokens: 1 + (position % 2),
  steps: 3 + position,
  energy: { initial: position, final: -position, best: -position - 1 },
  stopReason: position % 2 ? 'converged' : 'max_steps',
  seconds: position / 8,
  ...more,
})

const finished = { type: 'finished', finishReason: 'length' } as RequestEvent
const started: RequestEvent = { type: 'started', promptTokens: 1, queueSeconds: 0 }

describe('answers of a buffered job', () => {
  it('are one event, which says what theirs would', () => {
    const outbox = new EventQueue()
    for (let i = 0; i < 5; i++) {
      outbox.push(buffered, committed(i), i)
      outbox.push(eager, committed(i), i)
    }
    const { events } = outbox.take(8)
    const of = (id: string) => events.flatMap((each) => (each.id === id ? [each.event] : []))
    const [stride, ...others] = of('a')
    expect(others).toEqual([])
    expect(stride).toMatchObject({ type: 'stride', text: '0 1 2 3 4 ' })
    const told = ({ ago, energy, seconds, steps, stopReason, tokens }: Of<'committed'>) => {
      return { ago, energy, seconds, steps, stopReason, tokens }
    }
    expect(answersOf(stride as RequestEvent)).toEqual(
      of('b').map((each) => told(each as Of<'committed'>)),
    )
    expect(
      of('b')
        .flatMap((event) => answersOf(event))
        .map(({ ago }) => ago),
    ).toEqual([8, 7, 6, 5, 4])
  })

  it('stand before what came after them, and end with a report', () => {
    const outbox = new EventQueue()
    outbox.push(buffered, started, 0)
    outbox.push(buffered, committed(0), 0)
    outbox.push(buffered, finished, 0)
    outbox.push(buffered, committed(1), 0)
    const types = () => outbox.take(1).events.map(({ event: { type } }) => type)
    expect(types()).toEqual(['started', 'stride', 'finished', 'stride'])
    outbox.push(buffered, committed(2), 1)
    expect(types()).toEqual(['stride'])
  })

  it.each([{ tokenEnergy: 1 }, { logprobs: [] }, { representation: new Float32Array(2) }])(
    'are events of their own where they have more to say: %o',
    (more) => {
      const outbox = new EventQueue()
      for (let i = 0; i < 2; i++) outbox.push(buffered, committed(i, more), 0)
      const { events } = outbox.take(0)
      expect(events.map(({ event }) => event)).toMatchObject([0, 1].map((i) => committed(i, more)))
    },
  )
})

describe('what asks to be told soon', () => {
  it.each<[string, Parameters<EventQueue['push']>[0], RequestEvent, boolean, boolean]>([
    ['a beginning does not', eager, started, false, false],
    ['a first token does', eager, committed(0), true, true],
    ['further ones are followed', eager, committed(1), false, true],
    ['a first token of a buffered job does not', buffered, committed(0), false, false],
    ['its end does', buffered, finished, true, false],
  ])('%s', (_, job, event, urgent, followed) => {
    const outbox = new EventQueue()
    outbox.push(job, event, 0)
    expect([outbox.urgent, outbox.followed]).toEqual([urgent, followed])
    outbox.take(0)
    expect([outbox.urgent, outbox.followed, outbox.empty]).toEqual([false, false, true])
  })
})

describe('a receipt', () => {
  it('asks for a message only of who waits for one', () => {
    const receipt = createReportAck()
    expect(isAcknowledged(receipt)).toBe(true)
    markSent(receipt)
    expect(isAcknowledged(receipt)).toBe(false)
    expect(acknowledge(receipt)).toBe(false)
    expect(isAcknowledged(receipt)).toBe(true)
    expect(requestAckMessage(receipt)).toBe(false)
    markSent(receipt)
    expect(requestAckMessage(receipt)).toBe(true)
    expect(requestAckMessage(receipt)).toBe(true)
    expect(isAcknowledged(receipt)).toBe(false)
    expect([acknowledge(receipt), acknowledge(receipt)]).toEqual([true, false])
  })
})
