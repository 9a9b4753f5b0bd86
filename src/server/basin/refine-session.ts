/**
 * One connection of `/v1/refine`: at most one answer at a time, which the client's frames start and steer.
 * The answer lives as long as the connection. The next event is taken only when the frames of the last one
 * have left this process, so a slow client loses steps that newer ones have overtaken, and nothing else
 * (generation/client drops them).
 */
import type { WebSocket } from '@fastify/websocket'
import type { FastifyBaseLogger } from 'fastify'
import { BasinError } from '../../errors.js'
import type { EngineClient } from '../../generation/client/engine-client.js'
import type { AppContext } from '../context.js'
import { asBasinError, publicError } from '../error-boundary.js'
import { requestFrom } from '../requests/request-settings.js'
import type { SuccessEvent, SubmittedRequest } from '../requests/request-service.js'
import type { ClientFrame, StartFrame } from '../schemas/frame-schema.js'
import { framesOf, type ServerFrame } from './event-frames.js'
import { checkMessage, parseFrame } from './refine-frames.js'

/** While the client has left this much unread, its own frames are not read. */
const MOST_UNREAD_BYTES = 64 * 1024

export class RefineSession {
  private sequence = 0
  /** It runs, or has finished and is held. */
  private present: SubmittedRequest | undefined
  /** The present answer descends; false while it is held. */
  private running = false
  /** The client has cancelled the present answer, whose end is on its way. */
  private ending = false
  /** Settles when all frames of the present answer have been sent. */
  private followed: Promise<void> = Promise.resolve()
  private alive = true
  /** Frames are acted on in their order, though a start may wait for a quota to be looked up. */
  private turn: Promise<void> = Promise.resolve()

  constructor(
    private readonly socket: WebSocket,
    private readonly context: AppContext,
    private readonly client: string,
    private readonly log: FastifyBaseLogger,
  ) {
    const heartbeat = setInterval(() => {
      this.beat()
    }, context.limits.heartbeatSeconds * 1000)
    socket.on('pong', () => (this.alive = true))
    socket.on('message', (data: Buffer, binary) => {
      this.turn = this.turn.then(() => this.receive(data, binary))
    })
    socket.on('close', () => {
      clearInterval(heartbeat)
      this.present?.control({ type: 'cancel' })
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
      const { frameBytes, nesting } = this.context.limits
      checkMessage(data.length, binary, frameBytes)
      await this.act(parseFrame(data.toString('utf8'), nesting))
    } catch (error) {
      this.sendError(error)
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
    this.present.control(frame)
    if (frame.type === 'extend') this.running = true
    if (frame.type === 'cancel') this.ending = true
  }

  private async start(frame: StartFrame): Promise<void> {
    if (this.running && this.ending) await this.withoutReading(() => this.followed)
    if (this.running) {
      const reason = 'an answer is running: finish or cancel it first'
      throw new BasinError('invalid_frame', { param: 'type', reason })
    }
    const engine = this.context.models.get(frame.model)
    const request = await this.submit(engine, frame)
    this.present?.control({ type: 'cancel' })
    this.present = request
    this.running = true
    this.ending = false
    this.followed = this.follow(request, engine.model.name)
  }

  private async submit(engine: EngineClient, frame: StartFrame): Promise<SubmittedRequest> {
    const { limits, requests } = this.context
    const settings = requestFrom(frame, engine.model, limits)
    const shown = { prompt: frame.prompt ?? '', reportSteps: true, hold: frame.hold ?? true }
    const request = await this.withoutReading(() =>
      requests.submitOne(
        engine,
        { ...settings, ...shown },
        { client: this.client, route: 'refine' },
      ),
    )
    if (this.socket.readyState === this.socket.OPEN) return request
    request.control({ type: 'cancel' })
    throw new BasinError('cancelled')
  }

  /** No frame is read meanwhile, so what waits to be acted on is bounded. */
  private async withoutReading<T>(work: () => Promise<T>): Promise<T> {
    this.socket.pause()
    try {
      return await work()
    } finally {
      this.socket.resume()
    }
  }

  /** Sends what happens to a request until it ends or is released. */
  private async follow(request: SubmittedRequest, model: string): Promise<void> {
    try {
      await request.follow(async (event: SuccessEvent) => {
        if (event.type === 'finished' && this.present === request) this.running = false
        for (const frame of framesOf(event, { id: request.id, model })) await this.send(frame)
      })
    } catch (error) {
      this.sendError(error)
    } finally {
      if (this.present === request) {
        this.present = undefined
        this.running = false
      }
    }
  }

  private sendError(cause: unknown): void {
    const error = asBasinError(cause)
    this.context.failures.report(this.log, error, cause, 'a socket failed')
    this.context.metrics.instruments.errors.inc({ route: '/v1/refine', code: error.code })
    const sent = this.send({ type: 'error', ...publicError(error).toJSON() })
    if (this.socket.bufferedAmount < MOST_UNREAD_BYTES) return
    this.socket.pause()
    void sent.then(() => {
      this.socket.resume()
    })
  }

  /** Resolves when the frame has left this process, or never will. */
  private send(frame: ServerFrame): Promise<void> {
    const text = JSON.stringify({ sequence_number: this.sequence++, ...frame })
    return new Promise((resolve) => {
      this.socket.send(text, () => {
        resolve()
      })
    })
  }
}
