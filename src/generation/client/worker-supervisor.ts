/**
 * Keeps a worker thread running: asks it regularly whether it still answers, ends one that does not, and
 * starts a new one for one that is gone, after a delay that doubles while threads do not last. Carries
 * messages and pings; what is lost with a thread is for its owner to say.
 */
import { BasinError, type ErrorMessage, fromErrorMessage, toErrorMessage } from '../../errors.js'
import type { EngineRequest, ToWorker } from '../protocol.js'
import type { Report, WorkerThread } from './worker-thread.js'

/** `died`: its thread ended. `stalled`: it did not answer, and was ended. */
export type LossReason = 'died' | 'stalled'

export interface SupervisorListener {
  report: (report: Report) => void
  lost: (reason: LossReason, error: ErrorMessage) => void
  /** A new thread is ready; it knows nothing of what was sent to the one before. */
  restored: () => void
  /** A new thread could not be started, for this reason; the next attempt is to come. */
  notRestored: (error: ErrorMessage) => void
}

export interface SupervisorOptions {
  /** What errors call the model. */
  model: string
  start: () => Promise<WorkerThread>
  /** Seconds that a thread may leave a ping unanswered; 0: for ever. */
  watchdogSeconds: number
}

/** Between the pings that show whether the thread still answers. */
const HEARTBEAT_MS = 1000
/** Before the first new start, and the most before any. */
const FIRST_RESTART_DELAY_MS = 500
const LONGEST_RESTART_DELAY_MS = 60_000
/** A thread that was lost sooner counts as one that does not last. */
const LASTING_MS = 60_000

interface Ping {
  resolve: () => void
  reject: (error: BasinError) => void
}

export class WorkerSupervisor {
  private thread: WorkerThread | undefined
  /** When the thread before the present one last sent a message. */
  private lastMessageBefore = performance.now()
  private startedAt = performance.now()
  /** Threads in a row that did not last. */
  private losses = 0
  private closing = false
  private readonly pings = new Map<number, Ping>()
  private asked = 0
  /** When the heartbeat's ping was sent that has no answer yet. */
  private heartbeatAt: number | undefined
  private readonly heartbeat: NodeJS.Timeout
  private restart: NodeJS.Timeout | undefined
  private starting: Promise<void> | undefined

  constructor(
    first: WorkerThread,
    private readonly options: SupervisorOptions,
    private readonly listener: SupervisorListener,
  ) {
    this.heartbeat = setInterval(() => {
      this.beat()
    }, HEARTBEAT_MS).unref()
    this.adopt(first)
  }

  get alive(): boolean {
    return this.thread !== undefined
  }

  /** When a thread last sent anything, on the clock of `performance.now()`. */
  get lastMessageAt(): number {
    return this.thread?.lastMessageAt ?? this.lastMessageBefore
  }

  /** Seconds that the heartbeat's ping has gone unanswered; Infinity while there is no thread. */
  get silence(): number {
    if (!this.thread) return Infinity
    return this.heartbeatAt === undefined ? 0 : (performance.now() - this.heartbeatAt) / 1000
  }

  /** The message is lost if there is no thread. */
  send(message: ToWorker): void {
    this.thread?.send(message)
  }

  /** Rejects with `engine_unavailable` where there is no thread, or the thread is lost meanwhile. */
  ping(): Promise<void> {
    return this.ask((id) => ({ type: 'ping', id }))
  }

  /** Rejects with what is wrong with the request too. */
  check(request: EngineRequest): Promise<void> {
    return this.ask((id) => ({ type: 'check', id, request }))
  }

  unavailable(): BasinError {
    return new BasinError('engine_unavailable', { model: this.options.model })
  }

  /** Resolves when there is no thread, and none will be. */
  async close(): Promise<void> {
    this.closing = true
    clearInterval(this.heartbeat)
    clearTimeout(this.restart)
    const { starting, thread } = this
    this.thread = undefined
    this.rejectPings()
    await Promise.all([thread?.close(), starting])
  }

  private ask(message: (id: number) => ToWorker): Promise<void> {
    const id = this.asked++
    return new Promise((resolve, reject) => {
      if (!this.thread) {
        reject(this.unavailable())
        return
      }
      this.pings.set(id, { resolve, reject })
      this.thread.send(message(id))
    })
  }

  private adopt(thread: WorkerThread): void {
    this.thread = thread
    this.startedAt = performance.now()
    this.heartbeatAt = undefined
    thread.listen({
      report: this.listener.report,
      pong: (id, error) => {
        const ping = this.pings.get(id)
        this.pings.delete(id)
        if (error) ping?.reject(fromErrorMessage(error))
        else ping?.resolve()
      },
      ended: (error) => {
        this.lose('died', error)
      },
    })
  }

  /** A thread that computes for long, or for ever, does not answer. */
  private beat(): void {
    const { thread } = this
    if (!thread) return
    const { watchdogSeconds } = this.options
    if (this.heartbeatAt === undefined) {
      this.heartbeatAt = performance.now()
      const answered = () => {
        if (this.thread === thread) this.heartbeatAt = undefined
      }
      this.ping().then(answered, answered)
    } else if (watchdogSeconds > 0 && this.silence > watchdogSeconds) {
      const reason = `the worker has not answered for ${this.silence.toFixed(1)} s`
      this.lose('stalled', toErrorMessage(new Error(reason)))
    }
  }

  private lose(reason: LossReason, error: ErrorMessage): void {
    const { thread } = this
    if (!thread) return
    this.thread = undefined
    this.lastMessageBefore = thread.lastMessageAt
    this.losses = performance.now() - this.startedAt > LASTING_MS ? 1 : this.losses + 1
    this.rejectPings()
    this.listener.lost(reason, error)
    this.startAfterDelay(thread.terminate())
  }

  private startAfterDelay(before: Promise<void>): void {
    const delay = FIRST_RESTART_DELAY_MS * 2 ** (this.losses - 1)
    this.restart = setTimeout(
      () => {
        this.starting = before.then(() => this.start())
      },
      Math.min(LONGEST_RESTART_DELAY_MS, delay),
    )
  }

  private async start(): Promise<void> {
    if (this.closing) return
    await this.options.start().then(
      (thread) => this.restore(thread),
      (error: unknown) => {
        this.fail(error)
      },
    )
  }

  private async restore(thread: WorkerThread): Promise<void> {
    if (this.closing) {
      await thread.close()
      return
    }
    this.adopt(thread)
    this.listener.restored()
  }

  /** The new thread could not be started. */
  private fail(error: unknown): void {
    if (this.closing) return
    this.losses++
    this.listener.notRestored(toErrorMessage(error))
    this.startAfterDelay(Promise.resolve())
  }

  private rejectPings(): void {
    for (const { reject } of this.pings.values()) reject(this.unavailable())
    this.pings.clear()
  }
}
