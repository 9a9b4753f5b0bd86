/**
 * The whole contract with hardware. Rows of different contexts, candidates, step indices and context
 * lengths share one call. The states of answers are in slots that the engine owns, so nothing of
 * vocabulary size crosses this boundary in a step. An engine knows tokens as integers and knows no text, no
 * budget and no queue. It runs in a worker thread of its own, so a call may compute until it has its
 * result; a call that leaves the work to another device may return a promise, and the next call is
 * made when that promise is settled.
 *
 * Implemented by tfjs/ (the definition), native/ (fused kernels on the CPU) and webgpu/ (any GPU), which are
 * tested against the definition.
 */
import type { ModelConfig } from '../model/config.js'
import type { Interrupt } from './interrupt.js'

/** A result that is there when the call returns, or that comes later. */
export type Awaitable<T> = T | Promise<T>

/** Appends `tokens` to a context. A prompt and the tokens of settled answers are observed alike. */
export interface ObserveRow {
  /** 0 <= contextId < capacity.contexts; a context begins with its first observe. */
  contextId: number
  /**
   * Position of the first token, of which there is at least one; absent: the end of the context. What
   * the context held from there on is forgotten. What comes before is held by `pages`: observed by
   * this context or, where `capacity.sharesPages`, by another, in an earlier row or call. Answers stay
   * bound to the context, so they go on when it is observed again after its pages were given away.
   */
  from?: number
  tokens: readonly number[]
  /** Page table that covers the context after this call; engines without pages ignore it. */
  pages: readonly number[]
}

/** Binds `slot` to a context as it is, and puts its answer at the starting point. */
export interface BeginRow {
  /** 0 <= slot < capacity.slots */
  slot: number
  contextId: number
  /** Noise is a function of (seed, candidate, step, element) alone, whatever the batch. */
  seed: number
  candidate: number
  /** Known tokens, one per position; -1 moves. Absent: all K move. */
  clamped?: readonly number[]
  /** Replaces the model's start: [K, stateWidth(model)], row-major. The next step may be any. */
  start?: Float32Array
}

/**
 * The gradient of what a request adds to the energy (`compose` in src/refine/terms/composed.ts), weights
 * included, by what is read out of the answer. Engines turn it into one by the state and add it to the
 * direction of the step. Along the amortized direction, where a step is y <- F, it moves the state before the
 * step: F is taken at y - (step size) * push. Clamped positions are left alone.
 */
export interface Push {
  /** [K, V] by the logits that `read` gives. */
  logits?: Float32Array
  /** [K, D] by the points that `points` gives. */
  points?: Float32Array
}

export interface DescendRow {
  slot: number
  /** Which of the model's T landscapes this step follows. */
  landscape: number
  /** The two that a budget may change the step size by: `rowStepSize` (step-size.ts) says how. */
  stepSize?: number
  shrink?: number
  /** Standard deviation of Langevin noise added to the state before the step; 0 for none. */
  noise: number
  /** 0-based index of this step in its answer: seeds the noise. */
  step: number
  /** Keep the step only where it lowers the energy (reference: infer_accept_lower_energies). */
  acceptLower?: boolean
  /** Only where `capacity.takesPushes`. `acceptLower` does not know of it. */
  push?: Push
}

/**
 * Several answers in one call, for models whose answers are one position. The token before the first
 * answer is observed; an answer (candidate 0) begins, takes its steps and is read; its token is
 * observed next, and so on.
 */
export interface MultiStepRow {
  contextId: number
  slot: number
  /** The context's last token, which is not observed yet, and its position. */
  token: number
  from: number
  /** Page table that covers the contexts of all answers. */
  pages: readonly number[]
  /** The steps of every answer, at least one. */
  steps: readonly Omit<DescendRow, 'slot' | 'push'>[]
  /** The seed of the request: `answerSeed` gives those of answers, `drawFrom` the draws (src/refine). */
  seed: number
  /** Numbers of the first answer and of the draw of its token, within the request. */
  answer: number
  draw: number
  which: 'best' | 'last'
  /** 0: the most probable token. Above: drawn by weights of this temperature, at least 1e-6. */
  temperature: number
  /** No answer follows this token. */
  end?: number
  /** The most answers. After `seconds`, or when the interrupt is raised, no other begins. */
  most: number
  seconds: number
}

export interface MultiStepAnswer {
  token: number
  steps: readonly StepResult[]
  seconds: { observe: number; descend: number; read: number }
}

/** The two parts of the residual energy of one row, in its units (docs/mathematics.md, "Energies"). */
export interface EnergyParts {
  /** 1/2 sum_i |y_i - F_i|^2 / D */
  disagreement: number
  /** sum_i H(softmax(U F_i)), nats, not yet weighted by lambda */
  doubt: number
}

export interface StepResult {
  /** E at the state before the step; for `residual` it is the energy of the answer read out at this step. */
  energy: number
  /** Euclidean norm of the descent direction over the moving positions. */
  gradientNorm: number
  parts?: EnergyParts
  /** Lowest energy among the answers seen so far, this one included if it counts as an answer. */
  best: number
}

