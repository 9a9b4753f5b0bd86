/**
 * The typed surface of the addon (native/addon/), written once. Rows are passed as flat arrays of
 * numbers; the addon checks every one of them. What it refuses, it throws with `param`, `bound` and
 * `value`, and `refusing` turns that into an error of the table.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { BasinError } from '../../errors.js'
import type { Interrupt } from '../interrupt.js'

declare const engineBrand: unique symbol
/** An engine inside the addon: only the addon's functions can use it. */
export interface Handle {
  readonly [engineBrand]: true
}

export interface OpenConfig {
  vocab_size: number
  dim: number
  layers: number
  heads: number
  ffn_dim: number
  context_length: number
  landscapes: number
  block: number
  norm_eps: number
  rope_theta: number
  start_scale: number
  doubt: number
  /** Indices into the lists of options.ts. */
  conditioning: number
  space: number
  start: number
  normalize: number
  embed: number
  kind: number
  direction: number
  /** 0 or 1 */
  anchor: number
  weights: number
  kernels: number
  slots: number
  contexts: number
  pages: number
  threads: number
}

/** Numbers of one row of `results`: energy, gradient norm, best energy, disagreement, doubt. */
export const resultWidth = 5
/** Numbers of one row given to `descend`. */
export const descendWidth = 6
/** Numbers of an answer in the results of `multiStep`, before its steps. */
export const multiStepWidth = 4

export interface Addon {
  open(config: OpenConfig, tensors: Readonly<Record<string, Float32Array>>): Handle
  close(engine: Handle): void
  /**
   * Rows: context, position of the first token or -1, number of tokens, number of pages, tokens,
   * pages. Fills `sums` [rows][D], if given, with the sums of the tokens' states.
   */
  observe(engine: Handle, rows: Float64Array, sums?: Float32Array): void
  begin(
    engine: Handle,
    slot: number,
    contextId: number,
    seedLow: number,
    seedHigh: number,
    candidate: number,
    clamped: Float64Array | null,
    start: Float32Array | null,
  ): void
  /**
   * Rows [rows][descendWidth]: slot, landscape, step, alpha, noise, 1 to accept only lower energies.
   * Fills `results` [rows][resultWidth]; returns the number of rows stepped. `pushes`: index of a row, 1
   * for logits, 2 for points or 3 for both; `pushed`: their numbers, one after the other.
   */
  descend(
    engine: Handle,
    rows: Float64Array,
    results: Float64Array,
    interrupt?: Interrupt,
    pushes?: Float64Array,
    pushed?: Float32Array,
  ): number
  /**
   * Row: slot, context, from, token, seed (low word, high word), number of the answer, number of the
   * draw, 1 to read the best, temperature, token of the end or -1, most answers, seconds, number of
   * steps; for each step the row of `descend` without its slot; pages. Fills for each answer its
   * token, seconds to observe, descend and read, and the results of its steps; returns the number of
   * answers.
   */
  multiStep(engine: Handle, row: Float64Array, results: Float64Array, interrupt?: Interrupt): number
  /** Rows: 0 and slot, or 1 and context; landscape; number of answer tokens, answer tokens. */
  energy(engine: Handle, rows: Float64Array, results: Float64Array): void
  /**
   * Fills `tokens` and `logProbs` [K, top] and, unless it is empty, `logits` [K, V]: with logits, or
   * with softmax weights where the temperature is above 0.
   */
  read(
    engine: Handle,
    slot: number,
    /** As of `point`. */
    which: number,
    top: number,
    temperature: number,
    tokens: Int32Array,
    logProbs: Float32Array,
    logits: Float32Array,
    /** [K] numbers in (0, 1): `tokens` [K] are those drawn by the weights. */
    draws: Float64Array | undefined,
    /** One bit for each token, 32 to a word: the others have weight 0 and are among no `tokens`. */
    allowed: Int32Array | undefined,
  ): void
  /** `which`: 0 the last answer, 1 the best, both [K, D]; 2 the present state, [K, W]. */
  point(engine: Handle, slot: number, which: number, point: Float32Array): void
  /** Fills `vectors` [tokens][D] with what points consist of. */
  tokenVectors(engine: Handle, tokens: Float64Array, vectors: Float32Array): void
  /**
   * Fills `numbers` [7 + K] and `values` with the answer in a slot, as answer-state.ts lists them. The number
   * of the engine's own says which embedding it holds: 0 none, 1 of softmax(z), 2 of z. Values are the
   * state and the best answer [K, W] each, then in latent space what is read out [K, D], in vocab space
   * the embedding [K, D] and the log of the sum of exp(z) [K].
   */
  save(engine: Handle, slot: number, numbers: Float64Array, values: Float32Array): void
  restore(
    engine: Handle,
    slot: number,
    contextId: number,
    numbers: Float64Array,
    values: Float32Array,
  ): void
  /** The number of observed tokens of a context. */
  observed(engine: Handle, contextId: number): number
  release(engine: Handle, contextId: number): void
  /** `bytes`: all memory of the engine. `stepBytes`: of the weights that a step reads. */
  describe(engine: Handle): { backend: string; bytes: number; stepBytes: number }
  /** What the machine can do at this moment with the threads of the engine. */
  measure(engine: Handle): { flops: number; bytesPerSecond: number }
  /** Absent from builds of the addon before it could train. */
  readonly training?: TrainingAddon
}

