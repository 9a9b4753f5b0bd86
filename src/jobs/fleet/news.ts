/** What other servers say through Redis. It may be lost with a connection: whoever waits for it looks again. */
import type { Redis } from 'ioredis'

export type Listener = (message: string) => void

export class News {
  private readonly listeners = new Map<string, Set<Listener>>()

  /** `redis`: a connection that nothing else uses. */
  constructor(private readonly redis: Redis) {
    redis.on('message', (channel: string, message: string) => {
      for (const listener of this.listeners.get(channel) ?? []) listener(message)
    })
  }

  /** Returns what ends it. It begins when Redis can be reached. */
  listen(channel: string, listener: Listener): () => void {
    const all = this.listeners.get(channel) ?? new Set()
    if (all.size === 0) this.send(this.redis.subscribe(channel))
    this.listeners.set(channel, all.add(listener))
    return () => {
      all.delete(listener)
      if (all.size > 0 || !this.listeners.delete(channel)) return
      this.send(this.redis.unsubscribe(channel))
    }
  }

  close(): void {
    this.redis.disconnect()
  }

  /** It fails only where the connection is closed for good. */
  private send(command: Promise<unknown>): void {
    command.catch((error: unknown) => {
      if (this.redis.status !== 'end') throw error
    })
  }
}

/** Wakes one reader: what has come since it looked last wakes it at once. */
export class NewsReader {
  private hasNews = false
  private wake: () => void = () => undefined

  tell(): void {
    this.hasNews = true
    this.wake()
  }

  /** Resolves when it was told since the last call, after so many milliseconds, or when `left` aborts. */
  async heard(milliseconds: number, left: AbortSignal): Promise<void> {
    if (!this.hasNews && !left.aborted)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, milliseconds)
        this.wake = () => {
          clearTimeout(timer)
          left.removeEventListener('abort', this.wake)
          resolve()
        }
        left.addEventListener('abort', this.wake)
      })
    this.hasNews = false
  }
}
