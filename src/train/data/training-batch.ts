/**
 * A training batch in the layout that the network takes: the observed tokens, the positions of the
 * answers, and the tokens they should have. It is built from windows of text or from examples; this
 * file reads no files and calls no tokenizer.
 */
import type { ModelConfig } from '../../model/config.js'
import { contextOffset } from '../../model/config.js'

/** B rows, T observed positions, N = M K answer positions. Flat arrays are row-major. */
export interface Batch {
  rows: number
  /** [B, T] token ids, padded at the end. */
  observed: Int32Array
  length: number
  /** [B or 1][N]: how many observed positions an answer position sees. */
  visible: readonly (readonly number[])[]
  /** [B or 1][N]: rotary positions. */
  positions: readonly (readonly number[])[]
  answers: number
  /** [B, N] tokens the answers should have. */
  targets: Int32Array
  /** [B, N]: 1 where a position descends and has a loss, 0 where it is clamped to its target. */
  moving: Float32Array
  /** True if any position is clamped. */
  clamped: boolean
  /** [B]: figures of difficulty that the data gives for each row, by name. */
  facts?: readonly Readonly<Record<string, number>>[]
  /** Starting states [B, N, W] in place of the model's own. */
  start?: Float32Array
}

/**
 * Makes a batch of windows [B, S + 1]. Every block of K targets is an answer whose context is all that
 * precedes it: answer m sees the first 1 + m K tokens. With K = 1 that is next-token prediction at
 * every position.
 */
export function batchOfWindows(config: ModelConfig, windows: Int32Array, rows: number): Batch {
  const width = windows.length / rows
  const block = config.answer.block
  const answers = Math.floor((width - 1) / block)
  const length = 1 + (answers - 1) * block
  const n = answers * block
  const observed = new Int32Array(rows * length)
  const targets = new Int32Array(rows * n)
  for (let b = 0; b < rows; b++) {
    observed.set(windows.subarray(b * width, b * width + length), b * length)
    targets.set(windows.subarray(b * width + 1, b * width + 1 + n), b * n)
  }
  const visible = Array.from({ length: n }, (_, i) => 1 + Math.floor(i / block) * block)
  const positions = visible.map((seen, i) => contextOffset(config) + seen + (i % block))
  return {
    rows,
    observed,
    length,
    visible: [visible],
    positions: [positions],
    answers,
    targets,
    moving: new Float32Array(rows * n).fill(1),
    clamped: false,
  }
}

/** A prompt with one answer of K positions, of which some may be clamped. */
export interface Example {
  context: readonly number[]
  answer: readonly number[]
  /** [K]: the given token of a clamped position, -1 where a token is to be inferred. */
  clamped: readonly number[]
  /** Figures of difficulty that the data gives, by name. */
  facts?: Readonly<Record<string, number>>
}

/** Makes a batch in which each example is one answer behind its own context, padded to the longest. */
export function batchOfExamples(config: ModelConfig, examples: readonly Example[]): Batch {
  const block = config.answer.block
  const rows = examples.length
  const length = Math.max(...examples.map((e) => e.context.length))
  const observed = new Int32Array(rows * length)
  const targets = new Int32Array(rows * block)
  const moving = new Float32Array(rows * block)
  const visible: number[][] = []
  const positions: number[][] = []
  examples.forEach((example, b) => {
    const seen = example.context.length
    observed.set(example.context, b * length)
    targets.set(example.answer, b * block)
    moving.set(
      example.clamped.map((token) => (token < 0 ? 1 : 0)),
      b * block,
    )
    visible.push(new Array<number>(block).fill(seen))
    positions.push(Array.from({ length: block }, (_, i) => contextOffset(config) + seen + i))
  })
  return {
    rows,
    observed,
    length,
    visible,
    positions,
    answers: 1,
    targets,
    moving,
    clamped: true,
    facts: examples.map((example) => example.facts ?? {}),
  }
}

/** The number of moving positions of each answer, [B M]. */
export function movingCounts({ answers, moving, rows }: Batch): number[] {
  const block = moving.length / (rows * answers)
  return Array.from({ length: rows * answers }, (_, answer) =>
    moving.subarray(answer * block, (answer + 1) * block).reduce((sum, one) => sum + one, 0),
  )
}

/** A list of one entry serves all rows. */
const rowFrom = <T>(entries: readonly T[], row: number): T =>
  entries[entries.length === 1 ? 0 : row] as T

/** One row as a batch of its own that starts at `start`. */
export function rowOf(batch: Batch, row: number, start?: Float32Array): Batch {
  const n = batch.targets.length / batch.rows
  const cut = <A extends Int32Array | Float32Array>(flat: A, width: number): A =>
    flat.slice(row * width, (row + 1) * width) as A
  return {
    rows: 1,
    observed: cut(batch.observed, batch.length),
    length: batch.length,
    visible: [rowFrom(batch.visible, row)],
    positions: [rowFrom(batch.positions, row)],
    answers: batch.answers,
    targets: cut(batch.targets, n),
    moving: cut(batch.moving, n),
    clamped: batch.clamped,
    ...(start && { start }),
  }
}

/**
 * The rows of several batches whose answers have the same shape, in one batch. Observed tokens are
 * padded to the longest row; starting states and facts are dropped.
 */
export function joinBatches(parts: readonly Batch[]): Batch {
  const first = parts[0] as Batch
  const rows = parts.reduce((sum, part) => sum + part.rows, 0)
  const length = Math.max(...parts.map((part) => part.length))
  const n = first.targets.length / first.rows
  const observed = new Int32Array(rows * length)
  const targets = new Int32Array(rows * n)
  const moving = new Float32Array(rows * n)
  const visible: (readonly number[])[] = []
  const positions: (readonly number[])[] = []
  let at = 0
  for (const part of parts) {
    targets.set(part.targets, at * n)
    moving.set(part.moving, at * n)
    for (let row = 0; row < part.rows; row++, at++) {
      const tokens = part.observed.subarray(row * part.length, (row + 1) * part.length)
      observed.set(tokens, at * length)
      visible.push(rowFrom(part.visible, row))
      positions.push(rowFrom(part.positions, row))
    }
  }
  const alike = new Set(visible.map((row) => row.join())).size === 1
  return {
    rows,
    observed,
    length,
    visible: alike ? visible.slice(0, 1) : visible,
    positions: alike ? positions.slice(0, 1) : positions,
    answers: first.answers,
    targets,
    moving,
    clamped: parts.some((part) => part.clamped),
  }
}