declare const trainerBrand: unique symbol
/** A trainer inside the addon: only the addon's functions can use it. */
export interface TrainerHandle {
  readonly [trainerBrand]: true
}

export interface TrainingAddon {
  /** The numbers of a call are written into `command`. */
  open(threads: number): { handle: TrainerHandle; command: Float64Array }
  /** Takes a new block of memory; returns its number. */
  take(trainer: TrainerHandle, bytes: number): number
  /** Gives a block back to the system once no view of it is left. */
  drop(trainer: TrainerHandle, block: number): void
  view(trainer: TrainerHandle, block: number): ArrayBuffer
  /** Runs an op on the first `length` numbers of the command. */
  run(trainer: TrainerHandle, op: number, length: number): void
}

interface Refusal extends Error {
  param: string
  bound: string
  value: number
}

const isRefusal = (error: unknown): error is Refusal => error instanceof Error && 'bound' in error

/** Runs a function of the addon; what it refuses becomes `out_of_range`. */
export function refusing<T>(call: () => T): T {
  try {
    return call()
  } catch (error) {
    if (!isRefusal(error)) throw error
    const { param, bound, value } = error
    throw new BasinError('out_of_range', { param, bound, value }, { cause: error })
  }
}

const require = createRequire(import.meta.url)
const root = new URL('../../../', import.meta.url)

function whyMissing(): string {
  try {
    const report = JSON.parse(readFileSync(new URL('build/native.json', root), 'utf8')) as {
      built: boolean
      reason: string
    }
    if (!report.built) return report.reason
  } catch {
    return 'npm did not run the install script of basin-ebt, which builds it'
  }
  return 'it was built at install, but its file is gone'
}

/** What was built here comes before what the package brings (native/prebuild.cjs). */
const places = [
  'build/Release/basin.node',
  `prebuilds/${process.platform}-${process.arch}/basin.node`,
]

/** The addon, or why there is none. `BASIN_ADDON` is the path of another build, such as one with sanitizers. */
export function loadAddon(): { addon: Addon } | { missing: string } {
  const files = places.map((path) => fileURLToPath(new URL(path, root)))
  const path = process.env['BASIN_ADDON'] ?? files.find((file) => existsSync(file))
  if (path === undefined) return { missing: whyMissing() }
  try {
    return { addon: require(path) as Addon }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return { missing: code === 'MODULE_NOT_FOUND' ? whyMissing() : (message.split('\n')[0] ?? '') }
  }
}
