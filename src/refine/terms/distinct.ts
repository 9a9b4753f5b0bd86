/**
 * All positions of each group hold different tokens. T is the expected number of equal pairs,
 * `sum over pairs i < j of sum_v p_iv p_jv`; dT/dp_iv = sum over the others of p_jv. Unit: pairs. It is the
 * count of broken inequalities of an all-different constraint, made linear in each p as in probabilistic
 * relaxations of constraint satisfaction (van Hoeve, "The alldifferent constraint: a survey", 2001).
 */
import { addSlope, chanceOf, reachOf, type Reading, type Slope } from './reading.js'
import type { TokenTerm } from './term.js'

/** `groups`: positions of the completion. */
export const distinct = (groups: readonly (readonly number[])[]): TokenTerm => ({
  of: 'tokens',
  type: 'distinct',
  evaluate: (reading, slope) =>
    groups.reduce((sum, group) => sum + equalPairs(reading, group, slope), 0),
  holds: (tokens, whole) =>
    groups.every((group) => {
      const present = group.filter((position) => position < tokens.length)
      if (whole && present.length < group.length) return false
      return new Set(present.map((position) => tokens[position])).size === present.length
    }),
})

function equalPairs(reading: Reading, group: readonly number[], slope: Slope | undefined): number {
  const reach = reachOf(reading)
  let value = 0
  for (let token = 0; token < reading.vocab; token++) {
    let sum = 0
    let squares = 0
    for (const position of group) {
      if (position >= reach) continue
      const chance = chanceOf(reading, position, token)
      sum += chance
      squares += chance * chance
    }
    if (sum === 0) continue
    value += (sum * sum - squares) / 2
    if (!slope) continue
    for (const position of group)
      if (position < reach)
        addSlope(reading, slope, position, token, sum - chanceOf(reading, position, token))
  }
  return value
}
