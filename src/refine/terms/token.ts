/**
 * A position holds one of some tokens, or none of them. T = -log P(it does), in nats: the cross-entropy of a
 * position with a set of tokens.
 */
import { addSlope, chanceOf, reachOf, surprise } from './reading.js'
import type { TokenTerm } from './term.js'

/** `tokens`: each once. `not`: none of them. */
export const token = (position: number, tokens: readonly number[], not: boolean): TokenTerm => ({
  of: 'tokens',
  type: 'token',
  evaluate: (reading, slope) => {
    if (position >= reachOf(reading)) return 0
    const among = tokens.reduce((total, each) => total + chanceOf(reading, position, each), 0)
    const { derivative, value } = surprise(not ? 1 - among : among)
    for (const each of tokens)
      addSlope(reading, slope, position, each, not ? -derivative : derivative)
    return value
  },
  holds: (given, whole) =>
    position >= given.length ? !whole : tokens.includes(given[position] as number) !== not,
})
