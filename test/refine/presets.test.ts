import { describe, expect, it } from 'vitest'
import {
  type Caps,
  preset,
  resolveBudget,
  type RefinementRequest,
} from '../../src/refine/presets.js'

const plain = { steps: 6, answer: { start: 'zeros' as const } }
const drafting = { steps: 6, answer: { start: 'draft' as const } }
const caps: Caps = { maxSteps: 512, maxSeconds: 60, candidates: 8 }
const resolve = (refinement: RefinementRequest, model: typeof plain | typeof drafting = plain) =>
  resolveBudget(model, undefined, refinement, caps)

it('passes on how the candidates share their steps', () => {
  expect(resolve({ candidates: 4, allocation: 'adaptive' }).allocation).toBe('adaptive')
  expect(resolve({ candidates: 4 }).allocation).toBeUndefined()
})

describe('reasoning_effort', () => {
  it.each([
    ['none', 1],
    ['minimal', 1],
    ['low', 3],
    ['medium', 6],
    ['high', 12],
    ['xhigh', 24],
    ['max', undefined],
  ] as const)('%s takes %s steps of a model trained for 6', (effort, steps) => {
    expect(resolveBudget(plain, effort, undefined, caps).maxSteps).toBe(steps)
  })

  it('none takes no step where the model drafts', () => {
    expect(preset(drafting, 'none').maxSteps).toBe(0)
  })

  it('low takes at least one step of a model trained for one', () => {
    expect(preset({ ...plain, steps: 1 }, 'low').maxSteps).toBe(1)
  })

  it('only efforts beyond the trained steps end at convergence', () => {
    const tolerant = (['none', 'low', 'medium', 'high', 'xhigh', 'max'] as const).filter(
      (effort) => resolveBudget(plain, effort, undefined, caps).tolerance !== undefined,
    )
    expect(tolerant).toEqual(['high', 'xhigh', 'max'])
  })

  it('those end at the model’s energy target, unless the request names another', () => {
    const sure = { ...plain, energy_target: 0.5 }
    const targets = (['medium', 'high', 'xhigh', 'max'] as const).map(
      (effort) => resolveBudget(sure, effort, undefined, caps).energyTarget,
    )
    expect(targets).toEqual([undefined, 0.5, 0.5, 0.5])
    expect(resolveBudget(sure, 'max', { energy_target: -1 }, caps).energyTarget).toBe(-1)
  })

  it('stays within the operator’s caps on steps and seconds', () => {
    expect(resolveBudget(plain, 'xhigh', undefined, { ...caps, maxSteps: 10 }).maxSteps).toBe(10)
    expect(resolveBudget(plain, 'max', undefined, caps).maxSeconds).toBe(60)
  })
})

describe('restarts', () => {
  const sure = { ...plain, energy_target: 0.5 }
  const mixed = { after: 6, policy: 'mixed', alone: 3 }

  it.each([
    ['medium', undefined, 6, 1],
    ['high', mixed, 48, 8],
    ['xhigh', mixed, 384, 8],
    ['max', mixed, undefined, 8],
  ] as const)('%s has them where the model has an energy target', (effort, restarts, steps, m) => {
    const budget = resolveBudget(sure, effort, undefined, caps)
    expect(budget.restarts).toEqual(restarts)
    expect(budget.maxSteps).toBe(steps)
    expect(budget.candidates).toBe(m)
    expect(budget).not.toHaveProperty('plateau')
    expect(resolveBudget(plain, effort, undefined, caps).restarts).toBeUndefined()
  })

  it('of an effort give way to what the request says of candidates', () => {
    for (const asked of [{ candidates: 2 }, { allocation: 'even' }, { restarts: null }] as const) {
      const budget = resolveBudget(sure, 'high', asked, caps)
      expect(budget.restarts).toBeUndefined()
      expect(budget.maxSteps).toBe(12)
    }
  })

  it('are what the request asks for', () => {
    const asked = { after: 'plateau', keep: 3, most: 7, policy: 'near' } as const
    const budget = resolve({ restarts: asked })
    expect(budget.restarts).toEqual({ after: 'plateau', most: 7, policy: 'near', alone: 0 })
    expect(budget.candidates).toBe(3)
    expect(resolve({ candidates: 5, restarts: { most: null } }).candidates).toBe(5)
    const few = resolveBudget(plain, undefined, { restarts: {} }, { ...caps, candidates: 2 })
    expect(few.candidates).toBe(2)
  })

  it.each([
    ['refinement.restarts.after', { restarts: { after: 0 } }],
    ['refinement.restarts.after', { restarts: { after: 1.5 } }],
    ['refinement.restarts.keep', { restarts: { keep: 9 } }],
    ['refinement.restarts.most', { restarts: { most: -1 } }],
    ['refinement.restarts.keep', { candidates: 2, restarts: { keep: 3 } }],
    ['refinement.allocation', { allocation: 'adaptive', restarts: {} }],
  ] as const)('that cannot be are refused, naming %s', (param, asked) => {
    expect(() => resolve(asked)).toThrow(expect.objectContaining({ param }))
  })
})

