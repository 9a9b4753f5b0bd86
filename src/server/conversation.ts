/**
 * One connection of `/v1/refine`: at most one answer at a time, moved by what the client says. The
 * answer lives as long as the connection; the next event is taken only when the last one has left,
 * so a slow client loses the steps that newer ones overtake (generation/client/request-stream.ts) and nothing else.
 */
import type { FastifyBaseLogger } from 'fastify'
import type { WebSocket } from '@fastify/websocket'
import { BasinError } from '../errors.js'
import type { EngineClient, RequestStream } from '../generation/client/engine-client.js'
import type { EngineRequest } from '../generation/protocol.js'
import { Allowance } from './allowance.js'
import { told } from './error-boundary.js'
import { checkMessage, framesOf, parseFrame, type ServerFrame } from './frames.js'
import { jobOf } from './job.js'
import type { Parts } from './parts.js'
import { follow, type Ledger } from './runs.js'
import type { ClientFrame, StartFrame } from './schemas/frames.js'

/** An answer under way or held, and how far it may be extended. */
interface Present {
  run: RequestStream
  allowance: Allowance
}

/** A client that leaves this much unread is not listened to until it has read it. */
const UNREAD_BYTES = 64 * 1024

export class Conversation {
  private sequence = 0
  private present: Present | undefined
  /** Still descending; false for an answer that is held. */
  private running = false
  private alive = true
  /** What the client said is acted on in its order, though its limits may have to be looked up. */
  private turn: Promise<void> = Promise.resolve()

  constructor(
    private readonly socket: WebSocket,
    private readonly parts: Parts,
    private readonly client: string,
    private readonly log: FastifyBaseLogger,
  ) {
    const heartbeat = setInterval(() => {
      this.beat()
    }, parts.limits.heartbeatSeconds * 1000)
    socket.on('pong', () => (this.alive = true))
    socket.on('message', (data: Buffer, binary) => {
      this.turn = this.turn.then(() => this.receive(data, binary))
    })
    socket.on('close', () => {
      clearInterval(heartbeat)
      this.present?.run.control({ type: 'cancel' })
    })
  }

  private beat(): void {
    if (!this.alive) {
      this.socket.terminate()
      return
    }
    this.alive = false
    this.socket.ping()
  }

  private async receive(data: Buffer, binary: boolean): Promise<void> {
    try {
      const { frameBytes, nesting } = this.parts.limits
      checkMessage(data.length, binary, frameBytes)
      await this.act(parseFrame(data.toString('utf8'), nesting))
    } catch (error) {
      this.complain(error)
    }
  }

  private async act(frame: ClientFrame): Promise<void> {
    if (frame.type === 'start') {
      await this.start(frame)
      return
    }
    if (!this.present) {
      if (frame.type === 'extend') throw new BasinError('not_held', { what: 'this connection' })
      const reason = `there is no answer to ${frame.type}`
      throw new BasinError('invalid_frame', { param: 'type', reason })
    }
    if (frame.type === 'extend') this.present.allowance.extend(frame)
    this.present.run.control(frame)
    if (frame.type === 'extend') this.running = true
  }

  private async start(asked: StartFrame): Promise<void> {
    if (this.running) {
      const reason = 'an answer is under way: finish or cancel it first'
      throw new BasinError('invalid_frame', { param: 'type', reason })
    }
    const { admission, limits, models } = this.parts
    const generation = models.pick(asked.model)
    const model = generation.model.name
    const job = jobOf(asked, generation.model, limits.caps)
    const { client } = this
    const shown = { prompt: asked.prompt ?? '', reportSteps: true, hold: asked.hold ?? true }
    const run = await this.submit(generation, { ...job, ...shown, client })
    this.present?.run.control({ type: 'cancel' })
    this.present = { run, allowance: new Allowance(job.budget, limits.caps) }
    this.running = true
    void this.relay(this.present, model, admission.ledger(generation, this.client, 'refine'))
  }

  /** Nothing is read meanwhile: what waits to be acted on is bounded. */
  private async submit(
    generation: EngineClient,
    job: Omit<EngineRequest, 'id'>,
  ): Promise<RequestStream> {
    this.socket.pause()
    const submitted = this.parts.admission.submit(generation, [job])
    const [run] = await submitted.finally(() => {
      this.socket.resume()
    })
    if (!run) throw new BasinError('internal')
    if (this.socket.readyState === this.socket.OPEN) return run
    run.control({ type: 'cancel' })
    throw new BasinError('cancelled')
  }

  /** Tells what happens to a run until it ends or is released. */
  private async relay(present: Present, model: string, ledger: Ledger): Promise<void> {
    const { allowance, run } = present
    try {
      for await (const event of follow(run, ledger)) {
        allowance.take(event)
        if (event.type === 'finished' && this.present === present) this.running = false
        for (const frame of framesOf(event, { id: run.id, model })) await this.say(frame)
      }
    } catch (error) {
      this.complain(error)
    } finally {
      if (this.present === present) {
        this.present = undefined
        this.running = false
      }
    }
  }

  private complain(error: unknown): void {
    const failure = error instanceof BasinError ? error : new BasinError('internal')
    if (failure.status >= 500) this.log.error({ err: error }, 'a socket failed')
    this.parts.metrics.to.errors.inc({ route: '/v1/refine', code: failure.code })
    const said = this.say({ type: 'error', ...told(failure).toJSON() })
    if (this.socket.bufferedAmount < UNREAD_BYTES) return
    this.socket.pause()
    void said.then(() => {
      this.socket.resume()
    })
  }

  /** Resolves when the frame has left this process, or never will. */
  private say(frame: ServerFrame): Promise<void> {
    const text = JSON.stringify({ sequence_number: this.sequence++, ...frame })
    return new Promise((resolve) => {
      this.socket.send(text, () => {
        resolve()
      })
    })
  }
}
