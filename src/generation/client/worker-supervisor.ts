/**
 * Keeps a worker thread at work: asks whether it still turns, ends one that does not, and starts anew
 * one that is gone, after a pause that doubles while threads do not last. Carries messages and
 * questions; what is lost with a thread is its owner's to say.
 */
import { BasinError, type ErrorMessage, fromErrorMessage, toErrorMessage } from '../../errors.js'
import type { FromWorker, ToWorker } from '../protocol.js'
import type { WorkerThread } from './worker-thread.js'

/** `died`: its thread ended. `stalled`: it did not turn, and was ended. */
export type LossReason = 'died' | 'stalled'

export interface Owner {
  /** What is no reply to a question. */
  message: (message: FromWorker) => void
  lost: (reason: LossReason, error: ErrorMessage) => void
  /** A new thread is ready; it knows nothing of what was sent to the one before. */
  restored: () => void
  /** There is no new thread yet, for this reason; the next attempt is to come. */
  notRestored: (error: ErrorMessage) => void
}

export interface SupervisorOptions {
  /** What errors call the model. */
  model: string
  start: () => Promise<WorkerThread>
  /** Seconds that a thread may leave a question unanswered; 0: for ever. */
  watchdogSeconds: number
}

/** Milliseconds between the questions that show whether the thread still turns. */
const PULSE = 1000
/** Milliseconds before the first new start, and the most before any. */
const FIRST_PAUSE = 500
const LONGEST_PAUSE = 60_000
/** Milliseconds after which a thread counts as one that lasts. */
const STEADY = 60_000

interface Reply {
  resolve: (message: FromWorker) => void
  reject: (error: BasinError) => void
}

export class WorkerSupervisor {
  /** When a thread last said anything, on the clock of `performance.now()`. */
  lastSign = performance.now()
  private thread: WorkerThread | undefined
  private startedAt = performance.now()
  /** Threads in a row that did not last. */
  private losses = 0
  private closing = false
  private readonly replies = new Map<number, Reply>()
  private questions = 0
  /** When the pulse's question was asked that has no answer yet. */
  private asked: number | undefined
  private readonly pulse: NodeJS.Timeout
  private pause: NodeJS.Timeout | undefined
  private starting: Promise<void> | undefined

  constructor(
    first: WorkerThread,
    private readonly options: SupervisorOptions,
    private readonly owner: Owner,
  ) {
    this.pulse = setInterval(() => {
      this.feel()
    }, PULSE).unref()
    this.adopt(first)
  }

  get alive(): boolean {
    return this.thread !== undefined
  }

  /** Seconds that a question has gone without its answer; Infinity while there is no thread. */
  get silence(): number {
    if (!this.thread) return Infinity
    return this.asked === undefined ? 0 : (performance.now() - this.asked) / 1000
  }

  /** Lost, if there is no thread. */
  send(message: ToWorker): void {
    this.thread?.send(message)
  }

  /** Rejects with `engine_unavailable` where there is no thread, or is none any more. */
  ask(question: (id: number) => ToWorker): Promise<FromWorker> {
    const id = this.questions++
    return new Promise((resolve, reject) => {
      if (!this.thread) {
        reject(this.unavailable())
        return
      }
      this.replies.set(id, { resolve, reject })
      this.thread.send(question(id))
    })
  }

  unavailable(): BasinError {
    return new BasinError('engine_unavailable', { model: this.options.model })
  }

  /** Resolves when there is no thread, and none will be. */
  async close(): Promise<void> {
    this.closing = true
    clearInterval(this.pulse)
    clearTimeout(this.pause)
    const { starting, thread } = this
    this.thread = undefined
    this.refuseReplies()
    await Promise.all([thread?.close(), starting])
  }

  private adopt(thread: WorkerThread): void {
    this.thread = thread
    this.startedAt = this.lastSign = performance.now()
    this.asked = undefined
    thread.listen({
      message: (message) => {
        this.receive(message)
      },
      ended: (error) => {
        this.lose('died', error)
      },
    })
  }

  private receive(message: FromWorker): void {
    this.lastSign = performance.now()
    switch (message.type) {
      case 'tokens':
      case 'text':
        this.reply(message.id)?.resolve(message)
        break
      case 'refused':
        this.reply(message.id)?.reject(fromErrorMessage(message.error))
        break
      default:
        this.owner.message(message)
    }
  }

  private reply(id: number): Reply | undefined {
    const reply = this.replies.get(id)
    this.replies.delete(id)
    return reply
  }

  /** A thread that computes for long, or for ever, does not answer. */
  private feel(): void {
    const { thread } = this
    if (!thread) return
    const { watchdogSeconds } = this.options
    if (this.asked === undefined) {
      this.asked = performance.now()
      const answered = () => {
        if (this.thread === thread) this.asked = undefined
      }
      this.ask((id) => ({ type: 'tokenize', id, text: '' })).then(answered, answered)
    } else if (watchdogSeconds > 0 && this.silence > watchdogSeconds) {
      const reason = `it did not turn for ${this.silence.toFixed(1)} s`
      this.lose('stalled', toErrorMessage(new Error(reason)))
    }
  }

  private lose(reason: LossReason, error: ErrorMessage): void {
    const { thread } = this
    if (!thread) return
    this.thread = undefined
    this.losses = performance.now() - this.startedAt > STEADY ? 1 : this.losses + 1
    this.refuseReplies()
    this.owner.lost(reason, error)
    this.startAfterPause(thread.terminate())
  }

  private startAfterPause(before: Promise<void>): void {
    const milliseconds = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (this.losses - 1))
    this.pause = setTimeout(() => {
      this.starting = before.then(() => this.start())
    }, milliseconds)
  }

  private async start(): Promise<void> {
    if (this.closing) return
    await this.options.start().then(
      (thread) => this.restore(thread),
      (error: unknown) => {
        this.goOnWithout(error)
      },
    )
  }

  private async restore(thread: WorkerThread): Promise<void> {
    if (this.closing) {
      await thread.close()
      return
    }
    this.adopt(thread)
    this.owner.restored()
  }

  private goOnWithout(error: unknown): void {
    if (this.closing) return
    this.losses++
    this.owner.notRestored(toErrorMessage(error))
    this.startAfterPause(Promise.resolve())
  }

  private refuseReplies(): void {
    for (const { reject } of this.replies.values()) reject(this.unavailable())
    this.replies.clear()
  }
}
