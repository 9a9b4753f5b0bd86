/**
 * Another model's energy as a term: T(p) = E(y(p)), where y(p) is an answer of that model which stands for the
 * distributions p that are read out. In latent space y_i = sum_v q_iv r_v, the expected vector of its tokens; in vocab
 * space the state whose distribution is q. Here q_i is p_i over tokens of the other model, that is over those
 * for which it has one, and adds up to 1. A sum of energies is a product of distributions (Hinton, "Training
 * products of experts by minimizing contrastive divergence", 2002); a negative weight divides by one.
 *
 * What is given in the other model's answer has no y of its own: each given token adds -log p_i(token), in nats, so that an
 * answer without it is as unlikely there as it is here to hold that token.
 *
 * Units are those of the other model's energy. Knows no engine: whoever evaluates E gives its gradient by y.
 */

import { surprise } from './reading.js'

/** Its value and dT/dp come from an engine; see `ModelReading`. */
export interface ModelTerm {
  readonly of: 'model'
  readonly type: 'model'
}

export const modelTerm: ModelTerm = { of: 'model', type: 'model' }

/** What the other model says of one read-out. */
export interface ModelReading {
  /** T */
  readonly value: number
  /** [K, V] dT/dp */
  readonly slope: Float64Array
}

/** From the read-out of one model to answers of another. */
export interface Translation {
  /** [V] the token of the other model, -1 where it has none. */
  readonly to: Int32Array
  /** V' of the other model. */
  readonly vocab: number
  /** [V'][D'] the vector that stands for each token; absent in vocab space. */
  readonly vectors?: readonly Float32Array[]
  /** In vocab space: the state is logits, of which the other model takes the softmax. */
  readonly normalizes: boolean
}

/** A position on whose tokens the other model has less than this share says nothing to it. */
const LEAST_SHARE = 1e-6
/** Chances below this count as this, so that logits stay finite. */
const LEAST_CHANCE = 1e-9

/** q, [K, V'], and the share of each position that the other model has tokens for, [K]. */
export function translate(
  chances: Float64Array,
  { to, vocab }: Translation,
): { q: Float64Array; shares: Float64Array } {
  const block = chances.length / to.length
  const q = new Float64Array(block * vocab)
  const shares = new Float64Array(block)
  for (let i = 0; i < block; i++) {
    const row = q.subarray(i * vocab, (i + 1) * vocab)
    let share = 0
    to.forEach((token, v) => {
      if (token < 0) return
      const chance = chances[i * to.length + v] as number
      row[token] = (row[token] as number) + chance
      share += chance
    })
    shares[i] = Math.max(share, LEAST_SHARE)
    for (let v = 0; v < vocab; v++) row[v] = (row[v] as number) / (shares[i] as number)
  }
  return { q, shares }
}

/** The state of the other model's answer, [K, W]. */
export function stateOf(
  q: Float64Array,
  { normalizes, vectors, vocab }: Translation,
): Float32Array {
  if (!vectors)
    return Float32Array.from(q, (x) => (normalizes ? Math.log(Math.max(x, LEAST_CHANCE)) : x))
  const width = vectors[0]?.length ?? 0
  const block = q.length / vocab
  const state = new Float32Array(block * width)
  for (let i = 0; i < block; i++) {
    const row = state.subarray(i * width, (i + 1) * width)
    vectors.forEach((vector, token) => {
      const chance = q[i * vocab + token] as number
      if (chance === 0) return
      for (let d = 0; d < width; d++) row[d] = (row[d] as number) + chance * (vector[d] as number)
    })
  }
  return state
}

function dot(a: Float64Array, b: Float32Array): number {
  let sum = 0
  for (let d = 0; d < a.length; d++) sum += (a[d] as number) * (b[d] as number)
  return sum
}

/** dT/dp [K, V] from the gradient of E by y in latent space, or by q in vocab space, [K, W]. */
export function slopeOf(
  gradient: Float64Array,
  q: Float64Array,
  shares: Float64Array,
  { to, vectors, vocab }: Translation,
): Float64Array {
  const block = q.length / vocab
  const width = gradient.length / block
  const slope = new Float64Array(block * to.length)
  const byToken = new Float64Array(vocab)
  for (let i = 0; i < block; i++) {
    const pull = gradient.subarray(i * width, (i + 1) * width)
    let mean = 0
    for (let token = 0; token < vocab; token++) {
      const vector = vectors?.[token]
      byToken[token] = vector ? dot(pull, vector) : (pull[token] as number)
      mean += (q[i * vocab + token] as number) * (byToken[token] as number)
    }
    to.forEach((token, v) => {
      if (token < 0) return
      slope[i * to.length + v] = ((byToken[token] as number) - mean) / (shares[i] as number)
    })
  }
  return slope
}

/**
 * Adds to a slope [K, V] what given tokens of the other model's answer, [K] with -1 where there are none, say, and
 * returns their value.
 */
export function addGivens(
  slope: Float64Array,
  chances: Float64Array,
  given: readonly number[],
  { to }: Translation,
): number {
  let total = 0
  for (const [i, token] of given.entries()) {
    if (token < 0) continue
    const from = i * to.length
    const standing = to.reduce(
      (sum, each, v) => (each === token ? sum + (chances[from + v] as number) : sum),
      0,
    )
    const { derivative, value } = surprise(standing)
    total += value
    to.forEach((each, v) => {
      if (each === token) slope[from + v] = (slope[from + v] as number) + derivative
    })
  }
  return total
}
