import { describe, expect, it } from 'vitest'
import { atRest, hasTurn, totalSteps } from '../../src/refine/allocation.js'
import { advance, beforeFirstStep, reopen, type Progress } from '../../src/refine/stop.js'
import { budget, unbounded } from '../support/engine-bench.js'

const limits = budget({ maxSteps: 100, allocation: 'adaptive' })

/** The progress after steps with these energies. The best energy is the lowest so far. */
function after(energies: readonly number[]): Progress {
  let best = Infinity
  return energies.reduce((progress, energy) => {
    best = Math.min(best, energy)
    return advance(progress, { energy, gradientNorm: 1, best }, limits)
  }, beforeFirstStep)
}

describe('a candidate at rest', () => {
  it('has taken two steps in a row that each add less than 1 % to the fall so far', () => {
    expect(atRest(after([20, 10, 9.99]), limits)).toBe(false)
    expect(atRest(after([20, 10, 9.99, 9.98]), limits)).toBe(true)
    expect(atRest(after([20, 10, 9.99, 9.7, 9.69]), limits)).toBe(false)
    expect(after([20, 10, 9.99, 9.7, 9.69]).idleSteps).toBe(1)
    expect(atRest(after([20, 10, 12, 15]), limits)).toBe(true)
  })

  it('does not depend on the zero or the unit of the energy', () => {
    const energies = [20, 10, 9.95, 9.8, 9.79, 9.78, 9.5, 9.4, 9.39, 9.385]
    for (const [shift, unit] of [
      [0, 1],
      [-1000, 1],
      [5000, 1],
      [-3, 1e-3],
    ] as const)
      for (let length = 1; length <= energies.length; length++)
        expect(after(energies.slice(0, length).map((e) => (e + shift) * unit)).idleSteps).toBe(
          after(energies.slice(0, length)).idleSteps,
        )
  })

  it('has taken min_steps and has seen a first answer', () => {
    const still = after([5, 5, 5, 5])
    expect(atRest(still, limits)).toBe(true)
    expect(atRest(still, { ...limits, minSteps: 5 })).toBe(false)
    const unjudged = advance(
      beforeFirstStep,
      { energy: 3, gradientNorm: 1, best: Infinity },
      limits,
    )
    expect(unjudged.idleSteps).toBe(0)
  })

  it('moves again when the answer is extended', () => {
    expect(reopen(after([5, 5, 5, 5]), 'converged').idleSteps).toBe(0)
  })
})

describe('allocation', () => {
  const turns = (allocation: 'even' | 'adaptive', stopped: boolean[]) =>
    stopped.flatMap((_, i) => (hasTurn(allocation, stopped, i) ? i : []))

  it('lets all candidates step that have not stopped, or the first of them', () => {
    expect(turns('even', [false, true, false])).toEqual([0, 2])
    expect(turns('adaptive', [false, true, false])).toEqual([0])
    expect(turns('adaptive', [true, true, false])).toEqual([2])
    expect(turns('adaptive', [true, true])).toEqual([])
  })

  it('counts the steps of all candidates together', () => {
    expect(totalSteps(budget({ maxSteps: 7, candidates: 3 }))).toBe(21)
    expect(totalSteps(unbounded({ candidates: 3 }))).toBe(Infinity)
  })
})
