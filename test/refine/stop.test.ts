import { describe, expect, it } from 'vitest'
import type { Budget, StopReason } from '../../src/refine/budget.js'
import {
  advance,
  beforeFirstStep,
  close,
  decide,
  exhausted,
  extend,
  reopen,
  type Progress,
} from '../../src/refine/stop.js'
import { budget, unbounded } from '../support/engine-bench.js'

interface Outcome {
  reason: StopReason | undefined
  steps: number
}

/** Runs through energies, one second a step, until a rule holds. The best is the lowest so far. */
function descend(limits: Budget, energies: readonly number[], gradientNorm = 1): Outcome {
  let progress = beforeFirstStep
  let best = Infinity
  for (const [i, energy] of energies.entries()) {
    best = Math.min(best, energy)
    progress = advance(progress, { energy, gradientNorm, best }, limits)
    const reason = decide(limits, progress, i + 1)
    if (reason) return { reason, steps: progress.steps }
  }
  return { reason: undefined, steps: progress.steps }
}

const falling = Array.from({ length: 100 }, (_, i) => 2 ** -i)
const level = [8, 4, 4, 4, 4, 4, 4, 4, 4]

describe('line search', () => {
  const sizes = (energies: readonly number[], limits = unbounded({ lineSearch: true })) => {
    let progress = beforeFirstStep
    return energies.map((energy) => {
      progress = advance(progress, { energy, gradientNorm: 1, best: energy }, limits)
      return progress.searched
    })
  }

  it('halves the step size after each step not taken, and doubles it after one taken', () => {
    expect(sizes([8, 8, 8, 4, 3, 2, 2])).toEqual([1, 0.5, 0.25, 0.5, 1, 1, 0.5])
    expect(sizes([8, 8, 8], unbounded())).toEqual([1, 1, 1])
  })

  it('counts a step not taken as calm only when no shorter one is left', () => {
    const limits = unbounded({ lineSearch: true, tolerance: 1e-3, patience: 2 })
    const stuck = [8, ...new Array<number>(30).fill(4)]
    expect(descend(limits, stuck)).toEqual({ reason: 'converged', steps: 15 })
  })
})

describe('convergence', () => {
  it('needs patience steps in a row within the tolerance', () => {
    const limits = unbounded({ tolerance: 0, patience: 3 })
    expect(descend(limits, level)).toEqual({ reason: 'converged', steps: 5 })
    expect(descend(limits, [4, 4, 4, 5, 5, 5, 5])).toEqual({ reason: 'converged', steps: 7 })
  })

  it('is relative to the energy, with a floor of 1e-6', () => {
    expect(descend(unbounded({ tolerance: 0.5, patience: 1 }), [8, 4, 2])).toMatchObject({
      steps: 3,
    })
    expect(descend(unbounded({ tolerance: 1, patience: 1 }), [8, 4])).toMatchObject({ steps: 2 })
    const near = unbounded({ tolerance: 0.5, patience: 1 })
    expect(descend(near, [1e-6, 0.6e-6, 0]).steps).toBe(2)
  })

  it('never ends an answer before minSteps', () => {
    const limits = unbounded({ tolerance: 0, patience: 1, minSteps: 7 })
    expect(descend(limits, level)).toEqual({ reason: 'converged', steps: 7 })
    expect(descend(unbounded({ gradientTolerance: 2, minSteps: 4 }), falling).steps).toBe(4)
  })

  it('also holds where the gradient is flat', () => {
    expect(descend(unbounded({ gradientTolerance: 1 }), falling, 1).reason).toBe('converged')
    expect(descend(unbounded({ gradientTolerance: 0.9 }), falling, 1).reason).toBeUndefined()
  })

  it('is not looked for without a tolerance', () => {
    expect(descend(unbounded(), level).reason).toBeUndefined()
    expect(descend(unbounded({ plateau: 2 }), level).reason).toBeUndefined()
  })
})

