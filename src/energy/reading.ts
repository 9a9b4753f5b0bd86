/** From logits to the most probable tokens, in plain numbers; shared by engines. */
import type { Reading } from './engine.js'

/** `logits` is [K, V]; a clamped position reads its own token with probability 1. */
export function readLogits(
  logits: Float32Array,
  positions: number,
  top: number | 'all',
  clamped: readonly number[] | undefined,
): Reading {
  const vocab = logits.length / positions
  const count = top === 'all' ? 0 : Math.min(top, vocab)
  const tokens = new Int32Array(positions * count)
  const logProbs = new Float32Array(positions * count)
  for (let i = 0; i < positions; i++) {
    const row = logits.subarray(i * vocab, (i + 1) * vocab)
    const known = clamped?.[i] ?? -1
    if (known >= 0) {
      row.fill(-1e9)
      row[known] = 0
    }
    if (count > 0)
      readTop(
        row,
        tokens.subarray(i * count, (i + 1) * count),
        logProbs.subarray(i * count, (i + 1) * count),
      )
  }
  return { tokens, logProbs, logits: top === 'all' ? logits : new Float32Array(0) }
}

/** Fills the `tokens.length` largest of `row`, ties to the lowest id, with their log-probabilities. */
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
