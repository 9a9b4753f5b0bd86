/**
 * Events on their way to one consumer. A slow consumer loses `step` events that those of a later
 * message have overtaken, and nothing else, so what waits is bounded by one message and the answers.
 */
import type { JobEvent } from './protocol.js'

const DONE = { value: undefined, done: true } as const

interface Waiting {
  event: JobEvent
  /** The message of the worker that brought it. */
  message: number
}

export class Inbox implements AsyncIterableIterator<JobEvent> {
  private readonly waiting: Waiting[] = []
  private ended = false
  private wake: (() => void) | undefined

  /** `abandoned`: the consumer left before the end. */
  constructor(private readonly abandoned: () => void) {}

  /** `message`: events of one message have the same number, those of a later one a higher. */
  push(event: JobEvent, message: number): void {
    if (this.ended) return
    if (event.type === 'step') this.dropOvertaken(event.candidate, message)
    this.waiting.push({ event, message })
    this.wake?.()
  }

  end(): void {
    this.ended = true
    this.wake?.()
  }

  async next(): Promise<IteratorResult<JobEvent, undefined>> {
    for (;;) {
      const next = this.waiting.shift()
      if (next) return { value: next.event, done: false }
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

  /** Steps of the same candidate, of earlier messages, since the last event of another kind. */
  private dropOvertaken(candidate: number, message: number): void {
    for (let i = this.waiting.length - 1; i >= 0; i--) {
      const { event, message: earlier } = this.waiting[i] ?? {}
      if (event?.type !== 'step') return
      if (event.candidate !== candidate) continue
      if (earlier === message) return
      this.waiting.splice(i, 1)
    }
  }
}
