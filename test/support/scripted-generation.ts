/**
 * An engine client without a model: words in place of tokens, energies that halve with every step. Budgets,
 * stop rules and request streams are the real ones; there is no thread and no arithmetic. A prompt that
 * contains `explode` fails after its first answer.
 */
import { BasinError } from '../../src/errors.js'
import type { EngineClient } from '../../src/generation/client/engine-client.js'
import type {
  Control,
  EngineRequest,
  RequestEvent,
  TickStats,
  ToWorker,
} from '../../src/generation/protocol.js'
import { settledEvent } from '../../src/generation/settled-answers.js'
import { refuseIfFull, BufferedRequestStream } from '../../src/generation/client/request-stream.js'
import type { StopReason } from '../../src/refine/budget.js'
import { advance, beforeFirstStep, decide, extend, type Progress } from '../../src/refine/stop.js'
import type { ChatMessage } from '../../src/tokenizer/chat-template.js'
import { configOf } from './models.js'

export interface Script {
  slots?: number
  maxQueue?: number
  /** Advances by itself; else only by `tick`. Default true. */
  auto?: boolean
  name?: string
  /** Has a chat template: a line `role: content` for each message. */
  chat?: boolean
  /** Positions that every template has, for a model of puzzles. */
  templateLength?: number
}

const words = ['alpha ', 'beta ', 'gamma ', 'delta ']
const START_ENERGY = 8

interface ScriptedRequest {
  job: EngineRequest
  run: BufferedRequestStream
  started: boolean
  paused: boolean
  held: boolean
  asked?: 'finished'
  /** Of the present answer. */
  progress: Progress
  /** Answers settled. */
  answers: number
  steps: number
  text: string
}

export class ScriptedGeneration implements EngineClient {
  readonly model
  readonly engine = { name: 'scripted', backend: 'paper', threads: 1, reason: 'for tests' }
  readonly capacity
  readonly memory = 1024
  readonly identity = new Uint8Array(32)
  readonly chat: boolean
  readonly maxQueue: number
  readonly jobs: EngineRequest[] = []
  lastTick = performance.now()
  silence = 0
  private readonly running = new Map<string, ScriptedRequest>()
  private readonly listeners: ((stats: TickStats) => void)[] = []
  private readonly drained: (() => void)[] = []
  private closing = false
  private scheduled = false
  private submitted = 0

  constructor(private readonly script: Script = {}) {
    this.model = configOf({
      name: script.name ?? 'scripted',
      context_length: 64,
      template: {
        blank: '_',
        ...(script.templateLength !== undefined && { length: script.templateLength }),
      },
    })
    this.chat = script.chat ?? false
    this.capacity = { slots: script.slots ?? 8, contexts: 8, pages: 64, pageSize: 16 }
    this.maxQueue = script.maxQueue ?? 64
  }

  get waiting(): number {
    return [...this.running.values()].filter(({ started }) => !started).length
  }

  get outstanding(): number {
    return [...this.running.values()].filter(({ held }) => !held).length
  }

  outstandingOf(client: string): number {
    return [...this.running.values()]
      .filter(({ held, job }) => !held && job.client === client)
      .reduce((sum, { job }) => sum + job.budget.candidates, 0)
  }

  submit(request: Omit<EngineRequest, 'id'>): BufferedRequestStream {
    if (this.closing) throw new BasinError('shutting_down')
    const job = { ...request, id: `job-${this.submitted++}` }
    const run = new BufferedRequestStream(job, (message) => {
      this.receive(message)
    })
    const runs = [...this.running.values()].map(({ run: other }) => other)
    refuseIfFull(runs, run, this.capacity.slots, this.maxQueue)
    this.jobs.push(job)
    const running: ScriptedRequest = {
      job,
      run,
      started: false,
      paused: false,
      held: false,
      progress: beforeFirstStep,
      answers: 0,
      steps: 0,
      text: '',
    }
    this.running.set(job.id, running)
    const wrong = this.refusal(job)
    if (wrong) setImmediate(() => this.end(running, failure(wrong)))
    this.wake()
    return run
  }

  /** Answers when what was submitted before has been looked at. */
  async ping(): Promise<void> {
    await new Promise(setImmediate)
  }

