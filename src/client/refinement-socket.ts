/**
 * An answer on the socket: its events as an async iterable, and the frames that steer it. The connection is
 * opened when the events are first asked for, belongs to this answer alone, and closes with it.
 */
import { type BasinClientError, disconnected, errorFrom } from './client-error.js'
import type { RefineEvent, RefineRequest } from './types.js'

/** The part of the standard WebSocket that is used; the package `ws` has it too. */
export interface SocketLike {
  send(data: string): void
  close(code?: number): void
  addEventListener(type: 'open' | 'close' | 'error', listener: () => void): void
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void
}

type ControlFrame =
  | { type: 'extend'; steps?: number; seconds?: number }
  | { type: 'clamp'; position: number; text: string }
  | { type: 'finish' | 'pause' | 'resume' | 'cancel' }

type Arrived = { event: RefineEvent } | { error: BasinClientError } | { closed: true }

export class RefinementSocket implements AsyncIterable<RefineEvent> {
  private readonly arrived: Arrived[] = []
  private wake: (() => void) | undefined
  private socket: SocketLike | undefined
  private readonly held: boolean

  constructor(
    private readonly open: () => SocketLike,
    private readonly request: RefineRequest,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.held = request.hold ?? false
  }

  /**
   * Lets the answer descend so many steps or seconds longer; with `hold`, also after it has finished: then
   * more events follow.
   */
  extend(by: { steps?: number; seconds?: number }): void {
    this.send({ type: 'extend', ...by })
  }

  /** Ends the answer with the best so far. */
  finish(): void {
    this.send({ type: 'finish' })
  }

  pause(): void {
    this.send({ type: 'pause' })
  }

  resume(): void {
    this.send({ type: 'resume' })
  }

  /** Fixes a position to one token; the mark of a blank opens it. */
  clamp(position: number, text: string): void {
    this.send({ type: 'clamp', position, text })
  }

  /** Ends the answer, and the iteration with it. */
  cancel(): void {
    this.put({ closed: true })
  }

  /**
   * For one reader. Ends after `finished`; with `hold`, when `cancel` is called or the loop is left. What is
   * refused is thrown, and so is the reason of the signal.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<RefineEvent, void> {
    this.signal?.throwIfAborted()
    const socket = this.connect()
    const abort = () => {
      this.put({ closed: true })
    }
    this.signal?.addEventListener('abort', abort)
    try {
      for (;;) {
        const next = await this.next()
        this.signal?.throwIfAborted()
        if ('closed' in next) return
        if ('error' in next) throw next.error
        yield next.event
        if (next.event.type === 'finished' && !this.held) return
      }
    } finally {
      this.signal?.removeEventListener('abort', abort)
      this.socket = undefined
      socket.close()
    }
  }

  private connect(): SocketLike {
    if (this.socket) throw new Error('the events of an answer have one reader')
    const socket = this.open()
    this.socket = socket
    const { hold = false, ...request } = this.request
    socket.addEventListener('open', () => {
      socket.send(JSON.stringify({ type: 'start', ...request, hold }))
    })
    socket.addEventListener('message', ({ data }) => {
      const frame = JSON.parse(String(data)) as RefineEvent | { type: 'error' }
      if (frame.type === 'error') this.put({ error: errorFrom(frame, 0) })
      else this.put({ event: frame })
    })
    socket.addEventListener('close', () => {
      this.put({ error: disconnected() })
    })
    // A close follows.
    socket.addEventListener('error', () => undefined)
    return socket
  }

  private send(frame: ControlFrame): void {
    if (!this.socket) throw new Error('the answer does not run: read its events first')
    this.socket.send(JSON.stringify(frame))
  }

  private put(arrived: Arrived): void {
    this.arrived.push(arrived)
    this.wake?.()
  }

  private async next(): Promise<Arrived> {
    for (;;) {
      const first = this.arrived.shift()
      if (first) return first
      await new Promise<void>((resolve) => (this.wake = resolve))
    }
  }
}
