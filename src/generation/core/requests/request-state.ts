/**
 * One request between submission and release: its context, its completion so far, and the answer in
 * descent. Holds this state and keeps it consistent; it makes no call and emits no event, and what happens
 * when is for others to decide.
 */
import type { BeginRow } from '../../../energy/engine.js'
import type { ModelConfig } from '../../../model/config.js'
import type { Budget } from '../../../refine/budget.js'
import { answerSeed } from '../../../refine/candidates.js'
import { extend, type Extra } from '../../../refine/stop.js'
import { IncrementalDecoder } from '../../../tokenizer/incremental-decoder.js'
import type { Tokenizer } from '../../../tokenizer/tokenizer.js'
import type { TokenMask } from '../../../tokenizer/grammar/grammar.js'
import { BasinError } from '../../../errors.js'
import type { EngineRequest } from '../../protocol.js'
import { allRequiredHold } from '../../../refine/terms/composed.js'
import type { TermResult } from '../../../refine/terms/term.js'
import { AnswerTerms } from '../answers/answer-terms.js'
import { type AnswerShape, BLANK } from '../answers/answer-shape.js'
import { Answer, type AnswerMemory, clampedOf, slotOf } from '../answers/answer.js'
import type { Candidate } from '../answers/candidate.js'
import { Detokenizer, type HandedOut } from './detokenizer.js'
import { MeanPool } from './embedding.js'
import { type PreparedTerms, prepareTerms, type TermSetting } from './prepare-terms.js'
import { knownBefore, prepare, type Prepared } from './prepare.js'

const sum = (a: Extra, b: Extra): Extra => ({
  steps: (a.steps ?? 0) + (b.steps ?? 0),
  seconds: (a.seconds ?? 0) + (b.seconds ?? 0),
})

/** A candidate of the present answer of a request, by its index. */
export interface CandidateRow {
  readonly state: RequestState
  readonly index: number
}

/** Throws a RangeError where the request has no answer, or its answer no such candidate. */
export function candidateOf({ index, state }: CandidateRow): {
  answer: Answer
  candidate: Candidate
} {
  const { answer } = state
  const candidate = answer?.candidates[index]
  if (!answer || !candidate)
    throw new RangeError(`request ${state.request.id} has no candidate ${index} in descent`)
  return { answer, candidate }
}

/**
 * The row of `EnergyEngine.begin` for the present descent of a candidate. `committed`: [K], BLANK where no token
 * is committed; `start`: [K, W] in place of the model's own.
 */
export function beginRow(
  row: CandidateRow,
  committed?: readonly number[],
  start?: Float32Array,
): BeginRow {
  const { answer, candidate } = candidateOf(row)
  const clamped = clampedOf(answer.shape.clamped, { commits: committed }, BLANK)
  return {
    slot: slotOf(candidate),
    contextId: row.state.contextId,
    seed: answer.shape.seed,
    candidate: candidate.descent,
    ...(clamped && { clamped }),
    ...(start && { start }),
  }
}

/** All that a request is between two steps, besides what was asked. Plain data. */
export interface RequestMemory {
  /** Of its prompt, by which a request of another prompt is refused. */
  promptTokens: number
  /** Of its completion. */
  tokens: readonly number[]
  handedOut: HandedOut
  begun: number
  settledSteps: number
  settledRestarts: number
  allConverged: boolean
  finishing: boolean
  extra: Extra
  unspent: number
  termResults: TermResult[] | undefined
  /** How often `finish` or `extend` has changed its course. */
  steered: number
  /** The answer in descent, if there is one. */
  answer: AnswerMemory | undefined
}

export class RequestState {
  /** The scheduler's number for this request. */
  requestId = -1
  /** All tokens before the next answer. */
  readonly context: number[]
  /** What it adds to the energy. */
  readonly terms: PreparedTerms | undefined
  /** Of the completion up to the latest settled answer. */
  termResults: TermResult[] | undefined
  completion: Detokenizer
  /** The present answer, from its beginning until the next one may begin. */
  answer: Answer | undefined
  /** The tokens of the present answer are part of completion and context. */
  accepted = false
  /** Over the answers before the present one. */
  settledSteps = 0
  settledRestarts = 0
  allConverged = true
  /** The client asked for the end: the present answer is the last. */
  finishing = false
  /** When the held answer expires, in seconds of the core's clock; undefined while it is not held. */
  heldUntil: number | undefined
  /** When a pause is over at the latest; undefined while there is none. */
  pausedUntil: number | undefined
  /** Seconds of the pauses before the present one. */
  pausedSeconds = 0
  /** The engine's index of its context, once it has one. */
  contextId = -1
  /** Positions that the client wants fixed or opened before the next step. */
  clampings: { position: number; token: number }[] = []
  /** How often `finish` or `extend` has changed its course. */
  steered = 0
  /**
   * It goes on from a thought and gives events that its readers have seen. They take none of its time, so no
   * clock runs.
   */
  repeats = false
  /** The answer to go on with when the context is observed. */
  private recalled: AnswerMemory | undefined
  private begun = 0
  /** See `promptStates`. */
  private pooledPrompt: MeanPool | undefined
  /** How many of the given tokens have been read and scored. */
  private givenTaken = 0
  private readonly givenDecoder: IncrementalDecoder
  /** Length of `context` when the present answer began. */
  private contextBefore: number
  /** How much of the completion had been handed out by then. */
  private handedOutBefore: HandedOut
  /** Budget that `extend` added while no answer was in descent. */
  private extra: Extra = {}
  /** Steps that the answer before left over. */
  private unspent = 0
  private readonly prepared: Prepared
  /** Tokens of the prompt, without the given ones. */
  private readonly promptLength: number
  private readonly block: number
  /** Numbers of a readout. */
  private readonly readout: number

