/**
 * A text occurs somewhere. T = -log(1 - product over places of (1 - w)), in nats, with w the probability that
 * the text stands at a place: the product of those of its tokens. Places are taken as independent (noisy-or;
 * Pearl, "Probabilistic reasoning in intelligent systems", 1988), which holds for one token and is a bound
 * on nothing for longer texts whose places overlap.
 */
import { addSlope, chanceOf, reachOf, type Reading, surprise } from './reading.js'
import type { TokenTerm } from './term.js'

/** Where a run of tokens may stand: those places that reach into the present answer. */
function* placesOf(reading: Reading, run: readonly number[]): Generator<number> {
  const first = Math.max(0, reading.before.length - run.length + 1)
  for (let place = first; place + run.length <= reachOf(reading); place++) yield place
}

const chanceAt = (reading: Reading, run: readonly number[], place: number, but = -1): number =>
  run.reduce((all, token, i) => (i === but ? all : all * chanceOf(reading, place + i, token)), 1)

/** `runs`: the ways in which tokens spell the text. `says`: whether tokens do. */
export const contains = (
  runs: readonly (readonly number[])[],
  says: (tokens: readonly number[]) => boolean,
): TokenTerm => ({
  of: 'tokens',
  type: 'contains',
  evaluate: (reading, slope) => {
    if (says(reading.before)) return 0
    let none = 1
    for (const run of runs)
      for (const place of placesOf(reading, run)) none *= 1 - chanceAt(reading, run, place)
    const { derivative, value } = surprise(1 - none)
    if (!slope) return value
    for (const run of runs)
      for (const place of placesOf(reading, run)) {
        const here = chanceAt(reading, run, place)
        const others = here < 1 ? none / (1 - here) : 0
        run.forEach((each, i) =>
          addSlope(
            reading,
            slope,
            place + i,
            each,
            derivative * others * chanceAt(reading, run, place, i),
          ),
        )
      }
    return value
  },
  holds: (tokens, whole) => !whole || says(tokens),
})
