/**
 * The numbers at some positions add up to a given one. T = -log P(sum = equals) with the positions taken as
 * independent, in nats; the distribution of the sum is the convolution of theirs. A token that is no number
 * makes no sum. It is the semantic loss of the constraint (Xu et al., "A semantic loss function for deep
 * learning with symbolic knowledge", ICML 2018). By the logits of a position, its gradient is p minus what
 * is left of p where the rule holds, so it is bounded by 1.
 */
import { addSlope, chanceOf, reachOf, type Reading, surprise } from './reading.js'
import type { TokenTerm } from './term.js'

/** The number that a token stands for, by token id: whole and at least 0; undefined: none. */
export type Numbers = readonly (number | undefined)[]

/** Tokens of each number from 0 to `most`. */
function tokensByNumber(numbers: Numbers, most: number): number[][] {
  const tokens: number[][] = Array.from({ length: most + 1 }, () => [])
  numbers.forEach((number, token) => {
    if (number !== undefined && number <= most) tokens[number]?.push(token)
  })
  return tokens
}

/** The distribution of a sum with one more summand: `to` [n] from `from` [n]. */
function convolve(from: Float64Array, chances: Float64Array): Float64Array {
  const to = new Float64Array(from.length)
  for (let number = 0; number < chances.length; number++) {
    const chance = chances[number] as number
    if (chance === 0) continue
    for (let sum = number; sum < to.length; sum++)
      to[sum] = (to[sum] as number) + chance * (from[sum - number] as number)
  }
  return to
}

export function sum(positions: readonly number[], equals: number, numbers: Numbers): TokenTerm {
  const tokens = tokensByNumber(numbers, equals)
  const chancesAt = (reading: Reading, position: number): Float64Array =>
    Float64Array.from(tokens, (same) =>
      same.reduce((total, token) => total + chanceOf(reading, position, token), 0),
    )
  const empty: Float64Array = Float64Array.from({ length: equals + 1 }, (_, s) => (s === 0 ? 1 : 0))
  return {
    of: 'tokens',
    type: 'sum',
    evaluate: (reading, slope) => {
      if (positions.some((position) => position >= reachOf(reading))) return 0
      const summands = positions.map((position) => chancesAt(reading, position))
      // heads[i]: the distribution of the sum of the summands before i.
      const heads = [empty]
      for (const summand of summands) heads.push(convolve(heads.at(-1) ?? empty, summand))
      const { derivative, value } = surprise(heads.at(-1)?.[equals] as number)
      if (!slope) return value
      let tail = empty
      for (let i = positions.length - 1; i >= 0; i--) {
        const others = convolve(heads[i] as Float64Array, tail)
        tokens.forEach((same, number) => {
          const amount = derivative * (others[equals - number] as number)
          for (const token of same) addSlope(reading, slope, positions[i] as number, token, amount)
        })
        tail = convolve(tail, summands[i] as Float64Array)
      }
      return value
    },
    holds: (given, whole) => {
      if (positions.some((position) => position >= given.length)) return !whole
      const found = positions.map((position) => numbers[given[position] as number])
      return found.reduce((total, number) => (total ?? NaN) + (number ?? NaN), 0) === equals
    },
  }
}
