/**
 * One worker thread from its start to its end: messages to it and from it, the interrupt that shortens its
 * calls, and the acknowledgement of its reports. Knows nothing of requests: what follows from the end of a
 * thread is for its owner to say.
 */
import { Worker } from 'node:worker_threads'
import { createInterrupt, type Interrupt, raise } from '../../energy/interrupt.js'
import { BasinError, type ErrorMessage, fromErrorMessage, toErrorMessage } from '../../errors.js'
import type { FromWorker, ToWorker, WorkerData, WorkerOptions } from '../protocol.js'
import { acknowledge, createReportAck, type ReportAck } from '../report-ack.js'

type MessageOf<Type extends FromWorker['type']> = Extract<FromWorker, { type: Type }>
export type Ready = MessageOf<'ready'>
export type Report = MessageOf<'events'>

/** How long a thread may take to end. */
const CLOSE_TIMEOUT_MS = 5000

export interface ThreadListener {
  report: (report: Report) => void
  /** The ping or check with this number is answered. `error`: what is wrong with the request that was checked. */
  pong: (id: number, error?: ErrorMessage) => void
  /** Once, and never after `terminate`. */
  ended: (error: ErrorMessage) => void
}

/** A worker takes the arguments of its process; Node refuses this one, of a program given as text, for a file. */
const argumentsOf = (inherited: readonly string[]): { execArgv?: string[] } =>
  inherited.some((argument) => argument.startsWith('--input-type')) ? { execArgv: [] } : {}

export class WorkerThread {
  /** When it last sent a message, on the clock of `performance.now()`. */
  lastMessageAt = performance.now()
  private listener: ThreadListener | undefined
  private end: ErrorMessage | undefined
  private readonly exited: Promise<void>

  private constructor(
    private readonly worker: Worker,
    private readonly interrupt: Interrupt,
    private readonly reportAck: ReportAck,
    readonly ready: Ready,
  ) {
    this.exited = new Promise((resolve) => worker.once('exit', () => resolve()))
    worker.on('message', this.receive)
    worker.on('error', (error) => {
      this.finish(toErrorMessage(error))
    })
    worker.once('exit', (code) => {
      this.finish(toErrorMessage(new Error(`the worker exited with code ${code}`)))
    })
  }

  /** Rejects with the worker's own error when the model, its tokenizer or the engine cannot be opened. */
  static start(options: WorkerOptions, entry: URL): Promise<WorkerThread> {
    const interrupt = createInterrupt()
    const reportAck = createReportAck()
    const workerData: WorkerData = { ...options, interrupt, reportAck }
    const worker = new Worker(entry, { workerData, ...argumentsOf(process.execArgv) })
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
            resolve(new WorkerThread(worker, interrupt, reportAck, message))
          })
        } else if (message.type === 'fatal') failed(fromErrorMessage(message.error))
      }
      worker.on('error', failed).on('exit', exited).on('message', answered)
    })
  }

  /** A listener that comes after the end is told of it at once. */
  listen(listener: ThreadListener): void {
    this.listener = listener
    if (this.end) listener.ended(this.end)
  }

  send(message: ToWorker): void {
    raise(this.interrupt)
    this.worker.postMessage(message)
  }

  /** Asks the thread to end, and ends it if it does not. Resolves as `terminate` does. */
  async close(): Promise<void> {
    this.listener = undefined
    this.send({ type: 'close' })
    await inTime(this.exited)
    await this.terminate()
  }

  /** Resolves when the thread is gone, or does not go: native code that never returns cannot be ended. */
  async terminate(): Promise<void> {
    this.listener = undefined
    await inTime(this.worker.terminate())
  }

  /** Bound, so that a message takes no further call to get here. */
  private readonly receive = (message: FromWorker): void => {
    this.lastMessageAt = performance.now()
    switch (message.type) {
      case 'events':
        this.listener?.report(message)
        // The next report may come when everything else that waits in this thread has had its turn.
        setImmediate(() => this.acknowledge())
        return
      case 'pong':
        this.listener?.pong(message.id, message.error)
        return
      case 'fatal':
        this.finish(message.error)
        return
      case 'closed':
        void this.worker.terminate()
        return
      case 'ready':
    }
  }

  /** In shared memory; by a message only to a worker that waits for it. No call is to end for it. */
  private acknowledge(): void {
    const message: ToWorker = { type: 'acknowledged' }
    if (acknowledge(this.reportAck)) this.worker.postMessage(message)
  }

  private finish(error: ErrorMessage): void {
    if (this.end) return
    this.end = error
    this.listener?.ended(error)
  }
}

/** Resolves with `end`, or when its time is over. */
async function inTime(end: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, CLOSE_TIMEOUT_MS)
  })
  await Promise.race([end, timeout])
  clearTimeout(timer)
}
