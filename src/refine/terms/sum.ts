/**
 * The numbers at some positions add up to a given one. T = -log P(sum = equals) with the positions taken as
 * independent, in nats; the distribution of the sum is the convolution of theirs. A token that is no number
 * makes no sum. It is the semantic loss of the constraint (Xu et al., "A semantic loss function for deep
 * learning with symbolic knowledge", ICML 2018). By the logits of a position, its gradient is p minus what
 * is left of p where the rule holds, so it is bounded by 1.
 */
import { addSlope, chanceOf, reachOf, type Reading, type Slope, surprise } from './reading.js'
import type { TokenTerm } from './term.js'

/** The number that a token stands for, by token id: whole and at least 0; undefined: none. */
export type Numbers = readonly (number | undefined)[]

/** Tokens that can be a summand of `equals`, and their numbers. */
function summands(numbers: Numbers, equals: number): { token: number; number: number }[] {
  return numbers.flatMap((number, token) =>
    number !== undefined && number <= equals ? [{ token, number }] : [],
  )
}

export function sum(positions: readonly number[], equals: number, numbers: Numbers): TokenTerm {
  const tokens = summands(numbers, equals)
  const width = equals + 1
  // heads[i]: the distribution of the sum of the positions before i; tails: of those from i on. [n + 1][width]
  const heads = new Float64Array((positions.length + 1) * width)
  const tails = new Float64Array((positions.length + 1) * width)
  heads[0] = 1
  tails[positions.length * width] = 1

  /** The distribution with one more summand: `to` and `from` are places in `all`. */
  const addOne = (
    reading: Reading,
    position: number,
    all: Float64Array,
    from: number,
    to: number,
  ) => {
    all.fill(0, to, to + width)
    for (const { number, token } of tokens) {
      const chance = chanceOf(reading, position, token)
      if (chance === 0) continue
      for (let total = number; total < width; total++)
        all[to + total] =
          (all[to + total] as number) + chance * (all[from + total - number] as number)
    }
  }

  const evaluate = (reading: Reading, slope?: Slope): number => {
    const reach = reachOf(reading)
    for (const position of positions) if (position >= reach) return 0
    positions.forEach((position, i) => {
      addOne(reading, position, heads, i * width, (i + 1) * width)
    })
    const { derivative, value } = surprise(heads[positions.length * width + equals] as number)
    if (!slope) return value
    for (let i = positions.length - 1; i >= 0; i--) {
      const position = positions[i] as number
      for (const { number, token } of tokens) {
        let others = 0
        for (let total = equals - number, k = 0; total >= 0; total--, k++)
          others += (heads[i * width + k] as number) * (tails[(i + 1) * width + total] as number)
        addSlope(reading, slope, position, token, derivative * others)
      }
      addOne(reading, position, tails, (i + 1) * width, i * width)
    }
    return value
  }

  return {
    of: 'tokens',
    type: 'sum',
    evaluate,
    holds: (given, whole) => {
      if (positions.some((position) => position >= given.length)) return !whole
      const found = positions.map((position) => numbers[given[position] as number])
      return found.reduce((total, number) => (total ?? NaN) + (number ?? NaN), 0) === equals
    },
  }
}
