import { describe, expect, it } from 'vitest'
import {
  drawFrom,
  isGreedy,
  isPlainDraw,
  judge,
  largest,
  sample,
  type Sampling,
} from '../../src/refine/sampling.js'
import { greedy } from '../support/engine-bench.js'

const probabilities = [0.1, 0.4, 0.3, 0.2]
const logits = Float32Array.from(probabilities, (p) => Math.log(p) + 5)
const none = new Map<number, number>()

/** How often each token comes out of `draws` draws. */
function frequencies(overrides: Partial<Sampling>, draws = 20_000, counts = none): number[] {
  const sampling = { ...greedy, temperature: 1, ...overrides }
  const found = new Array<number>(logits.length).fill(0)
  for (let draw = 0; draw < draws; draw++) {
    const token = sample(logits, sampling, counts, draw)
    found[token] = (found[token] as number) + 1 / draws
  }
  return found
}

const close = (actual: number[], expected: number[]) => {
  expected.forEach((value, i) => expect(actual[i]).toBeCloseTo(value, 1.7))
}

describe('temperature', () => {
  it('0 takes the most probable, ties to the lowest id', () => {
    expect(sample(Float32Array.of(1, 7, 7), greedy, none, 0)).toBe(1)
  })

  it('1 follows the model, 1/2 squares it', () => {
    close(frequencies({}), probabilities)
    const squares = probabilities.map((p) => p * p)
    const sum = squares.reduce((a, b) => a + b)
    close(
      frequencies({ temperature: 0.5 }),
      squares.map((p) => p / sum),
    )
  })
})

describe('cuts', () => {
  it('top_k keeps the k most probable', () => {
    close(frequencies({ topK: 2 }), [0, 4 / 7, 3 / 7, 0])
    close(frequencies({ topK: 99 }), probabilities)
  })

  it('top_p keeps the smallest set of at least that mass', () => {
    close(frequencies({ topP: 0.5 }), [0, 4 / 7, 3 / 7, 0])
    close(frequencies({ topP: 0.71 }), [0, 4 / 9, 3 / 9, 2 / 9])
    close(frequencies({ topP: 0 }), [0, 1, 0, 0])
  })

  it('top_p counts within top_k', () => {
    close(frequencies({ topK: 3, topP: 0.7 }), [0, 4 / 7, 3 / 7, 0])
  })
})

describe('adjustments', () => {
  const counts = new Map([[1, 3]])

  it('presence counts once, frequency by occurrence', () => {
    const sampleWith = (overrides: Partial<Sampling>) =>
      sample(logits, { ...greedy, ...overrides }, counts, 0)
    expect(sampleWith({ presencePenalty: 0.2 })).toBe(1)
    expect(sampleWith({ frequencyPenalty: 0.2 })).toBe(2)
    expect(sampleWith({ presencePenalty: 0.3 })).toBe(2)
    expect(sampleWith({ presencePenalty: -2, frequencyPenalty: 0.2 })).toBe(1)
  })

  it('a bias of 100 forces a token and -100 bans it; strangers are ignored', () => {
    expect(frequencies({ logitBias: { 0: 100 } }, 200)[0]).toBeCloseTo(1)
    expect(frequencies({ logitBias: { 1: -100 } }, 2000)[1]).toBe(0)
    expect(sample(logits, { ...greedy, logitBias: { 77: 100 } }, none, 0)).toBe(1)
  })

  it('are not greedy', () => {
    expect(isGreedy(greedy)).toBe(true)
    expect(isGreedy({ ...greedy, logitBias: { 1: 0 } })).toBe(false)
    expect(isGreedy({ ...greedy, frequencyPenalty: 0.1 })).toBe(false)
    expect(isGreedy({ ...greedy, temperature: 0.1 })).toBe(false)
  })
})

describe('log-probabilities', () => {
  it('are the model’s own, whatever was adjusted', () => {
    const token = sample(logits, { ...greedy, logitBias: { 0: 50 } }, none, 0)
    expect(token).toBe(0)
    const { logProb, top } = judge(logits, token, 2)
    expect(logProb).toBeCloseTo(Math.log(0.1))
    expect(top.map((entry) => entry.token)).toEqual([1, 2])
    expect(Math.exp(top[0]?.logProb ?? 0)).toBeCloseTo(0.4)
  })

  it('list the largest, ties to the lowest id', () => {
    expect(largest(Float32Array.of(1, 3, 3, 2, 3), 4)).toEqual([1, 2, 4, 3])
    expect(largest(Float32Array.of(1, 2), 5)).toEqual([1, 0])
    expect(largest(logits, 0)).toEqual([])
  })
})

it('depends on seed and draw alone', () => {
  const hot = { ...greedy, temperature: 2, seed: 5 }
  const tokens = (seed: number) =>
    Array.from({ length: 40 }, (_, draw) => sample(logits, { ...hot, seed }, none, draw))
  expect(tokens(5)).toEqual(tokens(5))
  expect(tokens(5)).not.toEqual(tokens(6))
})

describe('weights in place of logits', () => {
  const weights = Float32Array.from(probabilities, (p) => p / 0.4)

  it('give the token that their logits give', () => {
    const cuts = [{}, { topP: 0.71 }, { topK: 2 }, { topK: 3, topP: 0.7 }]
    for (const cut of cuts) {
      const sampling = { ...greedy, temperature: 1, seed: 3, ...cut }
      for (let draw = 0; draw < 300; draw++)
        expect(drawFrom(weights, sampling, draw)).toBe(sample(logits, sampling, none, draw))
    }
  })

  it('are enough where only a temperature applies', () => {
    const hot = { ...greedy, temperature: 0.7 }
    expect(isPlainDraw(hot)).toBe(true)
    expect(isPlainDraw(greedy)).toBe(false)
    expect(isPlainDraw({ ...hot, logitBias: { 1: 1 } })).toBe(false)
    expect(isPlainDraw({ ...hot, presencePenalty: 1 })).toBe(false)
  })
})

it('a read-out that is not finite gives an error, not a token', () => {
  const broken = Float32Array.of(1, NaN, 2)
  const hot = { ...greedy, temperature: 1 }
  expect(() => sample(broken, hot, none, 0)).toThrow('not finite')
  expect(() => drawFrom(broken, hot, 0)).toThrow('not finite')
  expect(() => drawFrom(Float32Array.of(0, 0), hot, 0)).toThrow('not finite')
  expect(() => sample(Float32Array.of(NaN, 1), greedy, none, 0)).toThrow('not finite')
})
