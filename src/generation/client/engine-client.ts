/**
 * The main thread's side of a generation worker: submits jobs, hands out their events, bounds the
 * queue, and says what becomes of a job whose worker is lost. Does no arithmetic and reads no file.
 */
import { randomUUID } from 'node:crypto'
import type { EngineCapacity, EngineInfo } from '../../energy/engine.js'
import { BasinError, type ErrorMessage } from '../../errors.js'
import type { ModelConfig } from '../../model/config.js'
import type { ChatMessage } from '../../tokenizer/chat.js'
import type {
  FromWorker,
  EngineRequest,
  RequestEvent,
  TickStats,
  ToWorker,
  WorkerOptions,
} from '../protocol.js'
import { refuseIfFull, type RequestStream, WorkerRequestStream } from './request-stream.js'
import { type LossReason, WorkerSupervisor } from './worker-supervisor.js'
import { type Ready, WorkerThread } from './worker-thread.js'

export type { RequestStream } from './request-stream.js'

/** What happened to the worker of a generation. */
export type WorkerStatus =
  | { type: 'lost'; reason: LossReason; error: ErrorMessage }
  | { type: 'restored' }
  | { type: 'not_restored'; error: ErrorMessage }

export interface EngineClient {
  readonly model: ModelConfig
  readonly engine: EngineInfo
  readonly capacity: EngineCapacity
  /** Bytes that the engine held when it was ready. */
  readonly memory: number
  /** It has a chat template: `converse` answers. */
  readonly chat: boolean
  /** Submitted and not yet started. */
  readonly waiting: number
  /** Submitted and not yet finished; held answers are finished. */
  readonly outstanding: number
  /** The same, of one client's. */
  outstandingOf(client: string): number
  /**
   * Throws at once: `queue_full`, `shutting_down` or `engine_unavailable`. What is wrong with the
   * job itself arrives as its `failed` event.
   */
  submit(job: Omit<EngineRequest, 'id'> & { id?: string }): RequestStream
  tokenize(text: string): Promise<readonly number[]>
  detokenize(tokens: readonly number[]): Promise<string>
  /** The tokens after which the assistant speaks. Rejects with `not_supported` where it never does. */
  converse(messages: readonly ChatMessage[]): Promise<readonly number[]>
  onTick(listener: (stats: TickStats) => void): void
  /** When the worker last gave a sign of life, on the clock of `performance.now()`. */
  readonly lastTick: number
  /** Seconds that the worker has left a question unanswered; Infinity while there is none. */
  readonly silence: number
  /** A worker that is lost is started anew; what it ran has failed, what waited goes on. */
  onWorkerStatus(listener: (fate: WorkerStatus) => void): void
  /** Refuses new jobs; resolves when none is outstanding. */
  drain(): Promise<void>
  /** Ends the worker; jobs still outstanding fail with `shutting_down`. */
  close(): Promise<void>
}

/**
 * Starts a worker from its built entry. Rejects with the worker's own error when the model, its
 * tokenizer or the engine cannot be opened.
 */
export async function startEngineClient(options: WorkerOptions, entry: URL): Promise<EngineClient> {
  const first = await WorkerThread.start(options, entry)
  const model = JSON.stringify(first.ready.model)
  const start = async () => {
    const next = await WorkerThread.start(options, entry)
    if (JSON.stringify(next.ready.model) === model) return next
    await next.close()
    const reason = 'it is not the model that it was when the server began'
    throw new BasinError('invalid_data', { path: options.modelPath, reason })
  }
  return new WorkerEngineClient(first, start, options)
}

const isOutstanding = ({ stage }: WorkerRequestStream): boolean =>
  stage === 'waiting' || stage === 'running'

/** A job that waited when its worker was lost is given to the next; so many get it at most. */
const MOST_WORKERS = 3

interface Entry {
  run: WorkerRequestStream
  job: EngineRequest
  /** Workers that it was given to. */
  workers: number
}

class WorkerEngineClient implements EngineClient {
  readonly model: ModelConfig
  readonly engine: EngineInfo
  readonly capacity: EngineCapacity
  readonly memory: number
  readonly chat: boolean
  private readonly maxQueue: number
  private readonly entries = new Map<string, Entry>()
  private readonly listeners: ((stats: TickStats) => void)[] = []
  private readonly witnesses: ((fate: WorkerStatus) => void)[] = []
  private readonly drained: (() => void)[] = []
  /** Controls of jobs that wait while there is no worker. */
  private deferred: ToWorker[] = []
  /** No new jobs: draining or closing. */
  private closing = false
  private readonly worker: WorkerSupervisor

  constructor(first: WorkerThread, start: () => Promise<WorkerThread>, options: WorkerOptions) {
    const ready: Ready = first.ready
    this.model = ready.model
    this.engine = ready.engine
    this.capacity = ready.capacity
    this.memory = ready.memory
    this.chat = ready.chat
    this.maxQueue = options.maxQueue
    const { watchdogSeconds } = options
    const supervised = { model: this.model.name, start, watchdogSeconds }
    this.worker = new WorkerSupervisor(first, supervised, {
      message: (message) => {
        this.receive(message)
      },
      lost: (reason, error) => {
        this.tell({ type: 'lost', reason, error })
        this.lose(error)
      },
      restored: () => {
        this.tell({ type: 'restored' })
        this.submitAgain()
      },
      notRestored: (error) => {
        this.tell({ type: 'not_restored', error })
        this.failAll(this.unavailable)
      },
    })
  }