  async check(request: Omit<EngineRequest, 'id'>): Promise<void> {
    await this.ping()
    const wrong = this.refusal({ ...request, id: '' })
    if (wrong) throw wrong
  }

  async tokenize(text: string): Promise<readonly number[]> {
    await new Promise(setImmediate)
    return Array.from(text, (character) => character.codePointAt(0) ?? 0)
  }

  detokenize(tokens: readonly number[]): Promise<string> {
    return Promise.resolve(String.fromCodePoint(...tokens))
  }

  /** A line `role: content` for each message. Refuses a chat that begins with the assistant. */
  converse(messages: readonly ChatMessage[]): Promise<readonly number[]> {
    if (messages[0]?.role === 'assistant') {
      const facts = { param: 'messages', reason: 'roles must alternate' }
      return Promise.reject(new BasinError('invalid_request', facts))
    }
    return this.tokenize(messages.map(({ role, content }) => `${role}: ${content}\n`).join(''))
  }

  onTick(listener: (stats: TickStats) => void): void {
    this.listeners.push(listener)
  }

  /** It has no worker that could be lost. */
  onWorkerStatus(): void {}

  drain(): Promise<void> {
    this.closing = true
    return new Promise((resolve) => {
      this.drained.push(resolve)
      this.settleDrain()
    })
  }

  close(): Promise<void> {
    this.closing = true
    for (const each of [...this.running.values()]) {
      this.end(each, failure(new BasinError('shutting_down')))
    }
    return Promise.resolve()
  }

  /** One step of every answer that runs. */
  tick(): void {
    this.lastTick = performance.now()
    const active = [...this.running.values()].filter(({ held }) => !held)
    const busy = active.slice(0, this.capacity.slots)
    const moving = busy.filter(({ paused }) => !paused)
    for (const each of moving) this.step(each)
    this.report(moving.length)
  }

  private report(rows: number): void {
    const all = [...this.running.values()]
    const running = all.filter(({ held, paused, started }) => started && !held && !paused).length
    for (const listener of this.listeners) {
      listener({
        ticks: rows > 0 ? [{ rows, steps: 1, seconds: 0.001 }] : [],
        restarts: [],
        moves: { accepted: 0, rejected: 0 },
        seconds: { observe: 0, descend: 0.001, read: 0 },
        observedTokens: 0,
        running,
        waiting: this.waiting,
        paused: all.filter(({ paused }) => paused).length,
        held: all.filter(({ held }) => held).length,
        slotsUsed: running,
        pagesUsed: running,
        prefixQueries: 0,
        prefixHits: 0,
        preemptions: 0,
        movedOut: 0,
      })
    }
  }

  private step(each: ScriptedRequest): void {
    const { job, run } = each
    if (!each.started) {
      each.started = true
      const given = job.given?.answer ?? ''
      const promptTokens = job.prompt.length + given.length
      const promptText = textOf(job.prompt) + textOf(given)
      const echo = job.echo ? { promptText } : {}
      this.emit(run, { type: 'started', promptTokens, queueSeconds: 0, ...echo })
      this.score(each)
      if (job.maxTokens === 0 && !job.template) {
        this.end(each, this.finished(each, 'length', 'finished'))
        return
      }
    }
    const energy = START_ENERGY / 2 ** each.progress.steps
    const result = { energy, gradientNorm: energy, best: energy }
    each.progress = advance(each.progress, result, job.budget)
    const { steps } = each.progress
    if (job.reportSteps) {
      this.emit(run, {
        type: 'step',
        position: each.answers,
        step: steps,
        candidate: 0,
        energy,
        bestEnergy: energy,
        gradientNorm: energy,
        text: `draft ${steps}`,
        top: [],
      })
    }
    const stopReason = decide(job.budget, each.progress, 0, each.asked)
    if (stopReason) this.settle(each, stopReason)
  }

  /** Every given character costs its place in the alphabet. */
  private score({ job, run }: ScriptedRequest): void {
    for (const token of textOf(job.given?.answer ?? '')) {
      const energy = token.charCodeAt(0) - 96
      const by = job.given?.by === 'energy' ? { energy } : { logprobs: [logprobOf(token, -energy)] }
      this.emit(run, { type: 'scored', text: token, tokens: 1, ...by })
    }
  }

