/** A reply of server-sent events. Knows JSON and backpressure; knows nothing of what it carries. */
import { PassThrough } from 'node:stream'

export class EventStream {
  readonly body = new PassThrough()

  constructor() {
    // A comment: headers leave with the first byte, and the first text may be long in coming.
    this.body.write(': open\n\n')
  }

  /** Resolves when the client can take more, at once after it has left. */
  async send(data: object | '[DONE]'): Promise<void> {
    if (this.body.writableEnded || this.body.destroyed) return
    const text = typeof data === 'string' ? data : JSON.stringify(data)
    if (this.body.write(`data: ${text}\n\n`)) return
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
