/**
 * The engine as the server's thread sees it: takes requests, hands out their events, bounds the queue, and
 * says what becomes of a request whose worker is lost. Does no arithmetic, reads no file and knows no HTTP.
 */
import { randomUUID } from 'node:crypto'
import type { EngineCapacity, EngineInfo } from '../../energy/engine.js'
import { BasinError, type ErrorMessage } from '../../errors.js'
import type { ModelConfig } from '../../model/config.js'
import type { ChatMessage, Tool, ToolFormat } from '../../tokenizer/chat-template.js'
import type { EngineRequest, TickStats, ToWorker, WorkerOptions } from '../protocol.js'
import { BufferedRequestStream, refuseIfFull, type RequestStream } from './request-stream.js'
import { TextPool } from './text-pool.js'
import { type LossReason, WorkerSupervisor } from './worker-supervisor.js'
import { type Report, WorkerThread } from './worker-thread.js'

export type { RequestStream } from './request-stream.js'

/** What happened to the worker of an engine. */
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
  /** Of the model and its weights: thoughts that are saved here fit where this is equal. */
  readonly identity: Uint8Array
  /** The model has a chat template, which `converse` needs. */
  readonly chat: boolean
  /** How it writes calls of tools; undefined where its template knows none. */
  readonly tools?: ToolFormat | undefined
  /** Requests submitted and not yet started. */
  readonly waiting: number
  /** Requests submitted and not yet finished; held answers are finished. */
  readonly outstanding: number
  /** Candidates of the outstanding requests of one client. */
  outstandingOf(client: string): number
  /**
   * Throws at once: `queue_full`, `shutting_down` or `engine_unavailable`. What is wrong with the request
   * itself comes as its `failed` event.
   */
  submit(request: Omit<EngineRequest, 'id'> & { id?: string }): RequestStream
  /** Resolves when the worker has looked at all that was submitted before. */
  ping(): Promise<void>
  /** Rejects with what is wrong with a request, as far as the model itself can say it; nothing is computed. */
  check(request: Omit<EngineRequest, 'id'>): Promise<void>
  /** `param`: what errors call the text. Texts of different clients take turns: see text-pool.ts. */
  tokenize(text: string, client: string, param?: string): Promise<readonly number[]>
  detokenize(tokens: readonly number[], client: string): Promise<string>
  /** The tokens of a chat, after which the assistant speaks. Rejects with `not_supported` without a template. */
  converse(
    messages: readonly ChatMessage[],
    client: string,
    tools?: readonly Tool[],
  ): Promise<readonly number[]>
  onTick(listener: (stats: TickStats) => void): void
  /** When the worker last sent anything, on the clock of `performance.now()`. */
  readonly lastTick: number
  /** Seconds that the worker has left a question unanswered; Infinity while there is no worker. */
  readonly silence: number
  /** A worker that is lost is started anew: what it ran has failed, what waited is submitted again. */
  onWorkerStatus(listener: (status: WorkerStatus) => void): void
  /** Refuses new requests; resolves when none is outstanding. */
  drain(): Promise<void>
  /** Ends the worker; outstanding requests fail with `shutting_down`. */
  close(): Promise<void>
}

/**
 * Starts a worker from its built entry, beside which that of text workers stands. Rejects with the worker's own error when the model, its tokenizer or
 * the engine cannot be opened.
 */
export async function startEngineClient(options: WorkerOptions, entry: URL): Promise<EngineClient> {
  const first = await WorkerThread.start(options, entry)
  const model = JSON.stringify(first.ready.model)
  const start = async () => {
    const next = await WorkerThread.start(options, entry)
    if (JSON.stringify(next.ready.model) === model) return next
    await next.close()
    const reason = 'its configuration has changed since the server started: restart the server'
    throw new BasinError('invalid_data', { path: options.modelPath, reason })
  }
  const texts = new TextPool(first.ready.model.name, options.modelPath, entry)
  return new WorkerEngineClient(first, start, texts, options)
}

/** A request that waited when its worker was lost is submitted to the next; so many get it at most. */
const MOST_WORKERS = 3

interface Entry {
  stream: BufferedRequestStream
  request: EngineRequest
  /** Workers that it was submitted to. */
  workers: number
}

class WorkerEngineClient implements EngineClient {
  readonly model: ModelConfig
  readonly engine: EngineInfo
  readonly capacity: EngineCapacity
  readonly memory: number
  readonly identity: Uint8Array
  readonly chat: boolean
  readonly tools?: ToolFormat | undefined
  private readonly maxQueue: number
  private readonly entries = new Map<string, Entry>()
  private readonly statsListeners: ((stats: TickStats) => void)[] = []
  private readonly statusListeners: ((status: WorkerStatus) => void)[] = []
  /** Resolve the promises of `drain`. */
  private readonly drained: (() => void)[] = []
  /** Controls of requests that wait while there is no worker. */
  private deferred: ToWorker[] = []
  /** No new requests: draining or closing. */
  private closing = false
  private readonly worker: WorkerSupervisor

  constructor(
    first: WorkerThread,
    start: () => Promise<WorkerThread>,
    private readonly texts: TextPool,
    options: WorkerOptions,
  ) {
    const { capacity, chat, engine, identity, memory, model, tools } = first.ready
    this.model = model
    this.engine = engine
    this.capacity = capacity
    this.memory = memory
    this.identity = identity
    this.chat = chat
    this.tools = tools
    this.maxQueue = options.maxQueue
    const { watchdogSeconds } = options
    this.worker = new WorkerSupervisor(
      first,
      { model: model.name, start, watchdogSeconds },
      {
        report: this.receive,
        lost: (reason, error) => {
          this.notify({ type: 'lost', reason, error })
          this.lose(error)
        },
        restored: () => {
          this.notify({ type: 'restored' })
          this.submitAgain()
        },
        notRestored: (error) => {
          this.notify({ type: 'not_restored', error })
          this.failAll(this.unavailable)
        },
      },
    )
  }