  /** Throws what is wrong with the request: see `prepare`. */
  constructor(
    readonly request: EngineRequest,
    private readonly model: ModelConfig,
    private readonly tokenizer: Tokenizer,
    /** Seconds of the core's clock. */
    readonly submittedAt: number,
    /** Says which tokens its completion may go on with; undefined: any. */
    readonly mask?: TokenMask,
    /** The other models that its terms may name. */
    others?: TermSetting['others'],
  ) {
    this.prepared = prepare(request, model, tokenizer)
    const { prompt } = request
    const { maxTokens: positions } = this.prepared
    this.terms =
      request.terms && prepareTerms(request.terms, { model, tokenizer, prompt, positions, others })
    this.promptLength = this.prepared.promptTokens - this.prepared.given.length
    this.block = model.answer.block
    this.readout = model.answer.block * model.vocab_size
    this.givenDecoder = new IncrementalDecoder(tokenizer)
    this.context = this.prepared.context
    this.completion = new Detokenizer(tokenizer, {
      stop: this.hasTemplate ? [] : request.stop,
      token: this.endToken,
    })
    this.takeKnown()
    this.contextBefore = this.context.length
    this.handedOutBefore = this.completion.handedOut
  }

  /** States of the prompt's tokens, which few requests ask for. */
  get promptStates(): MeanPool {
    return (this.pooledPrompt ??= new MeanPool())
  }

  /** Of the prompt and of the tokens given after it. */
  get promptTokens(): number {
    return this.prepared.promptTokens
  }

  /** The most positions that its context and answers take. */
  get positions(): number {
    return this.prepared.positions
  }

  /** The given tokens that the present or next answer stands for; none once the completion has begun. */
  get givenTokens(): readonly number[] {
    return this.prepared.given.slice(this.givenTaken, this.givenTaken + this.block)
  }

  /** The energy of its given tokens is asked for, so that nothing descends in their place. */
  get scoresGiven(): boolean {
    return this.request.given?.by === 'energy' && this.givenTokens.length > 0
  }

  /** The states of its prompt are asked for, and nothing else. */
  get encodesPrompt(): boolean {
    return this.request.represent === 'observed'
  }

  /** The next answer is one like those before: no control has asked for anything else. */
  get isPlain(): boolean {
    const extended = this.extra.steps !== undefined || this.extra.seconds !== undefined
    const changed = this.finishing || extended || this.pausedUntil !== undefined
    return !changed && !this.recalled && this.givenTokens.length === 0 && !this.hasTemplate
  }

  get answersBegun(): number {
    return this.begun
  }

  /** The token that ends its completion. */
  get endToken(): number | undefined {
    return this.hasTemplate ? undefined : this.tokenizer.bos
  }

  /** Of the prompt and of the tokens given after it. */
  get promptText(): string {
    const start = this.tokenizer.bos === undefined ? 0 : 1
    const prompt = this.prepared.context.slice(start, start + this.promptLength)
    return this.tokenizer.decode([...prompt, ...this.prepared.given])
  }

  /** Every position that was asked for is there. */
  get isFull(): boolean {
    return this.completion.tokens.length >= this.prepared.maxTokens
  }

  /** Every required term is satisfied by what was found; true where there are none. */
  get requiredHold(): boolean {
    const { termResults, terms } = this
    return !terms || !termResults || allRequiredHold(terms.weighted, termResults)
  }

  get hasTemplate(): boolean {
    return this.prepared.template !== undefined
  }

  /** Between steps it is no more than a context, a completion and an answer in descent. */
  get canBeSaved(): boolean {
    const { given, hold, probe, represent } = this.request
    return !given && !hold && !probe && !represent
  }

  /** For `recall`. `saved`: by candidate, the states of those in slots; `now`: seconds of the clock. */
  memory(saved: readonly (Uint8Array | undefined)[], now: number): RequestMemory {
    const { answer, completion, termResults } = this
    return {
      promptTokens: this.promptTokens,
      tokens: completion.tokens,
      handedOut: completion.handedOut,
      begun: this.begun,
      settledSteps: this.settledSteps,
      settledRestarts: this.settledRestarts,
      allConverged: this.allConverged,
      finishing: this.finishing,
      extra: this.extra,
      unspent: this.unspent,
      termResults,
      steered: this.steered,
      answer: answer ? answer.memory(saved, now) : this.recalled,
    }
  }

