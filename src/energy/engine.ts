/**
 * The whole contract with hardware. Rows of different sequences, candidates, step indices and context
 * lengths share one call. Answer states live in slots owned by the engine, so nothing of vocabulary
 * size crosses this boundary per step. An engine knows tokens as integers and knows no text, no
 * budget and no queue. It runs in a worker thread of its own: engines on the CPU return results, an
 * engine on another device promises of them, and callers await either. A call begins when the one
 * before it has ended.
 *
 * Implemented by tfjs/ (the definition), native/ (fused kernels) and webgpu/ (any GPU), which are tested
 * against the definition.
 */
import type { ModelConfig } from '../model/config.js'
import type { Bell } from './bell.js'

/** What an engine that computes elsewhere gives later; others give it at once. */
export type Awaitable<T> = T | Promise<T>

/** Appends `tokens` to the context of `sequence`: prefill and commit are the same act. */
export interface ObserveRow {
  /** 0 <= sequence < capacity.sequences; a sequence begins with its first observe. */
  sequence: number
  /**
   * Position of the first token, of which there is at least one; absent: the end of the context. What
   * the sequence held from there on is forgotten, what comes before is held by `pages`: observed by
   * this sequence or, where `capacity.sharesPages`, by another, in an earlier row or call. Answers
   * stay bound, so a context whose pages were given away comes back under them.
   */
  from?: number
  tokens: readonly number[]
  /** Page table that covers the context after this call; engines without pages ignore it. */
  pages: readonly number[]
}

/** Binds `slot` to the present context of `sequence` and puts its answer at the starting point. */
export interface BeginRow {
  /** 0 <= slot < capacity.slots */
  slot: number
  sequence: number
  /** Noise is a function of (seed, candidate, step, element) alone, whatever the batch. */
  seed: number
  candidate: number
  /** Known tokens, one per position; -1 moves. Absent: all K move. */
  clamped?: readonly number[]
  /** Replaces the model's start: [K, stateWidth(model)], row-major. */
  start?: Float32Array
}

export interface DescendRow {
  slot: number
  /** Which of the model's T landscapes this step follows. */
  landscape: number
  /** As in a step's plan: `stepSizeOf` (refine/budget.ts) of both and the checkpoint's alpha, at least 1e-4 (reference: forward). */
  stepSize?: number
  shrink?: number
  /** Standard deviation of Langevin noise added to the state before the step; 0 for none. */
  noise: number
  /** 0-based index of this step in its answer: seeds the noise. */
  step: number
  /** Keep the step only where it lowers the energy (reference: infer_accept_lower_energies). */
  acceptLower?: boolean
}

/**
 * Answers of one position in a row, for models with such answers: the token before the first is
 * observed, an answer (candidate 0) begins, takes its steps and is read; its token is observed next, and
 * so on.
 */
export interface StrideRow {
  sequence: number
  slot: number
  /** The context's last token, which is not observed yet, and its position. */
  token: number
  from: number
  /** Page table that covers the contexts of all answers. */
  pages: readonly number[]
  /** Of every answer, at least one. */
  steps: readonly Omit<DescendRow, 'slot'>[]
  /** The request's: answers are seeded by `answerSeed`, draws made as by `drawFrom` (src/refine). */
  seed: number
  /** Numbers of the first answer and of the draw of its token, within the request. */
  answer: number
  draw: number
  which: ReadRow['which']
  /** 0: the most probable token. Above: drawn by weights of this temperature, at least 1e-6. */
  temperature: number
  /** Nothing follows an answer of this token. */
  end?: number
  /** Most answers. After these seconds, or when the bell rings, no other begins. */
  most: number
  seconds: number
}

export interface StrideAnswer {
  token: number
  steps: readonly StepResult[]
  seconds: { observe: number; descend: number; read: number }
}

/** Two parts of the residual energy, for one row, in its units (see docs/mathematics.md). */
export interface EnergyTerms {
  /** 1/2 sum_i |y_i - F_i|^2 / D */
  disagreement: number
  /** sum_i H(softmax(U F_i)), nats, not yet weighted by lambda */
  doubt: number
}

