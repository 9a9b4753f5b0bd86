/**
 * Events on their way to one consumer. A consumer that is far behind loses `step` events that later
 * ones of the same candidate have overtaken, and nothing else, so what waits is bounded.
 */
import type { RequestEvent } from '../protocol.js'

const DONE = { value: undefined, done: true } as const

/** Events that may wait before steps are dropped: more than two reports of a worker bring (outbox.ts). */
export const MOST_WAITING = 512

export class Inbox implements AsyncIterableIterator<RequestEvent> {
  private readonly waiting: RequestEvent[] = []
  private ended = false
  private wake: (() => void) | undefined

  /** `abandoned`: the consumer left before the end. */
  constructor(private readonly abandoned: () => void) {}

  push(event: RequestEvent): void {
    if (this.ended) return
    this.waiting.push(event)
    if (this.waiting.length > MOST_WAITING) this.dropOvertaken()
    this.wake?.()
  }

  end(): void {
    this.ended = true
    this.wake?.()
  }

  async next(): Promise<IteratorResult<RequestEvent, undefined>> {
    for (;;) {
      const next = this.waiting.shift()
      if (next) return { value: next, done: false }
      if (this.ended) return DONE
      await new Promise<void>((resolve) => {
        this.wake = resolve
      })
    }
  }

  return(): Promise<IteratorResult<RequestEvent, undefined>> {
    this.waiting.length = 0
    if (!this.ended) {
      this.end()
      this.abandoned()
    }
    return Promise.resolve(DONE)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** The oldest step after which another of its candidate comes before any event of another kind. */
  private dropOvertaken(): void {
    const overtaken = this.waiting.findIndex((event, i) => {
      if (event.type !== 'step') return false
      const { candidate } = event
      const decides = (later: RequestEvent) =>
        later.type !== 'step' || later.candidate === candidate
      return this.waiting.find((later, j) => j > i && decides(later))?.type === 'step'
    })
    if (overtaken >= 0) this.waiting.splice(overtaken, 1)
  }
}
