/** A client of `/v1/refine` that keeps every frame. */
import { once } from 'node:events'
import { WebSocket } from 'ws'

export interface Frame {
  sequence_number: number
  type: 'started' | 'step' | 'committed' | 'finished' | 'error'
  [field: string]: unknown
}

export interface FinishedFrame extends Frame {
  type: 'finished'
  text: string
  finish_reason: string
  usage: { prompt_tokens: number; completion_tokens: number; total_tokens: number }
  refinement: {
    steps: number
    stop_reason: string
    energy: { initial: number; final: number; best: number }
  }
}

export interface StepFrame extends Frame {
  type: 'step'
  step: number
  position: number
  candidate: number
  energy: number
  best_energy: number
  gradient_norm: number
  text: string
  committed?: number
}

export class Peer {
  readonly frames: Frame[] = []
  /** Code with which the server closed. */
  readonly closed: Promise<number>
  private read = 0
  private wake: () => void = () => undefined

  private constructor(readonly socket: WebSocket) {
    socket.on('message', (data: Buffer) => {
      this.frames.push(JSON.parse(data.toString()) as Frame)
      this.wake()
    })
    this.closed = new Promise((resolve) => {
      socket.once('close', (code) => {
        resolve(code)
        this.wake()
      })
    })
    socket.on('error', () => undefined)
  }

  static async connect(
    address: string,
    headers: Record<string, string> = {},
    protocols: readonly string[] = [],
  ): Promise<Peer> {
    const socket = new WebSocket(address, [...protocols], { headers })
    const peer = new Peer(socket)
    await once(socket, 'open')
    return peer
  }

  say(frame: object): void {
    this.socket.send(JSON.stringify(frame))
  }

  /** The next frame that was not returned before; frames of other types before it are skipped. */
  async next(type?: Frame['type']): Promise<Frame> {
    for (;;) {
      const frame = this.frames[this.read]
      if (frame) {
        this.read++
        if (type === undefined || frame.type === type) return frame
        if (frame.type === 'error') throw new Error(`instead of ${type}: ${JSON.stringify(frame)}`)
        continue
      }
      if (this.socket.readyState === WebSocket.CLOSED) throw new Error('the socket is closed')
      await new Promise<void>((resolve) => {
        this.wake = resolve
      })
    }
  }

  async finished(): Promise<FinishedFrame> {
    return (await this.next('finished')) as FinishedFrame
  }

  /** Forgets all frames so far. */
  forget(): void {
    this.frames.length = 0
    this.read = 0
  }

  steps(): StepFrame[] {
    return this.frames.filter((frame): frame is StepFrame => frame.type === 'step')
  }

  async close(): Promise<void> {
    this.socket.close()
    await this.closed
  }
}
