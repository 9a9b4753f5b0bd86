/** A reply of server-sent events. Knows JSON and backpressure; knows nothing of what it carries. */
import { PassThrough, type Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'

/** No proxy on the way may keep events back. */
export const sendEvents = <R extends Pick<FastifyReply, 'header' | 'type' | 'send'>>(
  reply: R,
  body: Readable,
): ReturnType<R['send']> => {
  void reply.header('cache-control', 'no-store').header('x-accel-buffering', 'no')
  return reply.type('text/event-stream; charset=utf-8').send(body) as ReturnType<R['send']>
}

export class EventStream {
  readonly body = new PassThrough()

  constructor() {
    // A comment: headers leave with the first byte, and the first text may be long in coming.
    this.body.write(': open\n\n')
  }

  /** Resolves when the client can take more, at once after it has left. */
  send(data: object | '[DONE]'): Promise<void> {
    return this.line(typeof data === 'string' ? data : JSON.stringify(data))
  }

  /** The same of a text without line breaks, under a name if it has one. */
  async line(text: string, name?: string): Promise<void> {
    if (this.body.writableEnded || this.body.destroyed) return
    const event = name === undefined ? '' : `event: ${name}\n`
    if (this.body.write(`${event}data: ${text}\n\n`)) return
    await new Promise<void>((resolve) => {
      const proceed = () => {
        this.body.off('drain', proceed).off('close', proceed)
        resolve()
      }
      this.body.once('drain', proceed).once('close', proceed)
    })
  }

  end(): void {
    this.body.end()
  }
}