export interface StepResult {
  /** E at the state before the step; for `residual` it judges the answer read at this very step. */
  energy: number
  /** Euclidean norm of the descent direction over the moving positions. */
  gradientNorm: number
  terms?: EnergyTerms
  /** Lowest energy among the answers seen so far, this one included if it counts as an answer. */
  best: number
}

/**
 * Either a slot's present state (closes a descent: the state after the last step enters the
 * best-so-far comparison), or the energy of given answer tokens after the context of `sequence`.
 */
export type EnergyRow =
  | { slot: number; landscape: number }
  | { sequence: number; answer: readonly number[]; landscape: number }

export interface EnergyResult {
  energy: number
  terms?: EnergyTerms
  best: number
}

export interface ReadRow {
  slot: number
  /** `best`: the answer of lowest energy so far. `last`: the answer after the latest step. */
  which: 'best' | 'last'
  /** Number of most probable tokens per position, or all logits. */
  top: number | 'all'
  /** With 'all': weights of this temperature, at least 1e-6, in place of logits. */
  temperature?: number
  /** With a temperature: a number in (0, 1) per position, by which its token is drawn, in place of weights. */
  draws?: readonly number[]
}

export interface Reading {
  /**
   * [K, top], most probable first; a clamped position reads its own token with probability 1. With
   * `draws` [K], those drawn (`drawAmong` in refine/sampling.ts); -1 where the weights are not finite.
   */
  tokens: Int32Array
  /** [K, top], natural log of the probability. */
  logProbs: Float32Array
  /** [K, V] when `top` was 'all' without a temperature, else empty. */
  logits: Float32Array
  /** [K, V] exp((z - largest z) / temperature) when a temperature was given, else empty. */
  weights: Float32Array
}

/**
 * The numbers of an answer. `best` and `last`: what is read out, as embeddings [K, D] (in vocab space
 * the expected embedding of its tokens); clamped positions hold nothing of interest. `present`: where
 * the next step begins, [K, stateWidth(model)]; as a `start` it gives the same answer again.
 */
export interface PointRow {
  slot: number
  which: 'best' | 'last' | 'present'
}

export interface EngineCapacity {
  /** Answers (candidates) that may be in descent at once. */
  slots: number
  /** Contexts that may be cached at once. */
  sequences: number
  /** Cache pages and positions per page: the scheduler's unit of account. */
  pages: number
  pageSize: number
  /** Pages hold contexts, and those that begin alike may share them. Absent: they do not. */
  sharesPages?: boolean
}

export interface EngineInfo {
  /** `tfjs`, `native` or `webgpu`. */
  name: string
  /** What it runs on: `wasm`, `tensorflow`, `avx512`, ... */
  backend: string
  threads: number
  /** Why this engine and not another: for the log, /health and metrics. */
  reason: string
}

export interface EnergyEngine {
  readonly model: ModelConfig
  readonly info: EngineInfo
  readonly capacity: EngineCapacity

  observe(rows: readonly ObserveRow[]): Awaitable<void>
  /**
   * Observes, and says what the network made of it: for each row the sum over its tokens of norm(h) of
   * the observed stream's last layer, on the last landscape, [D].
   */
  encode(rows: readonly ObserveRow[]): Awaitable<Float32Array[]>
  begin(rows: readonly BeginRow[]): Awaitable<void>
  /**
   * A step on every row, in place. Rows of one slot are steps of its answer, one after the other: where
   * a slot comes again a new round begins, if the bell does not ring; else the results end there.
   */
  descend(rows: readonly DescendRow[], bell?: Bell): Awaitable<StepResult[]>
  /**
   * What observe, begin, descend and read would do, in one call: nothing comes of it that would not
   * come of those. Ends before an answer whose energies or read-out are not finite. Absent: the engine
   * gains nothing by it.
   */
  stride?(row: StrideRow, bell?: Bell): Awaitable<StrideAnswer[]>
  energy(rows: readonly EnergyRow[]): Awaitable<EnergyResult[]>
  read(rows: readonly ReadRow[]): Awaitable<Reading[]>
  points(rows: readonly PointRow[]): Awaitable<Float32Array[]>
  /** Forgets a context and unbinds its slots. Releasing what is not held does nothing. */
  release(sequence: number): Awaitable<void>
  /** Bytes of memory the engine holds for weights, caches and states. */
  memory(): number
  close(): Awaitable<void>
}
