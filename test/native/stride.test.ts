/** Answers in a row are what the verbs give one by one, number for number. */
import { describe, expect, it } from 'vitest'
import { createInterrupt, clear, raise } from '../../src/energy/interrupt.js'
import type { MultiStepRow } from '../../src/energy/engine.js'
import { modelOf } from '../support/models.js'
import { multiStepByVerbs } from '../support/quadratic-engine.js'
import { openNative } from './support.js'

const labels = [
  'latent residual amortized, K 1, candidate',
  'latent residual, K 1, draft from the context',
  'latent residual, K 1, anchored by its draft',
]

const plain: MultiStepRow = {
  ...{ contextId: 1, slot: 2, token: 4, from: 3, pages: [7, 2], most: 12, seconds: 60 },
  ...{ seed: 2 ** 40 + 5, answer: 3, draw: 3, which: 'best', temperature: 0 },
  steps: [0, 1, 2].map((step) => ({ step, landscape: 0, noise: 0 })),
}

const rows: [string, Partial<MultiStepRow>][] = [
  ['greedy', {}],
  ['drawn', { temperature: 1.3 }],
  ['of the last state', { which: 'last', temperature: 0.7 }],
  [
    'with noise, a step size and acceptance',
    {
      temperature: 1,
      steps: [0, 1].map((step) => ({
        ...{ step, landscape: 0, noise: 0.3, stepSize: 0.8, acceptLower: true },
      })),
    },
  ],
]

function opened(label: string) {
  const engine = openNative(modelOf(label))
  engine.observe([{ contextId: 1, tokens: [5, 3, 8], pages: [7] }])
  return engine
}

const toldBy = (answers: ReturnType<typeof multiStepByVerbs>) =>
  answers.map(({ token, steps }) => ({ token, steps }))

describe.each(labels)('a stride (%s)', (label) => {
  it.each(rows)('is what the verbs give: %s', (_, overrides) => {
    const row = { ...plain, ...overrides }
    const [one, other] = [opened(label), opened(label)]
    const wanted = toldBy(multiStepByVerbs(other, row))
    expect(wanted).toHaveLength(12)
    expect(toldBy(one.multiStep(row))).toEqual(wanted)
    const point = [{ slot: 2, which: 'best' as const }]
    expect(one.points(point)).toEqual(other.points(point))
    const tokens = wanted.map(({ token }) => token)
    const end = tokens.at(-1) as number
    const short = toldBy(one.multiStep({ ...row, end }))
    expect(short).toEqual(wanted.slice(0, tokens.indexOf(end) + 1))
    one.close()
    other.close()
  })

  it('ends after an answer when the bell rings, or its time is over, and goes on from there', () => {
    const engine = opened(label)
    const wanted = toldBy(engine.multiStep(plain))
    const bell = createInterrupt()
    raise(bell)
    expect(toldBy(engine.multiStep(plain, bell))).toEqual(wanted.slice(0, 1))
    clear(bell)
    expect(engine.multiStep({ ...plain, seconds: 0 }, bell)).toHaveLength(1)
    const [first] = wanted
    const rest = { token: first?.token ?? -1, from: 4, answer: 4, draw: 4, most: 11 }
    expect(toldBy(engine.multiStep({ ...plain, ...rest }, bell))).toEqual(wanted.slice(1))
    engine.close()
  })

  it('refuses what the verbs refuse, and goes on', () => {
    const engine = opened(label)
    for (const wrong of [
      { slot: 99 },
      { contextId: -1 },
      { token: 11 },
      { from: 9 },
      { pages: [7, 1e6] },
      { pages: [] },
      { steps: [] },
      { temperature: -1 },
      { temperature: NaN },
      { steps: [{ step: 0, landscape: 9, noise: 0 }] },
      { end: 11 },
    ])
      expect(() => engine.multiStep({ ...plain, ...wrong }), JSON.stringify(wrong)).toThrow(
        expect.objectContaining({ code: 'out_of_range' }) as Error,
      )
    expect(engine.multiStep(plain)).toHaveLength(12)
    engine.close()
  })
})

it('is refused to models whose answers are longer', () => {
  const engine = openNative(modelOf('latent residual amortized, K 4'))
  engine.observe([{ contextId: 1, tokens: [5, 3, 8], pages: [7] }])
  expect(() => engine.multiStep(plain)).toThrow(
    expect.objectContaining({
      facts: expect.objectContaining({ param: 'block' }) as object,
    }) as Error,
  )
  engine.close()
})