  /** Goes on from where another one stood. Before the request is queued. Throws `invalid_state`. */
  recall(memory: RequestMemory, repeats: boolean): void {
    const { candidates } = this.request.budget
    const { answer, tokens } = memory
    const fits =
      memory.promptTokens === this.promptTokens &&
      tokens.length <= this.prepared.maxTokens &&
      (answer === undefined || answer.candidates.length === candidates)
    if (!fits) throw new BasinError('invalid_state', { reason: 'it was saved of another request' })
    const more = tokens.slice(this.completion.tokens.length)
    for (const token of more) this.completion.push(token)
    if (more.length > 0) this.mask?.accept(more)
    this.completion.resumeFrom(memory.handedOut)
    this.context.push(...more)
    this.begun = memory.begun
    this.settledSteps = memory.settledSteps
    this.settledRestarts = memory.settledRestarts
    this.allConverged = memory.allConverged
    this.finishing = memory.finishing
    this.extra = memory.extra
    this.unspent = memory.unspent
    this.termResults = memory.termResults
    this.steered = memory.steered
    this.recalled = answer
    this.repeats = repeats
  }

  /** The next answer, or the one that a thought was saved of; its clock does not run yet. */
  begin(): Answer {
    this.contextBefore = this.context.length
    this.handedOutBefore = this.completion.handedOut
    this.accepted = false
    const answer = this.recalled ? this.recallAnswer(this.recalled) : this.nextAnswer()
    this.extra = {}
    if (this.finishing) answer.finish()
    this.answer = answer
    return answer
  }

  private recallAnswer(memory: AnswerMemory): Answer {
    this.recalled = undefined
    const answer = Answer.recalled(memory, this.termsOf(memory.shape))
    answer.extend(this.extra)
    return answer
  }

  private nextAnswer(): Answer {
    const extended = extend(this.request.budget, this.extra)
    const budget = this.scoresGiven || this.encodesPrompt ? { ...extended, maxSteps: 0 } : extended
    const shape = this.nextShape()
    return new Answer(shape, budget, this.unspent, this.termsOf(shape))
  }

  private termsOf(shape: AnswerShape): AnswerTerms | undefined {
    if (!this.terms) return undefined
    const last = shape.position + shape.length >= this.prepared.maxTokens
    const before = [...this.completion.tokens]
    return new AnswerTerms(this.terms.weighted, shape, before, last, this.model)
  }

  /** The given tokens that the present answer stands for become context. */
  takeGiven(): { tokens: number; text: string } {
    const tokens = this.givenTokens
    this.context.push(...tokens)
    this.givenTaken += tokens.length
    this.accepted = true
    const text = this.givenDecoder.feed(tokens)
    const last = this.givenTokens.length === 0
    return { tokens: tokens.length, text: last ? text + this.givenDecoder.flush() : text }
  }

  /** `tokens` of the present answer become context; known text after them follows at once. */
  accept(tokens: readonly number[]): void {
    this.context.push(...tokens)
    this.accepted = true
    if (!this.completion.ended) this.takeKnown()
  }

  /** Leaves the present answer behind. Returns how many tokens the context has grown by. */
  proceed(steps: number, converged: boolean): number {
    this.settledSteps += steps
    this.settledRestarts += this.answer?.series?.restarted ?? 0
    this.unspent = this.answer?.unspent ?? 0
    this.allConverged &&= converged
    this.answer = undefined
    return this.context.length - this.contextBefore
  }

  /** Takes the tokens of the present answer out of completion and context again. */
  rewind(answer: Answer): void {
    this.mask?.rewind(this.completion.tokens.length - answer.shape.position)
    this.completion = this.completion.rewound(answer.shape.position, this.handedOutBefore)
    this.context.length = this.contextBefore
    this.accepted = false
    this.finishing = false
    this.heldUntil = undefined
  }

  /** Of the answer in descent, or of the next one. */
  get limits(): Readonly<Budget> {
    const { answer, extra, recalled, request } = this
    return answer?.limits ?? extend(recalled?.budget ?? request.budget, extra)
  }

  /** Raises the budget of the answer in descent, or of the next one. */
  extend(extra: Extra): void {
    if (this.answer) this.answer.extend(extra)
    else this.extra = sum(this.extra, extra)
  }

  private nextShape(): AnswerShape {
    const index = this.begun++
    const seed = answerSeed(this.request.sampling.seed, index)
    const { length: given } = this.givenTokens
    if (given > 0) {
      const position = this.givenTaken - this.prepared.given.length
      return { index, seed, position, readout: this.readout, length: given, clamped: undefined }
    }
    const position = this.completion.tokens.length
    const length = Math.min(this.block, this.prepared.maxTokens - position)
    const known = this.prepared.template?.slice(position, position + length)
    const clamped = known && [...known, ...new Array<number>(this.block - length).fill(BLANK)]
    return { index, seed, position, readout: this.readout, length, clamped }
  }

  /** Known text of a template before its next answer: it becomes completion and context at once. */
  private takeKnown(): void {
    const { template } = this.prepared
    if (!template) return
    const position = this.completion.tokens.length
    const known = template.slice(position, position + knownBefore(this.model, template, position))
    for (const token of known) this.completion.push(token)
    this.context.push(...known)
  }
}
