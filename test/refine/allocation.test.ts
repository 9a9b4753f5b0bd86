import { describe, expect, it } from 'vitest'
import { atRest, hasTurn, totalSteps } from '../../src/refine/allocation.js'
import { advance, beforeFirstStep, reopen, type Progress } from '../../src/refine/stop.js'
import { budget, unbounded } from '../support/engine-bench.js'

const limits = budget({ maxSteps: 100, allocation: 'adaptive' })

/** Folds energies; the best is the lowest so far. */
function after(energies: readonly number[]): Progress {
  let best = Infinity
  return energies.reduce((progress, energy) => {
    best = Math.min(best, energy)
    return advance(progress, { energy, gradientNorm: 1, best }, limits)
  }, beforeFirstStep)
}

describe('rest', () => {
  it('is two steps in a row that add less than a hundredth to the fall so far', () => {
    expect(atRest(after([20, 10, 9.99]), limits)).toBe(false)
    expect(atRest(after([20, 10, 9.99, 9.98]), limits)).toBe(true)
    expect(atRest(after([20, 10, 9.99, 9.7, 9.69]), limits)).toBe(false)
    expect(after([20, 10, 9.99, 9.7, 9.69]).idle).toBe(1)
    expect(atRest(after([20, 10, 12, 15]), limits)).toBe(true)
  })

  it('does not depend on where an energy has its zero, nor on its unit', () => {
    const energies = [20, 10, 9.95, 9.8, 9.79, 9.78, 9.5, 9.4, 9.39, 9.385]
    for (const [shift, unit] of [
      [0, 1],
      [-1000, 1],
      [5000, 1],
      [-3, 1e-3],
    ] as const)
      for (let length = 1; length <= energies.length; length++)
        expect(after(energies.slice(0, length).map((e) => (e + shift) * unit)).idle).toBe(
          after(energies.slice(0, length)).idle,
        )
  })

  it('waits for the least number of steps, and for a first answer', () => {
    const still = after([5, 5, 5, 5])
    expect(atRest(still, limits)).toBe(true)
    expect(atRest(still, { ...limits, minSteps: 5 })).toBe(false)
    const unjudged = advance(
      beforeFirstStep,
      { energy: 3, gradientNorm: 1, best: Infinity },
      limits,
    )
    expect(unjudged.idle).toBe(0)
  })

  it('is over when the answer is taken up again', () => {
    expect(reopen(after([5, 5, 5, 5]), 'converged').idle).toBe(0)
  })
})

describe('turns', () => {
  const turns = (allocation: 'even' | 'adaptive', stopped: boolean[]) =>
    stopped.flatMap((_, i) => (hasTurn(allocation, stopped, i) ? i : []))

  it('are of all that have not stopped, or of the first of them', () => {
    expect(turns('even', [false, true, false])).toEqual([0, 2])
    expect(turns('adaptive', [false, true, false])).toEqual([0])
    expect(turns('adaptive', [true, true, false])).toEqual([2])
    expect(turns('adaptive', [true, true])).toEqual([])
  })

  it('share one total', () => {
    expect(totalSteps(budget({ maxSteps: 7, candidates: 3 }))).toBe(21)
    expect(totalSteps(unbounded({ candidates: 3 }))).toBe(Infinity)
  })
})