  get lastTick(): number {
    return this.worker.lastMessageAt
  }

  get silence(): number {
    return this.worker.silence
  }

  get waiting(): number {
    return this.count(({ stage }) => stage === 'waiting')
  }

  get outstanding(): number {
    return this.count(({ isOutstanding }) => isOutstanding)
  }

  outstandingOf(client: string): number {
    let candidates = 0
    for (const stream of this.streams())
      if (stream.client === client && stream.isOutstanding) candidates += stream.candidates
    return candidates
  }

  submit(asked: Omit<EngineRequest, 'id'> & { id?: string }): RequestStream {
    if (this.closing) throw new BasinError('shutting_down')
    if (!this.worker.alive) throw this.worker.unavailable()
    const request = { ...asked, id: asked.id ?? randomUUID() }
    if (this.entries.has(request.id)) {
      const reason = `a request with the id ${request.id} is running`
      throw new BasinError('invalid_request', { param: 'id', reason })
    }
    const stream = new BufferedRequestStream(request, (message) => {
      if (this.worker.alive) this.worker.send(message)
      else this.deferred.push(message)
    })
    refuseIfFull(this.streams(), stream, this.capacity.slots, this.maxQueue)
    this.entries.set(request.id, { stream, request, workers: 1 })
    this.worker.send({ type: 'submit', request })
    return stream
  }

  ping(): Promise<void> {
    return this.worker.ping()
  }

  check(request: Omit<EngineRequest, 'id'>): Promise<void> {
    return this.worker.check({ ...request, id: randomUUID() })
  }

  tokenize(text: string, client: string, param = 'text'): Promise<readonly number[]> {
    return this.texts.encode(text, client, param)
  }

  detokenize(tokens: readonly number[], client: string): Promise<string> {
    return this.texts.decode(tokens, client)
  }

  converse(
    messages: readonly ChatMessage[],
    client: string,
    tools?: readonly Tool[],
  ): Promise<readonly number[]> {
    return this.texts.chat(messages, client, tools)
  }

  onTick(listener: (stats: TickStats) => void): void {
    this.statsListeners.push(listener)
  }

  onWorkerStatus(listener: (status: WorkerStatus) => void): void {
    this.statusListeners.push(listener)
  }

  drain(): Promise<void> {
    this.closing = true
    return new Promise((resolve) => {
      this.drained.push(resolve)
      this.resolveDrained()
    })
  }

  async close(): Promise<void> {
    this.closing = true
    this.failAll({ code: 'shutting_down', facts: {} })
    await Promise.all([this.worker.close(), this.texts.close()])
  }

  /** Hands each event to the stream of its request. Bound, so that a report takes no further call. */
  private readonly receive = ({ events, released, stats }: Report): void => {
    for (const { event, id } of events) {
      const stream = this.entries.get(id)?.stream
      stream?.push(event)
      if (stream?.stage === 'ended') this.entries.delete(id)
    }
    for (const id of released) this.release(id)
    this.resolveDrained()
    // Replies that these events end are sent before their account is entered.
    setImmediate(() => {
      for (const listener of this.statsListeners) listener(stats)
    })
  }

  private release(id: string): void {
    this.entries.get(id)?.stream.release()
    this.entries.delete(id)
  }

  /**
   * A request that ran is not run again: it may be what ended the worker, and its client may have seen a part
   * of its answer.
   */
  private lose(error: ErrorMessage): void {
    for (const [id, { stream, workers }] of this.entries) {
      if (stream.stage === 'held') this.release(id)
      else if (stream.stage === 'running') this.fail(id, this.unavailable)
      else if (workers >= MOST_WORKERS) this.fail(id, error)
    }
    this.resolveDrained()
  }

  private submitAgain(): void {
    for (const entry of this.entries.values()) {
      entry.workers++
      this.worker.send({ type: 'submit', request: entry.request })
    }
    for (const message of this.deferred.splice(0)) this.worker.send(message)
  }

  private get unavailable(): ErrorMessage {
    const { code, facts } = this.worker.unavailable()
    return { code, facts }
  }

  private notify(status: WorkerStatus): void {
    for (const listener of this.statusListeners) listener(status)
  }

  private fail(id: string, error: ErrorMessage): void {
    this.entries.get(id)?.stream.push({ type: 'failed', error })
    this.entries.delete(id)
  }

  private failAll(error: ErrorMessage): void {
    this.deferred = []
    for (const [id, { stream }] of this.entries) {
      if (stream.stage === 'held') this.release(id)
      else this.fail(id, error)
    }
    this.resolveDrained()
  }

  private resolveDrained(): void {
    if (this.drained.length === 0 || this.outstanding > 0) return
    for (const resolve of this.drained.splice(0)) resolve()
  }

  private *streams(): Generator<BufferedRequestStream> {
    for (const { stream } of this.entries.values()) yield stream
  }

  private count(matches: (stream: BufferedRequestStream) => boolean): number {
    let count = 0
    for (const stream of this.streams()) if (matches(stream)) count++
    return count
  }
}
