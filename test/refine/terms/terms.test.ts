import { describe, expect, it } from 'vitest'
import { uniform } from '../../../src/refine/random.js'
import { compare } from '../../../src/refine/terms/compare.js'
import { compose, type Evaluated } from '../../../src/refine/terms/composed.js'
import { contains } from '../../../src/refine/terms/contains.js'
import { count } from '../../../src/refine/terms/count.js'
import { distinct } from '../../../src/refine/terms/distinct.js'
import type { Reading } from '../../../src/refine/terms/reading.js'
import { similar } from '../../../src/refine/terms/similar.js'
import { chooseStanding, isBetter, judgedEnergy } from '../../../src/refine/terms/standing.js'
import { sum } from '../../../src/refine/terms/sum.js'
import type { TokenTerm } from '../../../src/refine/terms/term.js'
import { token } from '../../../src/refine/terms/token.js'

const vocab = 5
/** Tokens 0 to 3 are the numbers 1 to 4; token 4 is none. */
const numbers = [1, 2, 3, 4, undefined]
const block = 4

/** Random chances at each position of the answer, or certain tokens. */
function reading(
  seed: number,
  {
    before = [],
    last = true,
    tokens,
  }: { before?: number[]; last?: boolean; tokens?: number[] } = {},
): Reading {
  const chances = Float64Array.from({ length: block * vocab }, (_, i) =>
    tokens ? Number(tokens[Math.floor(i / vocab)] === i % vocab) : uniform(seed, 5, i),
  )
  for (let i = 0; i < block; i++) {
    const row = chances.subarray(i * vocab, (i + 1) * vocab)
    const total = row.reduce((all, x) => all + x, 0)
    row.forEach((x, v) => (row[v] = x / total))
  }
  return { before, length: block, chances, vocab, last }
}

const run = [0, 2]
/** Whether one of the runs occurs in `tokens`. */
const saying = (runs: readonly (readonly number[])[]) => (tokens: readonly number[]) =>
  runs.some((each) => tokens.some((_, i) => each.every((token, j) => tokens[i + j] === token)))

const terms: Record<string, { term: TokenTerm; before?: number[]; last?: boolean }> = {
  'distinct, two groups': {
    term: distinct([
      [0, 1, 2],
      [1, 3],
    ]),
  },
  'distinct with an earlier token': { term: distinct([[0, 2, 4]]), before: [3] },
  'sum of three': { term: sum([0, 1, 3], 7, numbers) },
  'sum with an earlier token': { term: sum([0, 1, 3], 6, numbers), before: [1] },
  compare: { term: compare(1, 2, numbers) },
  'compare with an earlier token': { term: compare(0, 2, numbers), before: [1] },
  'token among two': { term: token(2, [1, 4], false) },
  'token that is forbidden': { term: token(2, [1, 4], true) },
  'contains a run of two': { term: contains([run], saying([run])) },
  'contains a run that began earlier': {
    term: contains([run, [3, 3]], saying([run, [3, 3]])),
    before: [2, 0],
  },
  'count at the end': { term: count(1, 2) },
  'count before the end': { term: count(1, 2), before: [1, 3], last: false },
}

describe.each(Object.entries(terms))('%s', (_, { term, before, last }) => {
  it('has the gradient that finite differences give', () => {
    const at = reading(7, { ...(before && { before }), ...(last !== undefined && { last }) })
    const slope = { gradient: new Float64Array(block * vocab), weight: 1.5 }
    term.evaluate(at, slope)
    expect(Math.max(...slope.gradient.map(Math.abs))).toBeGreaterThan(0.01)
    const step = 1e-6
    for (let i = 0; i < block * vocab; i++) {
      const value = (change: number) => {
        const chances = at.chances.slice()
        chances[i] = (chances[i] as number) + change
        return term.evaluate({ ...at, chances })
      }
      const difference = (1.5 * (value(step) - value(-step))) / (2 * step)
      expect(slope.gradient[i]).toBeCloseTo(difference, 5)
    }
  })

  it('is above zero unless the rule is certain to hold, and zero exactly where the tokens obey it', () => {
    expect(term.evaluate(reading(8, { ...(before && { before }) }))).toBeGreaterThan(0)
    const seen = new Set<boolean>()
    for (let each = 0; each < vocab ** block; each++) {
      const tokens = Array.from({ length: block }, (_, i) => Math.floor(each / vocab ** i) % vocab)
      const at = reading(0, {
        tokens,
        ...(before && { before }),
        ...(last !== undefined && { last }),
      })
      const holds = term.holds?.([...(before ?? []), ...tokens], last ?? true)
      expect(term.evaluate(at) < 1e-9).toBe(holds)
      seen.add(holds === true)
    }
    expect(seen.size).toBe(2)
  })
})

describe('rules before all positions are there', () => {
  const none = { value: 0, holds: true }
  const early = (term: TokenTerm, tokens: number[]) => ({
    value: term.evaluate({ ...reading(0, { tokens }), last: false }),
    holds: term.holds?.(tokens, false),
  })

  it('are not judged by what is missing, and are broken when it never comes', () => {
    const tokens = [0, 1, 2, 3]
    for (const term of [sum([3, 4], 7, numbers), compare(3, 4, numbers), token(9, [1], false)]) {
      expect(early(term, tokens)).toEqual(none)
      expect(term.holds?.(tokens, true)).toBe(false)
    }
  })

  it('hold for what is there: equal tokens break distinct, too many break count', () => {
    expect(early(distinct([[0, 1, 7]]), [2, 2, 0, 0])).toEqual({ value: 1, holds: false })
    expect(early(distinct([[0, 1, 7]]), [2, 1, 0, 0])).toEqual(none)
    expect(early(count(1, 1), [1, 1, 0, 0]).holds).toBe(false)
    expect(early(count(1, 3), [1, 1, 0, 0])).toEqual(none)
  })
})

