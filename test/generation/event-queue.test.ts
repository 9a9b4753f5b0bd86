/** Events on their way out of a worker: which join, and which are to be reported soon. */
import { describe, expect, it } from 'vitest'
import { EventQueue, type OtherEvent } from '../../src/generation/core/requests/event-queue.js'
import type { RequestEvent } from '../../src/generation/protocol.js'
import {
  requestAckMessage,
  createReportAck,
  acknowledge,
  isAcknowledged,
  markSent,
} from '../../src/generation/report-ack.js'
import { type NewAnswer, settledAnswers } from '../../src/generation/settled-answers.js'

const buffered = { id: 'a', buffered: true }
const eager = { id: 'b' }

const answer = (position: number, more: Partial<NewAnswer> = {}): NewAnswer => ({
  position,
  text: `${String(position)} `,
  tokens: 1 + (position % 2),
  steps: 3 + position,
  energy: { initial: position, final: -position, best: -position - 1 },
  stopReason: position % 2 ? 'converged' : 'max_steps',
  seconds: position / 8,
  ...more,
})

const finished = { type: 'finished', finishReason: 'length' } as OtherEvent
const started: OtherEvent = { type: 'started', promptTokens: 1, queueSeconds: 0 }

describe.each([buffered, eager])('answers in a row of request $id', (request) => {
  it('are one event that brings each of them, and how long ago it settled', () => {
    const queue = new EventQueue()
    for (let i = 0; i < 5; i++) {
      queue.pushAnswer(request, answer(i), i)
      queue.push({ id: 'another' }, started, i)
    }
    const { events } = queue.take(8)
    const [settled, ...others] = events.filter(({ id }) => id === request.id)
    expect(others).toEqual([])
    expect(settled?.event).toMatchObject({
      type: 'settled',
      texts: ['0 ', '1 ', '2 ', '3 ', '4 '],
    })
    expect(settledAnswers(settled?.event as RequestEvent)).toEqual(
      [0, 1, 2, 3, 4].map((i) => ({ ...answer(i), ago: 8 - i })),
    )
  })

  it('stand before later events, and do not join answers of the next report', () => {
    const queue = new EventQueue()
    queue.push(request, started, 0)
    queue.pushAnswer(request, answer(0), 0)
    queue.push(request, finished, 0)
    queue.pushAnswer(request, answer(1), 0)
    const types = () => queue.take(1).events.map(({ event: { type } }) => type)
    expect(types()).toEqual(['started', 'settled', 'finished', 'settled'])
    queue.pushAnswer(request, answer(2), 1)
    expect(types()).toEqual(['settled'])
  })

  it.each([
    { title: 'the energy of its tokens', more: { tokenEnergy: 1 } },
    { title: 'log-probabilities', more: { logprobs: [] } },
    { title: 'a representation', more: { representation: new Float32Array(2) } },
  ])('keep $title, which only some of them have', ({ more }) => {
    const queue = new EventQueue()
    queue.pushAnswer(request, answer(0), 0)
    queue.pushAnswer(request, answer(1, more), 0)
    const [settled] = queue.take(0).events
    expect(settledAnswers(settled?.event as RequestEvent)).toEqual([
      { ...answer(0), ago: 0 },
      { ...answer(1, more), ago: 0 },
    ])
  })
})

describe('a report', () => {
  const queueOf = (count: number, request: typeof eager) => {
    const queue = new EventQueue()
    for (let i = 0; i < count; i++) queue.pushAnswer(request, answer(i), 0)
    return queue
  }

  it('is full with 128 answers of streamed requests', () => {
    expect(queueOf(127, eager).full).toBe(false)
    expect(queueOf(128, eager).full).toBe(true)
  })

  it('is not full with any number of answers of one buffered request', () => {
    expect(queueOf(1000, buffered).full).toBe(false)
  })
})

describe('whether an event is to be reported soon', () => {
  it.each<[string, Parameters<EventQueue['push']>[0], OtherEvent | NewAnswer, boolean, boolean]>([
    ['a start is not', eager, started, false, false],
    ['a first token is', eager, answer(0), true, true],
    ['further tokens are followed', eager, answer(1), false, true],
    ['a first token of a buffered request is not', buffered, answer(0), false, false],
    ['the end of a buffered request is', buffered, finished, true, false],
  ])('%s', (_, request, what, urgent, followed) => {
    const queue = new EventQueue()
    if ('type' in what) queue.push(request, what, 0)
    else queue.pushAnswer(request, what, 0)
    expect([queue.urgent, queue.followed]).toEqual([urgent, followed])
    queue.take(0)
    expect([queue.urgent, queue.followed, queue.empty]).toEqual([false, false, true])
  })
})

describe('the acknowledgement of a report', () => {
  it('asks for a message only when the worker waits for one', () => {
    const ack = createReportAck()
    expect(isAcknowledged(ack)).toBe(true)
    markSent(ack)
    expect(isAcknowledged(ack)).toBe(false)
    expect(acknowledge(ack)).toBe(false)
    expect(isAcknowledged(ack)).toBe(true)
    expect(requestAckMessage(ack)).toBe(false)
    markSent(ack)
    expect(requestAckMessage(ack)).toBe(true)
    expect(requestAckMessage(ack)).toBe(true)
    expect(isAcknowledged(ack)).toBe(false)
    expect([acknowledge(ack), acknowledge(ack)]).toEqual([true, false])
  })
})
