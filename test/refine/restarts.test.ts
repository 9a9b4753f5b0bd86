import { describe, expect, it } from 'vitest'
import { type Budget, restartPolicies, type Restarts } from '../../src/refine/budget.js'
import {
  accepts,
  breadth,
  firstStart,
  givesUp,
  modelStart,
  mostSteps,
  nextStart,
  startFrom,
  startNoise,
} from '../../src/refine/restarts.js'
import { beforeFirstStep } from '../../src/refine/stop.js'

const restarts = (overrides: Partial<Restarts> = {}): Restarts => ({
  after: 32,
  policy: 'mixed',
  alone: 0,
  ...overrides,
})
const budget: Budget = {
  minSteps: 0,
  patience: 3,
  tolerance: 1e-3,
  candidates: 4,
  select: 'min',
  noise: 0,
  keep: 'best',
  acceptLower: false,
}
const SEED = 41
const standing = [4, 1, 3, 2]

describe('a start', () => {
  it('is a function of seed, number of the descent and energies', () => {
    for (const policy of restartPolicies) {
      const start = (seed: number, descent: number) =>
        nextStart(restarts({ policy }), seed, descent, 0, standing, true)
      expect(start(SEED, 9)).toEqual(start(SEED, 9))
      expect(firstStart(restarts({ policy }), SEED, 1)).toEqual(
        firstStart(restarts({ policy }), SEED, 1),
      )
    }
  })

  it('of mixed is the model’s own at first, then noise of different deviations', () => {
    const noises = Array.from(
      { length: 40 },
      (_, descent) => firstStart(restarts(), SEED, descent).noise,
    )
    expect(noises[0]).toBe(0)
    expect(Math.min(...noises.slice(1))).toBeGreaterThan(0.2)
    expect(Math.max(...noises)).toBeLessThanOrEqual(1)
    expect(new Set(noises).size).toBeGreaterThan(20)
  })

  it('of mixed is a guess every second time, once there is something to guess from', () => {
    const guessed = (known: boolean) =>
      Array.from(
        { length: 8 },
        (_, descent) => nextStart(restarts(), SEED, descent, 0, [], known).guess !== undefined,
      )
    expect(guessed(true)).toEqual([true, false, true, false, true, false, true, false])
    expect(guessed(false)).not.toContain(true)
    const guess = nextStart(restarts(), SEED, 2, 0, [], true)
    expect(mostSteps(restarts(), guess)).toBe(12)
    expect(mostSteps(restarts(), modelStart)).toBe(32)
  })

  it('of partial, near and population is where the candidate stands, if it stands somewhere', () => {
    for (const policy of ['partial', 'near', 'population'] as const) {
      const at = (energies: number[]) =>
        nextStart(restarts({ policy }), SEED, 9, 1, energies, true).from
      expect(at(standing)).toBe(1)
      expect(at([Infinity, Infinity, Infinity, Infinity])).toBeUndefined()
    }
  })

  it('of population is that of a better candidate for those of the worse half', () => {
    const parents = Array.from(
      { length: 50 },
      (_, descent) =>
        nextStart(restarts({ policy: 'population' }), SEED, descent, 0, standing, true).from,
    )
    expect(new Set(parents)).toEqual(new Set([1, 3]))
  })

  it('meets the share of the blanks that it names, and no position that is known', () => {
    const state = new Float32Array(40 * 3).fill(5)
    const moving = Array.from({ length: 40 }, (_, i) => i % 4 !== 0)
    const from = { from: 0, noise: 1, share: 0.5, anew: true }
    const start = startFrom(state, from, moving, SEED, 7)
    const changed = moving.map((_, i) =>
      start.subarray(3 * i, 3 * i + 3).some((value) => value !== 5),
    )
    expect(changed.filter((is, i) => is && !moving[i])).toEqual([])
    const share = changed.filter(Boolean).length / moving.filter(Boolean).length
    expect(share).toBeGreaterThan(0.25)
    expect(share).toBeLessThan(0.75)
    expect(startFrom(state, from, moving, SEED, 7)).toEqual(start)
    expect(startFrom(state, from, moving, SEED, 8)).not.toEqual(start)
    const added = startFrom(state, { ...from, anew: false, share: 1 }, moving, SEED, 7)
    const mean = added.reduce((sum, value) => sum + value, 0) / added.length
    expect(Math.abs(mean - 5)).toBeLessThan(0.5)
  })

  it('adds its noise to that of the budget in the first step, where it is the model’s own', () => {
    const noisy = { noise: 3, share: 1, anew: false }
    expect(startNoise(noisy, 0, 4)).toBe(5)
    expect(startNoise(noisy, 1, 4)).toBe(4)
    expect(startNoise({ ...noisy, from: 0 }, 0, 4)).toBe(4)
  })
})

describe('the number of candidates that descend at a time', () => {
  it('is one at first, and doubles whenever the steps have doubled', () => {
    const widthAt = (steps: number) => breadth(restarts({ alone: 6 }), steps).width
    expect([0, 5, 6, 11, 12, 23, 24, 47, 48].map(widthAt)).toEqual([1, 1, 2, 2, 4, 4, 8, 8, 16])
    for (let steps = 0; steps < 100; steps++) {
      const { until, width } = breadth(restarts({ alone: 6 }), steps)
      expect(widthAt(until - 1)).toBe(width)
      expect(widthAt(until)).toBe(2 * width)
    }
  })

  it('has no bound where none goes alone', () => {
    expect(breadth(restarts({ alone: 0 }), 0).width).toBe(Infinity)
  })
})

describe('acceptance', () => {
  it('of near takes every lower energy, few that are much higher, none that is not finite', () => {
    const near = restarts({ policy: 'near' })
    const share = (led: number) =>
      Array.from({ length: 400 }, (_, descent) => accepts(near, SEED, descent, led, 10)).filter(
        Boolean,
      ).length / 400
    expect(share(10)).toBe(1)
    expect(share(10.5)).toBeGreaterThan(Math.exp(-1) - 0.1)
    expect(share(10.5)).toBeLessThan(Math.exp(-1) + 0.1)
    expect(share(20)).toBe(0)
    expect(share(NaN)).toBe(0)
  })

  it('of partial takes whatever is finite', () => {
    const partial = restarts({ policy: 'partial' })
    expect(accepts(partial, SEED, 3, 1e6, 1)).toBe(true)
    expect(accepts(partial, SEED, 3, NaN, 1)).toBe(false)
  })
})

describe('a descent is over', () => {
  const at = (steps: number, overrides = {}) => {
    return { ...beforeFirstStep, steps, final: 3, best: 3, ...overrides }
  }

  it('after its steps, when it has converged, and when its energy is not finite', () => {
    expect(givesUp(restarts(), budget, at(31), 32)).toBeUndefined()
    expect(givesUp(restarts(), budget, at(32), 32)).toBe('steps')
    expect(givesUp(restarts(), budget, at(9, { calmSteps: 3 }), 32)).toBe('converged')
    expect(givesUp(restarts(), budget, at(9, { final: NaN }), 32)).toBe('diverged')
  })

  it('of plateau when its best energy has stood still', () => {
    const plateau = restarts({ after: 'plateau' })
    expect(givesUp(plateau, budget, at(1000), Infinity)).toBeUndefined()
    expect(givesUp(plateau, budget, at(20, { idleSteps: 8 }), Infinity)).toBe('converged')
  })
})
