import { describe, expect, it } from 'vitest'
import {
  discriminationAreas,
  areaUnderCurve,
  budgetScore,
  choiceScore,
  classesBy,
  type AnswerScore,
  type ScoredAnswer,
} from '../../src/train/evaluation/answer-scores.js'
import { uniform } from '../../src/refine/random.js'

const score = (energy: number, solved: boolean, more: Partial<AnswerScore> = {}): AnswerScore => ({
  energy,
  nats: solved ? 0.5 : 4,
  right: solved ? 2 : 1,
  solved,
  ...more,
})
const answer = (...scores: AnswerScore[]): ScoredAnswer => ({
  moving: 2,
  facts: {},
  scores: [scores],
})

describe('areaUnderCurve', () => {
  /** The definition: every pair of a right and a wrong answer. */
  function byPairs(values: readonly number[], right: readonly boolean[]): number {
    let [won, pairs] = [0, 0]
    values.forEach((good, i) => {
      values.forEach((bad, j) => {
        if (!right[i] || right[j]) return
        pairs++
        won += good < bad ? 1 : good === bad ? 0.5 : 0
      })
    })
    return won / pairs
  }

  it('is the probability that a right answer has a lower value than a wrong one', () => {
    expect(areaUnderCurve([1, 2, 3, 4], [true, true, false, false])).toBe(1)
    expect(areaUnderCurve([1, 2, 3, 4], [false, false, true, true])).toBe(0)
    expect(areaUnderCurve([1, 1, 1], [true, false, true])).toBe(0.5)
    for (let trial = 0; trial < 20; trial++) {
      const values = Array.from({ length: 40 }, (_, i) => Math.floor(12 * uniform(1, trial, i)))
      const right = values.map((_, i) => uniform(2, trial, i) < 0.4)
      expect(areaUnderCurve(values, right)).toBeCloseTo(byPairs(values, right), 12)
    }
  })

  it('is null if all answers are right, all are wrong, or there are none', () => {
    expect(areaUnderCurve([1, 2], [true, true])).toBeNull()
    expect(areaUnderCurve([1, 2], [false, false])).toBeNull()
    expect(areaUnderCurve([], [])).toBeNull()
  })

  it('is computed for the energy and for each of its two parts', () => {
    const parts = { disagreement: 1, doubt: 5 }
    const answers = [
      answer(score(1, true, parts)),
      answer(score(2, false, { disagreement: 3, doubt: 4 })),
    ]
    expect(discriminationAreas(answers, 0)).toEqual({ energy: 1, disagreement: 1, doubt: 0 })
    expect(discriminationAreas([answer(score(1, true)), answer(score(0, false))], 0)).toEqual({
      energy: 0,
    })
  })
})

describe('scores of several candidates', () => {
  const answers = [
    answer(score(3, false), score(1, true), score(2, false)),
    answer(score(1, false), score(2, true), score(3, true)),
    answer(score(5, false), score(4, false), score(0, false)),
  ]

  it('chooses the lowest energy among the first candidates', () => {
    expect(choiceScore(answers, 0, 3)).toEqual({
      candidates: 3,
      byEnergy: 1 / 3,
      atRandom: (1 / 3 + 2 / 3) / 3,
      best: 2 / 3,
    })
    expect(choiceScore(answers, 0, 1)).toEqual({
      candidates: 1,
      byEnergy: 0,
      atRandom: 0,
      best: 0,
    })
  })

  it('averages over answers and candidates', () => {
    const { solved, accuracy, nats, energy, steps } = budgetScore(answers, 7, 0)
    expect(steps).toBe(7)
    expect(solved).toBe(3 / 9)
    expect(accuracy).toBe((3 * 2 + 6 * 1) / 18)
    expect(nats).toBeCloseTo((3 * 0.5 + 6 * 4) / 18)
    expect(energy).toBeCloseTo((3 + 1 + 2 + 1 + 2 + 3 + 5 + 4 + 0) / 9)
  })
})

describe('classesBy', () => {
  const having = (values: readonly number[]): ScoredAnswer[] =>
    values.map((givens) => ({ ...answer(score(givens, true)), facts: { givens } }))
  const summary = (values: readonly number[]) =>
    classesBy(having(values), 'givens').map(({ label, answers }) => [label, answers.length])

  it('makes a class of each value if there are few, in rising order', () => {
    expect(summary([3, 10, 3, 2])).toEqual([
      ['2', 1],
      ['3', 2],
      ['10', 1],
    ])
    expect(summary([1.2, 2.5, 1.2])).toEqual([
      ['1.2', 2],
      ['2.5', 1],
    ])
  })

  it('divides many values into ranges, each answer in exactly one', () => {
    const values = Array.from({ length: 100 }, (_, i) => 17 + (i % 34))
    const classes = classesBy(having(values), 'givens')
    expect(classes.map(({ label }) => label)[0]).toBe('17 to 21')
    expect(classes.length).toBeLessThanOrEqual(8)
    expect(classes.flatMap(({ answers }) => answers)).toHaveLength(100)
    const fractions = Array.from({ length: 50 }, (_, i) => i / 7)
    expect(classesBy(having(fractions), 'givens').flatMap((c) => c.answers)).toHaveLength(50)
  })

  it('leaves out answers that do not have the figure', () => {
    expect(classesBy(having([1]), 'rating')).toEqual([])
  })
})