describe('commits of a model', () => {
  const committing = { ...plain, steps: 16, commit: { after: 2 } }
  const of = (asked: RefinementRequest, effort?: 'low' | 'max') =>
    resolveBudget(committing, effort, asked, caps).commit

  it('are spread evenly over the steps of an answer', () => {
    const own = { after: 2, draw: 'temperature', reopen: false }
    expect(of({})).toEqual({ ...own, share: 2 / 16 })
    expect(of({}, 'low')).toEqual({ ...own, share: 2 / 8 })
    expect(of({ max_steps: 1 })).toEqual({ ...own, share: 1 })
    expect(of({}, 'max')).toEqual({ ...own, share: 2 / 128 })
    expect(resolve({}).commit).toBeUndefined()
  })

  it('give way to what the request says', () => {
    expect(of({ commit: { count: 3 } })).toMatchObject({ count: 3, after: 16, draw: 'most' })
    for (const asked of [{ commit: null }, { restarts: {} }, { allocation: 'adaptive' }] as const)
      expect(of(asked)).toBeUndefined()
  })
})

describe('the refinement object', () => {
  it('replaces fields of the effort’s preset', () => {
    const budget = resolveBudget(
      plain,
      'max',
      { max_steps: 9, select: 'max_gap', step_size: 0.5 },
      caps,
    )
    expect(budget).toEqual({
      maxSteps: 9,
      minSteps: 0,
      maxSeconds: 60,
      tolerance: 1e-3,
      patience: 3,
      plateau: 96,
      candidates: 1,
      select: 'max_gap',
      stepSize: 0.5,
      noise: 0,
      keep: 'best',
      acceptLower: false,
    })
  })

  it('asks for unbounded refinement with max_steps null', () => {
    expect(resolve({ max_steps: null, tolerance: 1e-4 })).not.toHaveProperty('maxSteps')
  })

  const bad: [keyof RefinementRequest, number][] = [
    ['max_steps', 0],
    ['max_steps', 513],
    ['max_steps', 1.5],
    ['max_steps', -1],
    ['max_steps', 1e308],
    ['min_steps', -1],
    ['min_steps', 7],
    ['max_seconds', 0],
    ['max_seconds', 61],
    ['tolerance', -1e-9],
    ['tolerance', 1.1],
    ['patience', 0],
    ['plateau', 0],
    ['plateau', 513],
    ['gradient_tolerance', -1],
    ['energy_target', 1e308],
    ['candidates', 0],
    ['candidates', 9],
    ['step_size', 0],
    ['step_size', 1e308],
    ['noise', -1],
    ...(['max_steps', 'min_steps', 'max_seconds', 'tolerance', 'patience'] as const).flatMap(
      (field): [keyof RefinementRequest, number][] => [
        [field, NaN],
        [field, Infinity],
      ],
    ),
  ]

  it.each(bad)('refuses %s %d with its name and its bound', (field, value) => {
    expect(() => resolve({ [field]: value })).toThrow(
      expect.objectContaining({
        code: 'out_of_range',
        facts: { param: `refinement.${field}`, bound: expect.any(String) as string, value },
      }),
    )
  })

  it('takes zero steps where the model drafts', () => {
    expect(resolve({ max_steps: 0 }, drafting).maxSteps).toBe(0)
  })
})
