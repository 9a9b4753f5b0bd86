/**
 * Events on their way to one consumer. A slow consumer loses `step` events that newer ones have
 * overtaken, and nothing else, so what waits is bounded by the candidates and the answers.
 */
import type { JobEvent } from './protocol.js'

const DONE = { value: undefined, done: true } as const

export class Inbox implements AsyncIterableIterator<JobEvent> {
  private readonly waiting: JobEvent[] = []
  private ended = false
  private wake: (() => void) | undefined

  /** `abandoned`: the consumer left before the end. */
  constructor(private readonly abandoned: () => void) {}

  push(event: JobEvent): void {
    if (this.ended) return
    if (event.type === 'step') this.dropOvertaken(event.candidate)
    this.waiting.push(event)
    this.wake?.()
  }

  end(): void {
    this.ended = true
    this.wake?.()
  }

  async next(): Promise<IteratorResult<JobEvent, undefined>> {
    for (;;) {
      const value = this.waiting.shift()
      if (value) return { value, done: false }
      if (this.ended) return DONE
      await new Promise<void>((resolve) => {
        this.wake = resolve
      })
    }
  }

  return(): Promise<IteratorResult<JobEvent, undefined>> {
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

  /** Steps of the same candidate since the last event of another kind. */
  private dropOvertaken(candidate: number): void {
    for (let i = this.waiting.length - 1; i >= 0; i--) {
      const event = this.waiting[i]
      if (event?.type !== 'step') return
      if (event.candidate === candidate) {
        this.waiting.splice(i, 1)
        return
      }
    }
  }
}
