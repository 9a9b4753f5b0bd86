import { expect, it } from 'vitest'
import { answerSeed, choose } from '../../src/refine/candidates.js'

const outcomes = [
  { initial: 5, energy: 3 },
  { initial: 9, energy: 2 },
  { initial: 2, energy: 1 },
  { initial: 99, energy: NaN },
]

it.each([
  ['min', 2],
  ['max_gap', 1],
  ['max', 0],
] as const)('chooses by %s', (select, index) => {
  expect(choose(outcomes, select)).toBe(index)
})

it('chooses the first of equals, and none where no energy is finite', () => {
  expect(
    choose(
      [
        { initial: 1, energy: 1 },
        { initial: 1, energy: 1 },
      ],
      'min',
    ),
  ).toBe(0)
  expect(choose([{ initial: 1, energy: Infinity }], 'min')).toBe(-1)
})

it('gives each answer of a completion its own seed for noise', () => {
  const seeds = Array.from({ length: 1000 }, (_, index) => answerSeed(7, index))
  expect(new Set(seeds).size).toBe(1000)
  expect(seeds.every((seed) => Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32)).toBe(true)
})
