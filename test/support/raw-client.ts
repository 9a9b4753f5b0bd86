/** A client that writes bytes to a connection, for what a polite HTTP client would never send. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export interface RawReply {
  status: number
  /** Names in lower case. */
  headers: Record<string, string>
  body: string
}

export class RawClient {
  /** All that has been received. */
  text = ''
  readonly socket: Socket
  private wake: () => void = () => undefined

  private constructor(port: number, reads: boolean) {
    // It closes nothing by itself when the server closes its side.
    this.socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    this.socket.on('error', () => undefined)
    for (const name of ['end', 'close']) this.socket.on(name, () => this.wake())
    if (!reads) return
    this.socket.on('data', (data: Buffer) => {
      this.text += data.toString('latin1')
      this.wake()
    })
  }

  /** `reads: false`: it never takes anything from the connection. */
  static async open(port: number, { reads = true } = {}): Promise<RawClient> {
    const client = new RawClient(port, reads)
    await once(client.socket, 'connect')
    return client
  }

  send(bytes: string | Buffer): void {
    this.socket.write(bytes)
  }

  leave(): void {
    this.socket.destroy()
  }

  /** The first `count` whole replies, each with a Content-Length. Waits for them. */
  async replies(count: number): Promise<RawReply[]> {
    for (;;) {
      const replies = repliesIn(this.text)
      if (replies.length >= count) return replies.slice(0, count)
      if (this.ended)
        throw new Error(`after ${replies.length} replies the connection ended: ${this.text}`)
      await this.news()
    }
  }

  /** Everything up to the end of what the server sends. */
  async rest(): Promise<string> {
    while (!this.ended) await this.news()
    return this.text
  }

  private get ended(): boolean {
    return this.socket.readableEnded || this.socket.destroyed
  }

  private news(): Promise<void> {
    return new Promise((resolve) => (this.wake = resolve))
  }
}

/** The text of a POST of JSON. */
export function postText(path: string, body: object, ...headers: readonly string[]): string {
  const json = JSON.stringify(body)
  return [
    `POST ${path} HTTP/1.1`,
    'Host: localhost',
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(json)}`,
    ...headers,
    '',
    json,
  ].join('\r\n')
}

export const getText = (path: string, ...headers: readonly string[]): string =>
  [`GET ${path} HTTP/1.1`, 'Host: localhost', ...headers, '', ''].join('\r\n')

function repliesIn(text: string): RawReply[] {
  const replies: RawReply[] = []
  for (let at = 0; ;) {
    const end = text.indexOf('\r\n\r\n', at)
    if (end < 0) return replies
    const [first = '', ...lines] = text.slice(at, end).split('\r\n')
    const headers = Object.fromEntries(
      lines.map((line) => {
        const colon = line.indexOf(':')
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
      }),
    )
    const length = Number(headers['content-length'] ?? 0)
    if (text.length < end + 4 + length) return replies
    const body = text.slice(end + 4, end + 4 + length)
    replies.push({ status: Number(first.split(' ')[1]), headers, body })
    at = end + 4 + length
  }
}
