/** Turns logits into the most probable tokens, weights or drawn tokens. Engines without kernels for it share it. */
import { drawAmong, forbidOthers } from '../refine/sampling.js'
import type { Readout, ReadRow } from './engine.js'

const none = new Float32Array(0)

/** `logits` is [K, V]; a clamped position reads its own token with probability 1. */
export function readLogits(
  logits: Float32Array,
  positions: number,
  { allowed, draws, top, temperature = 0 }: Omit<ReadRow, 'slot' | 'which'>,
  clamped: readonly number[] | undefined,
): Readout {
  const vocab = logits.length / positions
  const count = top === 'all' ? 0 : Math.min(top, vocab)
  const tokens = new Int32Array(positions * count)
  const logProbs = new Float32Array(positions * count)
  for (let i = 0; i < positions; i++) {
    const row = logits.subarray(i * vocab, (i + 1) * vocab)
    const token = clamped?.[i] ?? -1
    if (token >= 0) {
      row.fill(-1e9)
      row[token] = 0
    } else if (allowed && (count > 0 || temperature > 0)) forbidOthers(row, allowed)
    if (count > 0)
      readTop(
        row,
        tokens.subarray(i * count, (i + 1) * count),
        logProbs.subarray(i * count, (i + 1) * count),
      )
    if (temperature > 0) weigh(row, temperature)
  }
  if (draws) {
    const drawn = draws.map((draw, i) =>
      drawAmong(logits.subarray(i * vocab, (i + 1) * vocab), draw),
    )
    return { tokens: Int32Array.from(drawn), logProbs: none, logits: none, weights: none }
  }
  if (top !== 'all') return { tokens, logProbs, logits: none, weights: none }
  return temperature > 0
    ? { tokens, logProbs, logits: none, weights: logits }
    : { tokens, logProbs, logits, weights: none }
}

/** z <- exp((z - largest z) / temperature) */
function weigh(row: Float32Array, temperature: number): void {
  const largest = row.reduce((most, z) => Math.max(most, z), -Infinity)
  for (let v = 0; v < row.length; v++)
    row[v] = Math.exp(((row[v] as number) - largest) / temperature)
}

/** Fills `tokens` with the largest of `row`, ties going to the lower token, and `logProbs` with theirs. */
function readTop(row: Float32Array, tokens: Int32Array, logProbs: Float32Array): void {
  const values = new Float64Array(tokens.length).fill(-Infinity)
  let largest = -Infinity
  for (let v = 0; v < row.length; v++) {
    const x = row[v] as number
    if (x > largest) largest = x
    if (x <= (values[values.length - 1] as number)) continue
    let at = values.length - 1
    for (; at > 0 && x > (values[at - 1] as number); at--) {
      values[at] = values[at - 1] as number
      tokens[at] = tokens[at - 1] as number
    }
    values[at] = x
    tokens[at] = v
  }
  let sum = 0
  for (const x of row) sum += Math.exp(x - largest)
  const logSum = largest + Math.log(sum)
  values.forEach((value, i) => (logProbs[i] = value - logSum))
}
