/**
 * A token occurs a given number of times. T = -log P(count = equals) with positions taken as independent, in
 * nats: the semantic loss (source: sum.ts) of a count, whose distribution is the Poisson binomial one. While
 * answers are to come, P is that of no more than `equals` so far.
 */
import { addSlope, chanceOf, reachOf, type Reading, surprise } from './reading.js'
import type { TokenTerm } from './term.js'

/** The distribution of a count [n] after one more position that adds to it with probability `chance`. */
const oneMore = (from: Float64Array, chance: number): Float64Array =>
  from.map((same, n) => same * (1 - chance) + (n > 0 ? (from[n - 1] as number) * chance : 0))

/** Probability that two independent counts add up to n. */
const togetherAt = (a: Float64Array, b: Float64Array, n: number): number => {
  let total = 0
  for (let i = 0; i <= n; i++) total += (a[i] as number) * (b[n - i] as number)
  return total
}

export const count = (token: number, equals: number): TokenTerm => ({
  of: 'tokens',
  type: 'count',
  evaluate: (reading, slope) => {
    const earlier = reading.before.filter((each) => each === token).length
    const left = equals - earlier
    if (left < 0) return surprise(0).value
    const wanted = reading.last ? [left] : Array.from({ length: left + 1 }, (_, n) => n)
    const chances = presentChances(reading, token)
    const none: Float64Array = Float64Array.from({ length: left + 1 }, (_, n) => (n === 0 ? 1 : 0))
    const heads = [none]
    for (const chance of chances) heads.push(oneMore(heads.at(-1) ?? none, chance))
    const whole = heads.at(-1) ?? none
    const { derivative, value } = surprise(wanted.reduce((sum, n) => sum + (whole[n] as number), 0))
    if (!slope) return value
    let tail = none
    for (let i = chances.length - 1; i >= 0; i--) {
      const head = heads[i] as Float64Array
      // P = p_i P(the others count n - 1) + (1 - p_i) P(they count n)
      const gain = wanted.reduce(
        (sum, n) => sum + (n > 0 ? togetherAt(head, tail, n - 1) : 0) - togetherAt(head, tail, n),
        0,
      )
      addSlope(reading, slope, reading.before.length + i, token, derivative * gain)
      tail = oneMore(tail, chances[i] as number)
    }
    return value
  },
  holds: (tokens, whole) => {
    const found = tokens.filter((each) => each === token).length
    return whole ? found === equals : found <= equals
  },
})

const presentChances = (reading: Reading, token: number): number[] =>
  Array.from({ length: reachOf(reading) - reading.before.length }, (_, i) =>
    chanceOf(reading, reading.before.length + i, token),
  )