describe('a plateau', () => {
  const trembling = [8, 6, 4, 5, 3.9, 6, 5, 4.5, 6, 5, 4.5, 6]
  const limits = unbounded({ tolerance: 0.1, patience: 3, plateau: 4 })

  it('is where the best energy has not fallen by the tolerance in so many steps', () => {
    expect(descend(limits, trembling)).toEqual({ reason: 'converged', steps: 7 })
    expect(descend({ ...limits, tolerance: 0.01 }, trembling)).toEqual({
      reason: 'converged',
      steps: 9,
    })
    expect(descend(unbounded({ tolerance: 0.1 }), trembling).reason).toBeUndefined()
  })

  it('is none while small falls add up to it', () => {
    const slow = Array.from({ length: 60 }, (_, i) => 0.96 ** i)
    expect(descend({ ...limits, patience: 100 }, slow).reason).toBeUndefined()
    expect(descend({ ...limits, patience: 100, plateau: 2 }, slow).steps).toBe(3)
  })

  it('is measured by magnitude where energies are below zero', () => {
    expect(descend(limits, [-8, -9, -8, -9.5, -8, -9, -8])).toEqual({
      reason: 'converged',
      steps: 6,
    })
  })

  it('never ends an answer before minSteps, and begins anew where one goes on', () => {
    expect(descend({ ...limits, minSteps: 11 }, trembling).steps).toBe(11)
    const stopped: Progress = { ...beforeFirstStep, steps: 9, mark: 4, since: 7 }
    expect(reopen(stopped, 'converged')).toMatchObject({ mark: 4, since: 0 })
    expect(reopen(stopped, 'max_steps')).toMatchObject({ mark: 4, since: 7 })
  })
})

describe('limits', () => {
  it.each([1, 2, 8])('end after %i steps', (maxSteps) => {
    expect(descend(budget({ maxSteps }), falling)).toEqual({ reason: 'max_steps', steps: maxSteps })
  })

  it('end after some seconds', () => {
    const limits = unbounded({ maxSeconds: 5 })
    expect(descend(limits, falling)).toEqual({ reason: 'max_seconds', steps: 5 })
  })

  it('end at an energy target', () => {
    const limits = budget({ maxSteps: 50, energyTarget: 0.25 })
    expect(descend(limits, falling)).toEqual({ reason: 'energy_target', steps: 3 })
  })

  it('forbid the first step where the budget is nothing', () => {
    expect(exhausted(budget({ maxSteps: 0 }), beforeFirstStep, 0)).toBe('max_steps')
    expect(exhausted(budget({ maxSteps: 1 }), beforeFirstStep, 0)).toBeUndefined()
  })
})

describe('the first rule that holds names the reason', () => {
  const at = (overrides: Partial<Progress>): Progress => ({
    ...beforeFirstStep,
    steps: 4,
    final: 1,
    best: 1,
    calm: 3,
    ...overrides,
  })
  const all = budget({ tolerance: 1, energyTarget: 5, maxSteps: 4, maxSeconds: 1 })

  it.each<[StopReason, Progress, Budget]>([
    ['diverged', at({ final: NaN }), all],
    ['diverged', at({ final: Infinity }), all],
    ['converged', at({}), all],
    ['energy_target', at({ calm: 0 }), all],
    ['max_steps', at({ calm: 0, best: 6 }), all],
    ['max_seconds', at({ calm: 0, best: 6, steps: 3 }), all],
    ['finished', at({ calm: 0, steps: 3 }), budget()],
  ])('%s', (reason, progress, limits) => {
    expect(decide(limits, progress, 2, 'finished')).toBe(reason)
  })
})

describe('extension', () => {
  it('of a running answer raises its limits', () => {
    const limits = budget({ maxSteps: 4, maxSeconds: 2 })
    expect(extend(limits, { steps: 3, seconds: 1 })).toMatchObject({ maxSteps: 7, maxSeconds: 3 })
    expect(extend(unbounded(), { steps: 3 })).not.toHaveProperty('maxSteps')
  })

  it('of a stopped one counts from where it stands', () => {
    const limits = budget({ maxSteps: 100, maxSeconds: 20 })
    const raised = extend(limits, { steps: 3, seconds: 4 }, { steps: 10, seconds: 5 })
    expect(raised).toMatchObject({ maxSteps: 13, maxSeconds: 9 })
  })

  it('makes convergence hold anew, and nothing else', () => {
    const stood = { ...beforeFirstStep, steps: 9, calm: 3 }
    expect(reopen(stood, 'converged').calm).toBe(0)
    expect(reopen(stood, 'max_steps').calm).toBe(3)
  })

  it('goes on from before the closing evaluation', () => {
    const limits = unbounded({ tolerance: 0, patience: 1 })
    const stepped = advance(beforeFirstStep, { energy: 3, gradientNorm: 1, best: 3 }, limits)
    const closed = close(stepped, { energy: 2, best: 2 })
    expect(closed).toMatchObject({ steps: 1, initial: 3, final: 2, best: 2 })
    expect(advance(stepped, { energy: 2, gradientNorm: 1, best: 2 }, limits).calm).toBe(0)
  })
})
