/**
 * The main thread's side of a generation worker: submits jobs, hands out their events, bounds the
 * queue. Does no arithmetic and reads no file.
 */
import { randomUUID } from 'node:crypto'
import { Worker } from 'node:worker_threads'
import type { EngineCapacity, EngineInfo } from '../energy/engine.js'
import { BasinError, type ErrorMessage, fromErrorMessage, toErrorMessage } from '../errors.js'
import type { ModelConfig } from '../model/config.js'
import type { ChatMessage } from '../tokenizer/chat.js'
import type { FromWorker, Job, JobEvent, TickStats, ToWorker, WorkerOptions } from './protocol.js'
import { refuseIfFull, type Run, WorkerRun } from './run.js'

export type { Run } from './run.js'

export interface Generation {
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
  submit(job: Omit<Job, 'id'> & { id?: string }): Run
  tokenize(text: string): Promise<readonly number[]>
  detokenize(tokens: readonly number[]): Promise<string>
  /** The tokens after which the assistant speaks. Rejects with `not_supported` where it never does. */
  converse(messages: readonly ChatMessage[]): Promise<readonly number[]>
  onTick(listener: (stats: TickStats) => void): void
  /** When the worker last gave a sign of life, on the clock of `performance.now()`. */
  readonly lastTick: number
  /** Seconds that the worker has left a question unanswered; Infinity once it is gone. */
  readonly silence: number
  /** Refuses new jobs; resolves when none is outstanding. */
  drain(): Promise<void>
  /** Ends the worker; jobs still outstanding fail with `shutting_down`. */
  close(): Promise<void>
}

/**
 * Starts a worker from its built entry. Rejects with the worker's own error when the model, its
 * tokenizer or the engine cannot be opened.
 */
export function startGeneration(options: WorkerOptions, entry: URL): Promise<Generation> {
  const worker = new Worker(entry, { workerData: options })
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
          resolve(new WorkerGeneration(worker, message, options.maxQueue))
        })
      } else if (message.type === 'fatal') failed(fromErrorMessage(message.error))
    }
    worker.on('error', failed).on('exit', exited).on('message', answered)
  })
}

const isOutstanding = ({ stage }: WorkerRun): boolean => stage === 'waiting' || stage === 'running'

/** Milliseconds between the questions that show whether the worker still turns. */
const PULSE = 1000

interface Reply {
  resolve: (message: FromWorker) => void
  reject: (error: BasinError) => void
}

class WorkerGeneration implements Generation {
  readonly model: ModelConfig
  readonly engine: EngineInfo
  readonly capacity: EngineCapacity
  readonly memory: number
  readonly chat: boolean
  lastTick = performance.now()
  private readonly runs = new Map<string, WorkerRun>()
  private readonly replies = new Map<number, Reply>()
  private readonly listeners: ((stats: TickStats) => void)[] = []
  private readonly drained: (() => void)[] = []
  /** No new jobs: draining or closing. */
  private closing = false
  private dead = false
  private questions = 0
  /** When the question was asked that has no answer yet. */
  private asked: number | undefined
  private readonly pulse: NodeJS.Timeout
  private readonly exited: Promise<void>

  constructor(
    private readonly worker: Worker,
    ready: Extract<FromWorker, { type: 'ready' }>,
    private readonly maxQueue: number,
  ) {
    this.model = ready.model
    this.engine = ready.engine
    this.capacity = ready.capacity
    this.memory = ready.memory
    this.chat = ready.chat
    this.pulse = setInterval(() => {
      void this.feel()
    }, PULSE).unref()
    worker.on('message', (message: FromWorker) => {
      this.receive(message)
    })
    worker.on('error', (error) => {
      this.die(toErrorMessage(error))
    })
    this.exited = new Promise((resolve) => {
      worker.once('exit', () => {
        this.die(this.unavailable())
        resolve()
      })
    })
  }

