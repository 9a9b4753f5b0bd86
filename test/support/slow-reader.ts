/** A client that reads one byte a second, until `hurry` lets it read the rest at full speed. */
import { connect, type Socket } from 'node:net'

export class SlowReader {
  private readonly read: Buffer[] = []
  private readonly ticking: NodeJS.Timeout

  private constructor(
    private readonly socket: Socket,
    request: string | Buffer,
    /** Sent every second, so that the server sees a live client. */
    sign?: Buffer,
  ) {
    socket.pause()
    socket.write(request)
    this.ticking = setInterval(() => {
      if (sign) socket.write(sign)
      this.take(1)
    }, 1000)
    socket.once('close', () => {
      clearInterval(this.ticking)
    })
    socket.on('error', () => undefined)
  }

  static post(url: string, path: string, body: object): SlowReader {
    const text = JSON.stringify(body)
    const head = [`POST ${path} HTTP/1.1`, 'Host: localhost', 'Connection: close']
    const about = ['Content-Type: application/json', `Content-Length: ${Buffer.byteLength(text)}`]
    return new SlowReader(toward(url), [...head, ...about, '', text].join('\r\n'))
  }

  /** A socket that sends one frame, and pongs every second though it has not read the pings. */
  static say(url: string, path: string, frame: object): SlowReader {
    const key = Buffer.alloc(16).toString('base64')
    const head = [`GET ${path} HTTP/1.1`, 'Host: localhost', 'Connection: Upgrade']
    const about = ['Upgrade: websocket', 'Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${key}`]
    const opening = [...head, ...about, '', ''].join('\r\n')
    const said = [Buffer.from(opening), frameOf(0x81, JSON.stringify(frame))]
    return new SlowReader(toward(url), Buffer.concat(said), frameOf(0x8a, ''))
  }

  /** Reads everything from now on. */
  hurry(): void {
    clearInterval(this.ticking)
    // A stream that was paused explicitly does not flow because of a listener alone.
    this.socket.on('data', (data: Buffer) => this.read.push(data)).resume()
  }

  leave(): void {
    this.socket.destroy()
  }

  /** What it has received. */
  get text(): string {
    return Buffer.concat(this.read).toString()
  }

  private take(bytes: number): void {
    const data = this.socket.read(bytes) as Buffer | null
    if (data) this.read.push(data)
  }
}

const toward = (url: string): Socket => connect(Number(new URL(url).port), '127.0.0.1')

/** Of RFC 6455, at most 65,535 bytes, masked with zeros. */
function frameOf(opcode: number, text: string): Buffer {
  const length = Buffer.alloc(3)
  length.writeUInt8(0xfe)
  length.writeUInt16BE(Buffer.byteLength(text), 1)
  const short = Buffer.of(0x80 | Buffer.byteLength(text))
  const head = Buffer.byteLength(text) < 126 ? short : length
  return Buffer.concat([Buffer.of(opcode), head, Buffer.alloc(4), Buffer.from(text)])
}
