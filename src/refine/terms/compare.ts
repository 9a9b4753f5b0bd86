/**
 * The number at one position is less than that at another. T = -log P(less < than) with the positions taken
 * as independent, in nats: the semantic loss of the inequality (source: sum.ts). A token that is no number
 * compares with none.
 */
import { addSlope, chanceOf, reachOf, surprise } from './reading.js'
import type { Numbers } from './sum.js'
import type { TokenTerm } from './term.js'

export function compare(less: number, than: number, numbers: Numbers): TokenTerm {
  /** Tokens that are numbers, in groups of equal numbers, rising. */
  const groups = new Map<number, number[]>()
  numbers.forEach((number, token) => {
    if (number !== undefined) groups.set(number, [...(groups.get(number) ?? []), token])
  })
  const rising = [...groups].sort(([a], [b]) => a - b).map(([, tokens]) => tokens)
  return {
    of: 'tokens',
    type: 'compare',
    evaluate: (reading, slope) => {
      if (Math.max(less, than) >= reachOf(reading)) return 0
      const chances = (position: number): number[] =>
        rising.map((tokens) =>
          tokens.reduce((total, token) => total + chanceOf(reading, position, token), 0),
        )
      const [low, high] = [chances(less), chances(than)]
      // below[g]: P(less is a number before group g); above[g]: P(than is one after it).
      let run = 0
      const below = low.map((chance) => (run += chance) - chance)
      run = 0
      const above = high.map(() => 0)
      for (let g = rising.length - 1; g >= 0; g--) {
        above[g] = run
        run += high[g] as number
      }
      const chance = high.reduce((total, p, g) => total + p * (below[g] as number), 0)
      const { derivative, value } = surprise(chance)
      rising.forEach((tokens, g) => {
        for (const token of tokens) {
          addSlope(reading, slope, less, token, derivative * (above[g] as number))
          addSlope(reading, slope, than, token, derivative * (below[g] as number))
        }
      })
      return value
    },
    holds: (given, whole) => {
      if (Math.max(less, than) >= given.length) return !whole
      const [a, b] = [less, than].map((position) => numbers[given[position] as number])
      return a !== undefined && b !== undefined && a < b
    },
  }
}