  get silence(): number {
    if (this.dead) return Infinity
    return this.asked === undefined ? 0 : (performance.now() - this.asked) / 1000
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

  submit(job: Omit<Job, 'id'> & { id?: string }): Run {
    this.refuseUnlessOpen()
    const id = job.id ?? randomUUID()
    if (this.runs.has(id)) {
      throw new BasinError('invalid_request', { param: 'id', reason: `${id} is running` })
    }
    const run = new WorkerRun({ ...job, id }, (message) => {
      this.send(message)
    })
    refuseIfFull(this.runs.values(), run, this.capacity.slots, this.maxQueue)
    this.runs.set(id, run)
    this.send({ type: 'submit', job: { ...job, id } })
    return run
  }

  async tokenize(text: string): Promise<readonly number[]> {
    const reply = await this.ask((id) => ({ type: 'tokenize', id, text }))
    return reply.type === 'tokens' ? reply.tokens : []
  }

  async detokenize(tokens: readonly number[]): Promise<string> {
    const reply = await this.ask((id) => ({ type: 'detokenize', id, tokens }))
    return reply.type === 'text' ? reply.text : ''
  }

  async converse(messages: readonly ChatMessage[]): Promise<readonly number[]> {
    const reply = await this.ask((id) => ({ type: 'chat', id, messages }))
    return reply.type === 'tokens' ? reply.tokens : []
  }

  onTick(listener: (stats: TickStats) => void): void {
    this.listeners.push(listener)
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
    if (!this.dead) {
      this.send({ type: 'close' })
      this.failAll({ code: 'shutting_down', facts: {} })
    }
    await this.exited
  }

  private receive(message: FromWorker): void {
    this.lastTick = performance.now()
    switch (message.type) {
      case 'events':
        for (const { id, event } of message.events) this.deliver(id, event)
        for (const id of message.released) this.release(id)
        for (const listener of this.listeners) listener(message.stats)
        this.settleDrain()
        break
      case 'tokens':
      case 'text':
        this.reply(message.id)?.resolve(message)
        break
      case 'refused':
        this.reply(message.id)?.reject(fromErrorMessage(message.error))
        break
      case 'fatal':
        this.die(message.error)
        break
      case 'closed':
        void this.worker.terminate()
        break
      case 'ready':
    }
  }

  private deliver(id: string, event: JobEvent): void {
    const run = this.runs.get(id)
    run?.take(event)
    if (run?.stage === 'ended') this.runs.delete(id)
  }

  private release(id: string): void {
    this.runs.get(id)?.release()
    this.runs.delete(id)
  }

  private reply(id: number): Reply | undefined {
    const reply = this.replies.get(id)
    this.replies.delete(id)
    return reply
  }

  /** A worker that computes for long, or for ever, does not answer; neither does one that is gone. */
  private async feel(): Promise<void> {
    if (this.asked !== undefined || this.closing) return
    this.asked = performance.now()
    await this.tokenize('').catch(() => undefined)
    this.asked = undefined
  }

  private ask(question: (id: number) => ToWorker): Promise<FromWorker> {
    const id = this.questions++
    return new Promise((resolve, reject) => {
      if (this.dead) {
        reject(fromErrorMessage(this.unavailable()))
        return
      }
      this.replies.set(id, { resolve, reject })
      this.send(question(id))
    })
  }

  private refuseUnlessOpen(): void {
    if (this.closing) throw new BasinError('shutting_down')
    if (this.dead) throw fromErrorMessage(this.unavailable())
  }

  private send(message: ToWorker): void {
    this.worker.postMessage(message)
  }

  private unavailable(): ErrorMessage {
    return { code: 'engine_unavailable', facts: { model: this.model.name } }
  }

  private die(error: ErrorMessage): void {
    if (this.dead) return
    this.dead = true
    clearInterval(this.pulse)
    this.failAll(error)
    for (const { reject } of this.replies.values()) reject(fromErrorMessage(error))
    this.replies.clear()
  }

  private failAll(error: ErrorMessage): void {
    for (const [id, run] of this.runs) {
      if (run.stage === 'held') this.release(id)
      else this.deliver(id, { type: 'failed', error })
    }
    this.settleDrain()
  }

  private settleDrain(): void {
    if (this.drained.length === 0 || this.outstanding > 0) return
    for (const resolve of this.drained.splice(0)) resolve()
  }

  private count(matches: (run: WorkerRun) => boolean): number {
    let count = 0
    for (const run of this.runs.values()) if (matches(run)) count++
    return count
  }
}
