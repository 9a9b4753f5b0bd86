/**
 * The number at one position is less than that at another. T = -log P(less < than) with the positions taken
 * as independent, in nats: the semantic loss of the inequality (source: sum.ts). A token that is no number
 * compares with none.
 */
import { addSlope, chanceOf, reachOf, type Reading, type Slope, surprise } from './reading.js'
import type { Numbers } from './sum.js'
import type { TokenTerm } from './term.js'

export function compare(less: number, than: number, numbers: Numbers): TokenTerm {
  /** Tokens that are numbers, in groups of equal numbers, rising. */
  const groups = new Map<number, number[]>()
  numbers.forEach((number, token) => {
    if (number !== undefined) groups.set(number, [...(groups.get(number) ?? []), token])
  })
  const rising = [...groups].sort(([a], [b]) => a - b).map(([, tokens]) => tokens)
  // below[g]: P(less is a number before group g); above[g]: P(than is one after it).
  const below = new Float64Array(rising.length)
  const above = new Float64Array(rising.length)

  const chanceIn = (reading: Reading, position: number, tokens: readonly number[]): number => {
    let total = 0
    for (const token of tokens) total += chanceOf(reading, position, token)
    return total
  }

  const evaluate = (reading: Reading, slope?: Slope): number => {
    if (Math.max(less, than) >= reachOf(reading)) return 0
    let chance = 0
    let run = 0
    rising.forEach((tokens, g) => {
      below[g] = run
      chance += run * chanceIn(reading, than, tokens)
      run += chanceIn(reading, less, tokens)
    })
    const { derivative, value } = surprise(chance)
    if (!slope) return value
    run = 0
    for (let g = rising.length - 1; g >= 0; g--) {
      above[g] = run
      run += chanceIn(reading, than, rising[g] as number[])
    }
    rising.forEach((tokens, g) => {
      for (const token of tokens) {
        addSlope(reading, slope, less, token, derivative * (above[g] as number))
        addSlope(reading, slope, than, token, derivative * (below[g] as number))
      }
    })
    return value
  }

  return {
    of: 'tokens',
    type: 'compare',
    evaluate,
    holds: (given, whole) => {
      if (Math.max(less, than) >= given.length) return !whole
      const [a, b] = [less, than].map((position) => numbers[given[position] as number])
      return a !== undefined && b !== undefined && a < b
    },
  }
}
