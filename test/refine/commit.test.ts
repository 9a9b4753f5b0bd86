import { describe, expect, it } from 'vitest'
import { commitCount, commits } from '../../src/refine/commit.js'

const V = 4
/** Position i has a token of probability `most[i]`; the others share the rest. */
const readout = (most: readonly number[]): Float32Array =>
  Float32Array.from(
    most.flatMap((p, i) =>
      Array.from({ length: V }, (_, token) => (token === i % V ? p : (1 - p) / (V - 1))),
    ),
  )

const most = [0.5, 0.99, 0.7, 0.97, 0.9]
const all = [0, 1, 2, 3, 4]

describe('commits', () => {
  it('of most are the most certain positions, with their most probable tokens', () => {
    const made = commits({ draw: 'most' }, 3, readout(most), 5, all, 7, 0)
    expect(made).toEqual([
      { position: 1, token: 1 },
      { position: 3, token: 3 },
      { position: 4, token: 0 },
    ])
  })

  it('take the most probable of 200,000 tokens', () => {
    const weights = new Float32Array(200_000).fill(1)
    weights[150_000] = 2
    expect(commits({ draw: 'most' }, 1, weights, 1, [0], 7, 0)).toEqual([
      { position: 0, token: 150_000 },
    ])
  })

  it('of temperature are the same positions, with tokens drawn at that temperature', () => {
    const made = (temperature: number, seed: number) =>
      commits({ draw: 'temperature' }, 2, readout(most), 5, all, seed, 0, temperature)
    expect(made(0, 7)).toEqual(commits({ draw: 'most' }, 2, readout(most), 5, all, 7, 0))
    const right = (temperature: number) => {
      const weights = readout([0.7])
      const tokens = Array.from({ length: 400 }, (_, seed) =>
        commits({ draw: 'temperature' }, 1, weights, 1, [0], seed, 0, temperature),
      )
      return tokens.filter(([first]) => first?.token === 0).length / 400
    }
    expect(right(1)).toBeCloseTo(0.7, 1)
    // 0.7^2 / (0.7^2 + 3 * 0.1^2)
    expect(right(0.5)).toBeCloseTo(0.942, 1)
    for (const [first, second] of Array.from({ length: 20 }, (_, seed) => made(1, seed)))
      expect([first?.position, second?.position]).toEqual([1, 3])
  })

  it('leave out positions that are known', () => {
    const made = commits({ draw: 'most' }, 2, readout(most), 5, [0, 2], 7, 0)
    expect(made.map(({ position }) => position)).toEqual([2, 0])
  })

  it('of sample are positions that are not sure, the more certain ones more often', () => {
    const counts = new Map<number, number>()
    const many = Array.from({ length: 40 }, (_, i) => 0.94 - 0.02 * i)
    const blanks = many.map((_, i) => i)
    for (let draw = 0; draw < 300; draw++) {
      const weights = readout([...many, 0.999])
      const [first] = commits({ draw: 'sample' }, 1, weights, 41, [...blanks, 40], 7, draw)
      const position = first?.position ?? -1
      counts.set(position, (counts.get(position) ?? 0) + 1)
    }
    expect(counts.has(40)).toBe(false)
    const within = (from: number, to: number) =>
      blanks.slice(from, to).reduce((sum, i) => sum + (counts.get(i) ?? 0), 0)
    expect(within(0, 10)).toBeGreaterThan(within(10, 20))
    expect(within(10, 20)).toBeGreaterThan(within(20, 39))
  })

  it('of sample draw tokens by their probabilities, each position once', () => {
    const weights = readout([0.7, 0.7])
    let likely = 0
    for (let draw = 0; draw < 400; draw++) {
      const made = commits({ draw: 'sample' }, 2, weights, 2, [0, 1], 7, draw)
      expect(new Set(made.map(({ position }) => position)).size).toBe(2)
      likely += made.filter(({ position, token }) => token === position).length
    }
    expect(likely / 800).toBeGreaterThan(0.65)
    expect(likely / 800).toBeLessThan(0.75)
  })

  it('are a function of seed and number of the draw', () => {
    const made = (seed: number, draw: number) =>
      commits({ draw: 'sample' }, 2, readout([0.4, 0.5, 0.6, 0.5, 0.4]), 5, all, seed, draw)
    expect(made(7, 3)).toEqual(made(7, 3))
    const others = Array.from({ length: 20 }, (_, draw) => JSON.stringify(made(7, draw)))
    expect(new Set(others).size).toBeGreaterThan(5)
  })

  it('of what is sure everywhere are none that could be guesses', () => {
    expect(commits({ draw: 'sample' }, 2, readout([0.99, 0.98]), 2, [0, 1], 7, 0)).toEqual([])
  })
})

it('commits a count or a share of the blanks, and leaves one position blank', () => {
  const rules = { draw: 'most', after: 4, reopen: false } as const
  expect(commitCount({ ...rules, count: 3 }, 20, 10)).toBe(3)
  expect(commitCount({ ...rules, count: 3 }, 20, 3)).toBe(2)
  expect(commitCount({ ...rules, share: 0.25 }, 20, 10)).toBe(5)
  expect(commitCount({ ...rules, share: 0.25 }, 20, 1)).toBe(0)
})