/**
 * Either a slot's present state (closes a descent: the state after the last step enters the
 * best-so-far comparison), or the energy of given answer tokens after a context.
 */
export type EnergyRow =
  | { slot: number; landscape: number }
  | { contextId: number; answer: readonly number[]; landscape: number }

export interface EnergyResult {
  energy: number
  parts?: EnergyParts
  best: number
}

export interface ReadRow {
  slot: number
  /**
   * `best`: the answer of lowest energy so far. `last`: the answer after the latest step. `present`: the state
   * where the next step begins, which differs from `last` for residual energies only.
   */
  which: 'best' | 'last' | 'present'
  /** Number of most probable tokens per position, or all logits. */
  top: number | 'all'
  /** With 'all': weights of this temperature, at least 1e-6, in place of logits. */
  temperature?: number
  /** With a temperature: a number in (0, 1) for each position, by which its token is drawn; no weights are returned. */
  draws?: readonly number[]
  /**
   * One bit for each token, 32 to a word, lowest first. Where it is not set, the token has weight 0 and is among
   * no most probable ones, unless its position is clamped. Logits are returned as they are.
   */
  allowed?: Int32Array
}

export interface Readout {
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
 * the expected embedding of its tokens); the values at clamped positions mean nothing. `present`: where
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
  contexts: number
  /** Cache pages and positions per page: the scheduler's unit of account. */
  pages: number
  pageSize: number
  /** Whether contexts that begin alike may share pages; absent: they may not. */
  sharesPages?: boolean
  /** Whether rows of `descend` may have a push, and `tokenVectors` is there; absent: no. */
  takesPushes?: boolean
}

export interface EngineInfo {
  /** `tfjs`, `native` or `webgpu`. */
  name: string
  /** What it runs on: `wasm`, `tensorflow`, `avx512`, the name of a GPU, ... */
  backend: string
  threads: number
  /** Why this engine and not another: for the log, /health and metrics. */
  reason: string
}

export interface EnergyEngine {
  readonly model: ModelConfig
  readonly info: EngineInfo
  readonly capacity: EngineCapacity
  /** Of the model and its weights: states that are saved here fit where this is equal (model-identity.ts). */
  readonly identity: Uint8Array

  observe(rows: readonly ObserveRow[]): Awaitable<void>
  /**
   * Observes, and returns for each row the sum over its tokens of norm(h), the output of the observed
   * stream's last layer, on the last landscape, [D].
   */
  encode(rows: readonly ObserveRow[]): Awaitable<Float32Array[]>
  begin(rows: readonly BeginRow[]): Awaitable<void>
  /**
   * A step on every row, in place. Rows of one slot are consecutive steps of its answer: where a slot
   * comes again, a new round begins. If the interrupt is raised by then, the results end there.
   */
  descend(rows: readonly DescendRow[], interrupt?: Interrupt): Awaitable<StepResult[]>
  /**
   * Observe, begin, descend and read in one call, with exactly the results of those calls. It ends
   * before an answer whose energies or read-out are not finite. Absent where an engine would gain
   * nothing by it.
   */
  multiStep?(row: MultiStepRow, interrupt?: Interrupt): Awaitable<MultiStepAnswer[]>
  energy(rows: readonly EnergyRow[]): Awaitable<EnergyResult[]>
  read(rows: readonly ReadRow[]): Awaitable<Readout[]>
  points(rows: readonly PointRow[]): Awaitable<Float32Array[]>
  /**
   * The vectors that points consist of, one [D] for each token: what the token is read out by in latent
   * space, its embedding in vocab space.
   */
  tokenVectors?(tokens: readonly number[]): Awaitable<Float32Array[]>
  /**
   * The state of the answer in a slot, as bytes (answer-state.ts): `restore` on an engine of the same kind,
   * model and weights goes on from there with the same numbers, to the bit where the engine runs on the
   * same hardware. The context is not part of it.
   */
  save(slot: number): Awaitable<Uint8Array>
  /**
   * Binds `slot`, in place of what it held, to a context that has been observed as it was at the time of
   * `save`, and puts the saved answer there. Throws `invalid_state`, and changes nothing, where the bytes
   * are damaged or do not fit this engine, this model or the length of the context.
   */
  restore(slot: number, contextId: number, state: Uint8Array): Awaitable<void>
  /**
   * Forgets a context and unbinds its slots. Releasing what is not held does nothing. This is an entry
   * in the engine's books: it is done when the call returns, whatever a device is still computing.
   */
  release(contextId: number): void
  /** Bytes of memory the engine holds for weights, caches and states. */
  memory(): number
  close(): Awaitable<void>
}

type AtOnce<Verb> = Verb extends (...rows: infer Rows) => infer Result
  ? (...rows: Rows) => Awaited<Result>
  : Verb

/** An engine whose every result is there when the call returns. */
export type SynchronousEngine = { [Verb in keyof EnergyEngine]: AtOnce<EnergyEngine[Verb]> }
