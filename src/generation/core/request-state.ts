/**
 * One job between submission and release: its context, its completion so far and the answer in
 * descent. Holds state; the loop decides when it changes.
 */
import type { ModelConfig } from '../../model/config.js'
import { extend, type Extra } from '../../refine/stop.js'
import { IncrementalDecoder } from '../../tokenizer/incremental-decoder.js'
import type { Tokenizer } from '../../tokenizer/tokenizer.js'
import { Answer, type AnswerShape, type Candidate } from './answer.js'
import { Detokenizer, type Taken } from './detokenizer.js'
import { prepare, type Prepared } from './prepare.js'
import type { EngineRequest } from '../protocol.js'
import { MeanPool } from './mean-pool.js'
import { BLANK } from './template.js'

const sum = (a: Extra, b: Extra): Extra => ({
  steps: (a.steps ?? 0) + (b.steps ?? 0),
  seconds: (a.seconds ?? 0) + (b.seconds ?? 0),
})

/** One candidate of one job, with the answer it is a candidate of. */
export interface Row {
  state: RequestState
  answer: Answer
  candidate: Candidate
}

export class RequestState {
  /** The scheduler's name for it. */
  requestId = -1
  /** All tokens before the next answer. */
  readonly context: number[]
  completion: Detokenizer
  answer: Answer | undefined
  /** Over the answers before the present one. */
  settledSteps = 0
  allConverged = true
  /** The client said finish: the present answer is the last. */
  finishing = false
  /** When the held answer expires, in seconds of the loop's clock; undefined while it runs. */
  heldUntil: number | undefined
  /** When a pause is over at the latest; undefined while there is none. */
  pausedUntil: number | undefined
  /** The engine's index of its context, once it has one. */
  contextId = -1
  /** Of its prompt, if they are asked for. */
  readonly states = new MeanPool()
  private answers = 0
  /** How many of the given tokens have been judged. */
  private judged = 0
  private readonly decoder: IncrementalDecoder
  /** Length of `context` when the present answer began. */
  private contextBefore: number
  /** What of the completion was out by then. */
  private takenBefore: Taken
  /** Budget asked for by `extend` while no answer was in descent. */
  private extra: Extra = {}
  /** Steps that the answer before left over. */
  private unspent = 0
  private readonly prepared: Prepared
  /** Tokens of the prompt alone. */
  private readonly prompt: number
  private readonly block: number

  constructor(
    readonly request: EngineRequest,
    model: ModelConfig,
    private readonly tokenizer: Tokenizer,
    readonly submittedAt: number,
  ) {
    this.prepared = prepare(request, model, tokenizer)
    this.prompt = this.prepared.promptTokens - this.prepared.given.length
    this.block = model.answer.block
    this.decoder = new IncrementalDecoder(tokenizer)
    this.context = this.prepared.context
    this.completion = new Detokenizer(tokenizer, {
      stop: this.templated ? [] : request.stop,
      token: this.end,
    })
    this.takeKnown()
    this.contextBefore = this.context.length
    this.takenBefore = this.completion.taken
  }

  get promptTokens(): number {
    return this.prepared.promptTokens
  }

  /** The most positions its context and answers take. */
  get positions(): number {
    return this.prepared.positions
  }

  /** The given tokens that the present answer stands for; none once the completion has begun. */
  get reading(): readonly number[] {
    return this.prepared.given.slice(this.judged, this.judged + this.block)
  }

  /** Given tokens whose energy is asked for, so that nothing descends in their place. */
  get scoring(): boolean {
    return this.request.given?.by === 'energy' && this.reading.length > 0
  }

  /** The prompt's states are asked for, and nothing else. */
  get encoding(): boolean {
    return this.request.represent === 'observed'
  }

  /** Its next answer is one like those before: nothing was asked that it is yet to begin with. */
  get steady(): boolean {
    const asked =
      this.finishing || this.extra.steps !== undefined || this.extra.seconds !== undefined
    return !asked && this.pausedUntil === undefined && this.reading.length === 0 && !this.templated
  }

  /** How many answers it has begun. */
  get answered(): number {
    return this.answers
  }

  /** The token that ends its completion. */
  get end(): number | undefined {
    return this.templated ? undefined : this.tokenizer.bos
  }

  /** Prompt and given tokens. */
  get promptText(): string {
    const start = this.tokenizer.bos === undefined ? 0 : 1
    const prompt = this.prepared.context.slice(start, start + this.prompt)
    return this.tokenizer.decode([...prompt, ...this.prepared.given])
  }

  /** Every position that was asked for is there. */
  get full(): boolean {
    return this.completion.tokens.length >= this.prepared.maxTokens
  }

  get templated(): boolean {
    return this.prepared.template !== undefined
  }

  begin(slots: readonly number[], now: number): Answer {
    this.contextBefore = this.context.length
    this.takenBefore = this.completion.taken
    const budget = extend(this.request.budget, this.extra)
    const steps = this.scoring || this.encoding ? { maxSteps: 0 } : {}
    const answer = new Answer(this.nextShape(), { ...budget, ...steps }, slots, now, this.unspent)
    this.extra = {}
    if (this.finishing) answer.finish()
    this.answer = answer
    return answer
  }

  /** The tokens that the present answer stands for are context now. */
  read(): { tokens: number; text: string } {
    const tokens = this.reading
    this.context.push(...tokens)
    this.judged += tokens.length
    const text = this.decoder.feed(tokens)
    const last = this.reading.length === 0
    return { tokens: tokens.length, text: last ? text + this.decoder.flush() : text }
  }

  /** The present answer is part of the text now; known blocks after it follow at once. */
  accept(tokens: readonly number[]): void {
    this.context.push(...tokens)
    if (!this.completion.ended) this.takeKnown()
  }

  /** Leaves the present answer behind. Returns how many tokens the context has grown by. */
  proceed(steps: number, converged: boolean): number {
    this.settledSteps += steps
    this.unspent = this.answer?.unspent ?? 0
    this.allConverged &&= converged
    this.answer = undefined
    return this.context.length - this.contextBefore
  }

  /** Takes the present answer's tokens back out of text and context. */
  rewind(answer: Answer): void {
    this.completion = this.completion.rewound(answer.shape.position, this.takenBefore)
    this.context.length = this.contextBefore
    this.finishing = false
    this.heldUntil = undefined
  }

  /** Raises the budget of the answer in descent, or of the next one. */
  extend(extra: Extra): void {
    if (this.answer) this.answer.extend(extra)
    else this.extra = sum(this.extra, extra)
  }

  private nextShape(): AnswerShape {
    const { length: given } = this.reading
    if (given > 0) {
      const position = this.judged - this.prepared.given.length
      return { index: this.answers++, position, length: given, clamped: undefined }
    }
    const position = this.completion.tokens.length
    const length = Math.min(this.block, this.prepared.maxTokens - position)
    const known = this.prepared.template?.slice(position, position + length)
    const clamped = known && [...known, ...new Array<number>(this.block - length).fill(BLANK)]
    return { index: this.answers++, position, length, clamped }
  }

  /** Template blocks without a blank need no answer: they are text and context at once. */
  private takeKnown(): void {
    const template = this.prepared.template
    if (!template) return
    for (;;) {
      const position = this.completion.tokens.length
      const known = template.slice(position, position + this.block)
      if (known.length === 0 || known.includes(BLANK)) return
      for (const token of known) this.completion.push(token)
      this.context.push(...known)
    }
  }
}
