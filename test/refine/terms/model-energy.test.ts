import { describe, expect, it } from 'vitest'
import { uniform } from '../../../src/refine/random.js'
import {
  addGivens,
  slopeOf,
  stateOf,
  translate,
  type Translation,
} from '../../../src/refine/terms/model-energy.js'

const block = 3
/** Token 4 of the first model has no counterpart, and tokens 1 and 2 have the same. */
const to = Int32Array.from([2, 0, 0, 1, -1])
const vocab = 4
const width = 6
const vectors = Array.from({ length: vocab }, (_, token) =>
  Float32Array.from({ length: width }, (_, d) => uniform(3, token, d) - 0.5),
)

const chances = Float64Array.from({ length: block * to.length }, (_, i) => {
  const of = (v: number) => uniform(5, Math.floor(i / to.length), v)
  const total = to.reduce((sum, _, v) => sum + of(v), 0)
  return of(i % to.length) / total
})

/** A function of a state with a known gradient: the sum of a_j sin(y_j). */
const amounts = (length: number) => Float64Array.from({ length }, (_, j) => uniform(8, 0, j) - 0.5)
const value = (state: ArrayLike<number>): number =>
  amounts(state.length).reduce((sum, a, j) => sum + a * Math.sin(state[j] as number), 0)
const gradientOf = (state: ArrayLike<number>): Float64Array =>
  amounts(state.length).map((a, j) => a * Math.cos(state[j] as number))

/** Compares a slope by the chances with finite differences of what it is the slope of. */
function expectSlope(slope: Float64Array, of: (chances: Float64Array) => number): void {
  const step = 1e-4
  const differences = chances.map((_, i) => {
    const at = (change: number) => of(chances.with(i, (chances[i] as number) + change))
    return (at(step) - at(-step)) / (2 * step)
  })
  differences.forEach((difference, i) => {
    expect(slope[i]).toBeCloseTo(difference, 3)
  })
  expect(Math.max(...differences.map(Math.abs))).toBeGreaterThan(0.05)
}

describe('the answer of another model that stands for a read-out', () => {
  it('adds up tokens that are one there, and leaves out those that are none', () => {
    const { q, shares } = translate(chances, { to, vocab, normalizes: true })
    for (let i = 0; i < block; i++) {
      const p = chances.subarray(i * to.length, (i + 1) * to.length)
      const share = 1 - (p[4] as number)
      expect(shares[i]).toBeCloseTo(share, 12)
      const row = Array.from(q.subarray(i * vocab, (i + 1) * vocab))
      const wanted = [(p[1] as number) + (p[2] as number), p[3], p[0], 0]
      row.forEach((x, token) => {
        expect(x).toBeCloseTo((wanted[token] as number) / share, 12)
      })
    }
  })

  it('is the expected vector of its tokens in latent space, whose slope finite differences give', () => {
    const translation: Translation = { to, vocab, vectors, normalizes: false }
    const found = translate(chances, translation)
    const state = stateOf(found.q, translation)
    expect(state).toHaveLength(block * width)
    const expected = vectors.reduce(
      (sum, vector, token) => sum + (found.q[token] as number) * (vector[2] as number),
      0,
    )
    expect(state[2]).toBeCloseTo(expected, 6)
    const exact = (at: Float64Array): number => {
      const { q } = translate(at, translation)
      const y = Float64Array.from({ length: block * width }, (_, j) =>
        vectors.reduce(
          (sum, vector, token) =>
            sum +
            (q[Math.floor(j / width) * vocab + token] as number) * (vector[j % width] as number),
          0,
        ),
      )
      return value(y)
    }
    const slope = slopeOf(gradientOf(state), found.q, found.shares, translation)
    expectSlope(slope, exact)
  })

  it('has the chances as its softmax in vocab space, whose slope finite differences give', () => {
    const translation: Translation = { to, vocab, normalizes: true }
    const { q, shares } = translate(chances, translation)
    const logits = stateOf(q, translation)
    for (let i = 0; i < block; i++) {
      const row = logits.subarray(i * vocab, (i + 1) * vocab)
      const total = row.reduce((sum, z) => sum + Math.exp(z), 0)
      row.forEach((z, token) => {
        expect(Math.exp(z) / total).toBeCloseTo(q[i * vocab + token] as number, 6)
      })
    }
    const slope = slopeOf(gradientOf(q), q, shares, translation)
    expectSlope(slope, (at) => value(translate(at, translation).q))
  })
})

describe('tokens that are given in another model', () => {
  const given = [-1, 1, 0]

  it('cost the surprise of reading them, whose slope finite differences give', () => {
    const translation: Translation = { to, vocab, vectors, normalizes: false }
    const cost = (at: Float64Array): number =>
      addGivens(new Float64Array(at.length), at, given, translation)
    const p = (i: number, v: number) => chances[i * to.length + v] as number
    expect(cost(chances)).toBeCloseTo(-Math.log(p(1, 3)) - Math.log(p(2, 1) + p(2, 2)), 12)
    const slope = new Float64Array(chances.length)
    addGivens(slope, chances, given, translation)
    expectSlope(slope, cost)
    expect(slope.subarray(0, to.length).every((x) => x === 0)).toBe(true)
  })

  it('cost nothing where they are read for certain', () => {
    const certain = new Float64Array(chances.length)
    certain[to.length + 3] = 1
    certain[2 * to.length + 2] = 1
    const slope = new Float64Array(chances.length)
    expect(addGivens(slope, certain, given, { to, vocab, normalizes: false })).toBe(0)
  })
})
