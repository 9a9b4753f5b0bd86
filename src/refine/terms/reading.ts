/**
 * What terms are functions of: the read-out of a completion as far as it has come. Answers before the
 * present one are tokens; the present one is a distribution over tokens at each of its positions.
 */
export interface Reading {
  /** Tokens of the completion before the present answer. */
  readonly before: readonly number[]
  /** Positions of the present answer that count: K, or fewer at the end of a completion. */
  readonly length: number
  /** [K, V] p, the softmax of the read-out; a clamped position has its token with probability 1. */
  readonly chances: Float64Array
  /** V */
  readonly vocab: number
  /** No answer follows the present one. */
  readonly last: boolean
}

/** Collects `weight` dT/dp of several terms, [K, V]. */
export interface Slope {
  readonly gradient: Float64Array
  weight: number
}

/** How many positions of the completion there are by now. */
export const reachOf = ({ before, length }: Reading): number => before.length + length

/** p of one token at a position of the completion. */
export function chanceOf({ before, chances, vocab }: Reading, position: number, token: number) {
  if (position < before.length) return before[position] === token ? 1 : 0
  return chances[(position - before.length) * vocab + token] as number
}

/** Adds to dT/dp; positions before the present answer do not move, so nothing is added there. */
export function addSlope(
  { before, vocab }: Reading,
  slope: Slope | undefined,
  position: number,
  token: number,
  amount: number,
): void {
  if (!slope || position < before.length) return
  const at = (position - before.length) * vocab + token
  slope.gradient[at] = (slope.gradient[at] as number) + slope.weight * amount
}

/** A probability below this counts as this, so that -log stays finite: 20.7 nats at most. */
const LEAST_CHANCE = 1e-9

/** -log of the probability that a rule holds, in nats, and its derivative by that probability. */
export function surprise(chance: number): { value: number; derivative: number } {
  const bounded = Math.max(chance, LEAST_CHANCE)
  return { value: Math.max(0, -Math.log(bounded)), derivative: -1 / bounded }
}

/** [K, V] the softmax of logits, and the most probable token of each position, the lowest among equals. */
export function chancesOf(
  logits: Float32Array,
  vocab: number,
): { chances: Float64Array; tokens: number[] } {
  const chances = new Float64Array(logits.length)
  const tokens: number[] = []
  for (let from = 0; from < logits.length; from += vocab) {
    let best = 0
    for (let v = 1; v < vocab; v++)
      if ((logits[from + v] as number) > (logits[from + best] as number)) best = v
    const largest = logits[from + best] as number
    let total = 0
    for (let v = 0; v < vocab; v++)
      total += chances[from + v] = Math.exp((logits[from + v] as number) - largest)
    for (let v = 0; v < vocab; v++) chances[from + v] = (chances[from + v] as number) / total
    tokens.push(best)
  }
  return { chances, tokens }
}
