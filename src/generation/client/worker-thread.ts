/**
 * One worker thread from its start to its end. Knows messages and the thread's life, and nothing of
 * jobs: what follows from its end is for its owner to say.
 */
import { Worker } from 'node:worker_threads'
import { type Interrupt, createInterrupt, raise } from '../../energy/interrupt.js'
import { BasinError, type ErrorMessage, fromErrorMessage, toErrorMessage } from '../../errors.js'
import type { FromWorker, ToWorker, WorkerData, WorkerOptions } from '../protocol.js'
import { createReportAck, acknowledge, type ReportAck } from '../report-ack.js'

export type Ready = Extract<FromWorker, { type: 'ready' }>

/** Milliseconds that a thread has to end. */
const FAREWELL = 5000

export interface Listener {
  message: (message: FromWorker) => void
  /** Once, and never after `terminate`. */
  ended: (error: ErrorMessage) => void
}

export class WorkerThread {
  private listener: Listener | undefined
  private end: ErrorMessage | undefined
  private readonly exited: Promise<void>

  private constructor(
    private readonly worker: Worker,
    private readonly bell: Interrupt,
    private readonly receipt: ReportAck,
    readonly ready: Ready,
  ) {
    this.exited = new Promise((resolve) => worker.once('exit', () => resolve()))
    worker.on('message', (message: FromWorker) => {
      if (message.type === 'closed') void worker.terminate()
      else if (message.type === 'fatal') this.finish(message.error)
      else this.hear(message)
    })
    worker.on('error', (error) => {
      this.finish(toErrorMessage(error))
    })
    worker.once('exit', (code) => {
      this.finish(toErrorMessage(new Error(`the worker exited with code ${code}`)))
    })
  }

  /** Rejects with the worker's own error when the model, its tokenizer or the engine cannot be opened. */
  static start(options: WorkerOptions, entry: URL): Promise<WorkerThread> {
    const bell = createInterrupt()
    const receipt = createReportAck()
    const workerData: WorkerData = { ...options, interrupt: bell, reportAck: receipt }
    const worker = new Worker(entry, { workerData })
    return new Promise((resolve, reject) => {
      const decide = (settle: () => void) => {
        worker.off('error', failed).off('exit', exited).off('message', answered)
        settle()
      }
      const failed = (error: unknown) => {
        decide(() => {
          reject(error instanceof BasinError ? error : fromErrorMessage(toErrorMessage(error)))
        })
      }
      const exited = (code: number) => {
        failed(new Error(`the worker exited with code ${code}`))
      }
      const answered = (message: FromWorker) => {
        if (message.type === 'ready') {
          decide(() => {
            resolve(new WorkerThread(worker, bell, receipt, message))
          })
        } else if (message.type === 'fatal') failed(fromErrorMessage(message.error))
      }
      worker.on('error', failed).on('exit', exited).on('message', answered)
    })
  }

  /** Whoever listens late hears of the end at once. */
  listen(listener: Listener): void {
    this.listener = listener
    if (this.end) listener.ended(this.end)
  }

  send(message: ToWorker): void {
    raise(this.bell)
    this.worker.postMessage(message)
  }

  /** In good order, if it answers. Resolves as `terminate` does. */
  async close(): Promise<void> {
    this.listener = undefined
    this.send({ type: 'close' })
    await this.inTime(this.exited)
    await this.terminate()
  }

  /** Resolves when the thread is gone, or does not go: native code that never returns cannot be ended. */
  async terminate(): Promise<void> {
    this.listener = undefined
    await this.inTime(this.worker.terminate())
  }

  /** The thread's next report may come when whatever else waits here has had its turn. */
  private hear(message: FromWorker): void {
    this.listener?.message(message)
    if (message.type === 'events') setImmediate(() => this.sayHeard())
  }

  private sayHeard(): void {
    const message: ToWorker = { type: 'acknowledged' }
    if (acknowledge(this.receipt)) this.worker.postMessage(message)
  }

  private async inTime(end: Promise<unknown>): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, FAREWELL)
    })
    await Promise.race([end, patience])
    clearTimeout(timer)
  }

  private finish(error: ErrorMessage): void {
    if (this.end) return
    this.end = error
    this.listener?.ended(error)
  }
}