  private settle(each: ScriptedRequest, stopReason: StopReason): void {
    const { job, progress, run } = each
    const text = job.template?.replaceAll('_', '1') ?? words[each.answers % words.length] ?? ''
    const { best, final, initial, steps } = progress
    const energy = { initial, final, best }
    const logprobs = job.logprobs === undefined ? [] : [logprobOf(text, -job.sampling.seed)]
    const answer = {
      position: each.answers,
      text,
      tokens: 1,
      steps,
      energy,
      stopReason,
      seconds: 0.001,
      ...(job.logprobs !== undefined && { logprobs }),
    }
    this.emit(run, settledEvent([answer], [0]))
    if (textOf(job.prompt).includes('explode')) {
      this.end(each, failure(new BasinError('engine_failed', { reason: 'a secret of the engine' })))
      return
    }
    each.text += text
    each.answers++
    each.steps += steps
    const done = each.asked ?? (job.template !== undefined || each.answers >= job.maxTokens)
    if (done) this.end(each, this.finished(each, 'length', stopReason))
    else each.progress = beforeFirstStep
  }

  private finished(
    { answers, job, progress, steps, text }: ScriptedRequest,
    finishReason: 'length' | 'cancelled',
    stopReason: StopReason,
  ): RequestEvent {
    const { best, final, initial } =
      progress.steps > 0 ? progress : { best: 0, final: 0, initial: 0 }
    return {
      type: 'finished',
      finishReason,
      text,
      usage: {
        promptTokens: job.prompt.length + (job.given?.answer.length ?? 0),
        completionTokens: answers,
      },
      refinement: {
        steps,
        energy: { initial, final, best },
        candidates: job.budget.candidates,
        converged: stopReason === 'converged',
        stop_reason: stopReason,
      },
    }
  }

  private receive(message: ToWorker): void {
    if (message.type !== 'control') return
    const each = this.running.get(message.id)
    if (each) this.control(each, message.control)
    this.wake()
  }

  private control(each: ScriptedRequest, control: Control): void {
    switch (control.type) {
      case 'cancel':
        if (each.held) this.release(each)
        else this.end(each, this.finished(each, 'cancelled', 'cancelled'))
        return
      case 'finish':
        each.asked = 'finished'
        each.paused = false
        return
      case 'extend':
        if (each.held) {
          each.held = false
          each.answers--
          each.steps -= each.progress.steps
          each.text = ''
        }
        each.job = { ...each.job, budget: extend(each.job.budget, control) }
        return
      case 'pause':
      case 'resume':
        each.paused = control.type === 'pause'
    }
  }

  private emit(run: BufferedRequestStream, event: RequestEvent): void {
    run.push(event)
  }

  private end(each: ScriptedRequest, event: RequestEvent): void {
    this.emit(each.run, event)
    each.held = each.run.stage === 'held'
    if (!each.held) this.running.delete(each.job.id)
    this.report(0)
    this.settleDrain()
  }

  private release(each: ScriptedRequest): void {
    this.running.delete(each.job.id)
    each.run.release()
    this.report(0)
  }

  private refusal({ given, maxTokens, prompt, template }: EngineRequest): BasinError | undefined {
    if (prompt.length + (given?.answer.length ?? 0) === 0 && template === undefined) {
      return new BasinError('empty_prompt', { param: 'prompt' })
    }
    const limit = this.model.context_length
    if (prompt.length + maxTokens <= limit) return undefined
    const facts = { param: 'prompt', model: this.model.name, limit }
    return new BasinError('context_length_exceeded', {
      ...facts,
      prompt: prompt.length,
      answer: maxTokens,
    })
  }

  private settleDrain(): void {
    if (this.outstanding === 0) for (const resolve of this.drained.splice(0)) resolve()
  }

  private wake(): void {
    if (this.scheduled || this.script.auto === false) return
    this.scheduled = true
    setImmediate(() => {
      this.scheduled = false
      const active = [...this.running.values()].some(({ held, paused }) => !held && !paused)
      if (!active) return
      this.tick()
      this.wake()
    })
  }
}

const textOf = (text: EngineRequest['prompt']): string =>
  typeof text === 'string' ? text : String.fromCodePoint(...text)

const logprobOf = (token: string, logprob: number) => ({ token, logprob, top: [] })

const failure = (error: BasinError): RequestEvent => ({
  type: 'failed',
  error: { code: error.code, facts: error.facts },
})