  get lastTick(): number {
    return this.worker.lastSign
  }

  get silence(): number {
    return this.worker.silence
  }

  get waiting(): number {
    return this.count(({ stage }) => stage === 'waiting')
  }

  get outstanding(): number {
    return this.count(isOutstanding)
  }

  outstandingOf(client: string): number {
    return this.count((run) => run.client === client && isOutstanding(run))
  }

  submit(asked: Omit<EngineRequest, 'id'> & { id?: string }): RequestStream {
    if (this.closing) throw new BasinError('shutting_down')
    if (!this.worker.alive) throw this.worker.unavailable()
    const job = { ...asked, id: asked.id ?? randomUUID() }
    if (this.entries.has(job.id)) {
      throw new BasinError('invalid_request', { param: 'id', reason: `${job.id} is running` })
    }
    const run = new WorkerRequestStream(job, (message) => {
      if (this.worker.alive) this.worker.send(message)
      else this.deferred.push(message)
    })
    refuseIfFull(this.runs(), run, this.capacity.slots, this.maxQueue)
    this.entries.set(job.id, { run, job, workers: 1 })
    this.worker.send({ type: 'submit', request: job })
    return run
  }

  async tokenize(text: string): Promise<readonly number[]> {
    const reply = await this.worker.ask((id) => ({ type: 'tokenize', id, text }))
    return reply.type === 'tokens' ? reply.tokens : []
  }

  async detokenize(tokens: readonly number[]): Promise<string> {
    const reply = await this.worker.ask((id) => ({ type: 'detokenize', id, tokens }))
    return reply.type === 'text' ? reply.text : ''
  }

  async converse(messages: readonly ChatMessage[]): Promise<readonly number[]> {
    const reply = await this.worker.ask((id) => ({ type: 'chat', id, messages }))
    return reply.type === 'tokens' ? reply.tokens : []
  }

  onTick(listener: (stats: TickStats) => void): void {
    this.listeners.push(listener)
  }

  onWorkerStatus(listener: (fate: WorkerStatus) => void): void {
    this.witnesses.push(listener)
  }

  drain(): Promise<void> {
    this.closing = true
    return new Promise((resolve) => {
      this.drained.push(resolve)
      this.settleDrain()
    })
  }

  async close(): Promise<void> {
    this.closing = true
    this.failAll({ code: 'shutting_down', facts: {} })
    await this.worker.close()
  }

  private receive(message: FromWorker): void {
    if (message.type !== 'events') return
    for (const { id, event } of message.events) this.deliver(id, event)
    for (const id of message.released) this.release(id)
    this.settleDrain()
    // Replies that these events end go out first.
    setImmediate(() => {
      for (const listener of this.listeners) listener(message.stats)
    })
  }

  private deliver(id: string, event: RequestEvent): void {
    const run = this.entries.get(id)?.run
    run?.take(event)
    if (run?.stage === 'ended') this.entries.delete(id)
  }

  private release(id: string): void {
    this.entries.get(id)?.run.release()
    this.entries.delete(id)
  }

  /** What ran is not run again: it may be what ended the worker, and clients may have seen a part. */
  private lose(error: ErrorMessage): void {
    for (const [id, { run, workers }] of this.entries) {
      if (run.stage === 'held') this.release(id)
      else if (run.stage === 'running') this.fail(id, this.unavailable)
      else if (workers >= MOST_WORKERS) this.fail(id, error)
    }
    this.settleDrain()
  }

  private submitAgain(): void {
    for (const entry of this.entries.values()) {
      entry.workers++
      this.worker.send({ type: 'submit', request: entry.job })
    }
    for (const message of this.deferred.splice(0)) this.worker.send(message)
  }

  private get unavailable(): ErrorMessage {
    const { code, facts } = this.worker.unavailable()
    return { code, facts }
  }

  private tell(fate: WorkerStatus): void {
    for (const witness of this.witnesses) witness(fate)
  }

  private fail(id: string, error: ErrorMessage): void {
    this.deliver(id, { type: 'failed', error })
  }

  private failAll(error: ErrorMessage): void {
    this.deferred = []
    for (const [id, { run }] of this.entries) {
      if (run.stage === 'held') this.release(id)
      else this.fail(id, error)
    }
    this.settleDrain()
  }

  private settleDrain(): void {
    if (this.drained.length === 0 || this.outstanding > 0) return
    for (const resolve of this.drained.splice(0)) resolve()
  }

  private *runs(): Generator<WorkerRequestStream> {
    for (const { run } of this.entries.values()) yield run
  }

  private count(matches: (run: WorkerRequestStream) => boolean): number {
    let count = 0
    for (const run of this.runs()) if (matches(run)) count++
    return count
  }
}