describe('similar', () => {
  const target = Float64Array.of(1, -2, 0.5)

  it('is 0 in the same direction, 2 in the opposite one, and 1 without a direction', () => {
    const term = similar(target)
    expect(term.evaluate(target.map((x) => 3 * x)).value).toBeCloseTo(0, 12)
    expect(term.evaluate(target.map((x) => -x)).value).toBeCloseTo(2, 12)
    expect(term.evaluate(new Float64Array(3))).toEqual({ value: 1, gradient: new Float64Array(3) })
  })

  it('has the gradient that finite differences give', () => {
    const term = similar(target)
    const mean = Float64Array.of(0.3, 0.7, -1.1)
    const { gradient } = term.evaluate(mean)
    for (let d = 0; d < 3; d++) {
      const value = (change: number) =>
        term.evaluate(mean.map((x, i) => (i === d ? x + change : x))).value
      expect(gradient[d]).toBeCloseTo((value(1e-6) - value(-1e-6)) / 2e-6, 6)
    }
  })
})

describe('terms together', () => {
  const softmax = (logits: Float64Array): Float64Array => {
    const chances = logits.map(Math.exp)
    for (let i = 0; i < block; i++) {
      const row = chances.subarray(i * vocab, (i + 1) * vocab)
      const total = row.reduce((all, x) => all + x, 0)
      row.forEach((x, v) => (row[v] = x / total))
    }
    return chances
  }
  const weighted = [
    { term: distinct([[0, 1, 2]]), weight: 2, required: true },
    { term: sum([1, 3], 5, numbers), weight: -0.5, required: false },
    { term: similar(Float64Array.of(1, 2)), weight: 3, required: false, tolerance: 0.001 },
  ]
  const evaluated = (logits: Float64Array, points: Float32Array): Evaluated => ({
    reading: { before: [], length: block, chances: softmax(logits), vocab, last: true },
    tokens: [0, 1, 2, 3],
    moving: [0, 1, 3],
    points,
  })
  const logits = Float64Array.from({ length: block * vocab }, (_, i) => uniform(3, 1, i) * 2)
  const points = Float32Array.from({ length: block * 2 }, (_, i) => uniform(3, 2, i) - 0.5)

  it('give the gradient of their weighted sum by logits and by points, at positions that move', () => {
    const { gradient } = compose(weighted, evaluated(logits, points))
    const step = 1e-5
    for (let i = 0; i < logits.length; i++) {
      const energy = (change: number) =>
        compose(weighted, evaluated(logits.with(i, (logits[i] as number) + change), points)).energy
      const wanted = Math.floor(i / vocab) === 2 ? 0 : (energy(step) - energy(-step)) / (2 * step)
      expect(gradient.logits?.[i]).toBeCloseTo(wanted, 5)
    }
    for (let i = 0; i < points.length; i++) {
      const energy = (change: number) =>
        compose(weighted, evaluated(logits, points.with(i, (points[i] as number) + change))).energy
      expect(gradient.points?.[i]).toBeCloseTo((energy(1e-2) - energy(-1e-2)) / 2e-2, 2)
    }
  })

  it('hold where the required ones do, by tokens and not by soft values', () => {
    const at = evaluated(logits, points)
    const kept = compose(weighted, at)
    expect(kept.holds).toBe(true)
    expect(kept.results.map(({ satisfied }) => satisfied)).toEqual([true, false, false])
    expect(kept.results[0]?.value).toBeGreaterThan(0.1)
    const broken = compose(weighted, { ...at, tokens: [0, 0, 2, 3] })
    expect(broken.holds).toBe(false)
    expect(broken.results[0]).toEqual({ ...kept.results[0], satisfied: false })
  })
})

describe('which state is better', () => {
  const held = { energy: 5, ranked: 5, total: 9, holds: true }
  const broken = { energy: 1, ranked: 1, total: 2, holds: false }

  it('puts states whose required terms hold before all others', () => {
    expect(isBetter(held, broken)).toBe(true)
    expect(isBetter(broken, held)).toBe(false)
    expect(isBetter({ ...held, ranked: 4, total: 20 }, held)).toBe(true)
    expect(isBetter({ ...broken, energy: 0, total: 3 }, broken)).toBe(false)
    expect(isBetter({ ...held, energy: NaN }, undefined)).toBe(false)
    expect(isBetter(held, undefined)).toBe(true)
  })

  it('judges targets by those states alone', () => {
    expect(judgedEnergy(held)).toBe(5)
    expect(judgedEnergy(broken)).toBe(Infinity)
    expect(judgedEnergy(undefined)).toBe(Infinity)
  })

  it('chooses among candidates that hold as the budget says, else the lowest composed energy', () => {
    const of = (standing: typeof held | undefined, initial = 10) => ({ initial, standing })
    const lower = { energy: 4, ranked: 4, total: 30, holds: true }
    expect(chooseStanding([of(broken), of(held), of(lower)], 'min')).toBe(2)
    expect(chooseStanding([of(broken), of(held, 90), of(lower)], 'max_gap')).toBe(1)
    expect(chooseStanding([of({ ...broken, total: 3 }), of(broken)], 'max')).toBe(1)
    expect(chooseStanding([of(undefined)], 'min')).toBe(-1)
  })
})
