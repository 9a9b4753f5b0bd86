/** `basin-ebt`: a model in one's own program, with the worker and the engine that the server has. */
import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from 'vitest'
import type { AnswerRequest, Model } from '../../src/library/library.js'
import type { RefinementRequest } from '../../src/refine/presets.js'
import type { StartFrame } from '../../src/server/schemas/frame-schema.js'
import { BasinError, openModel } from '../support/built-library.js'
import { shipped, writeModels } from '../support/process.js'

let model: Model
beforeAll(async () => {
  model = await openModel(`${writeModels()}/letters`, { engine: 'tfjs:wasm', threads: 1 })
})
afterAll(() => model.close())

describe('refine', () => {
  it('gives every step, and then the answer', async () => {
    const refinement = model.refine({ prompt: 'ab', maxTokens: 2, maxSteps: 5, seed: 3 })
    const steps = []
    for await (const step of refinement) steps.push(step)
    expect(steps.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5])
    const answer = await refinement.answer()
    expect(answer).toMatchObject({ finishReason: 'length', steps: 5, stopReason: 'max_steps' })
    expect(answer.energy.initial).toBe(steps[0]?.energy)
    expect(answer.text).toHaveLength(2)
  })

  it('is what generate gives for the same seed', async () => {
    const request = { prompt: 'ab', maxTokens: 4, maxSteps: 3, seed: 7, candidates: 2 }
    const watched = await model.refine(request).answer()
    expect(await model.generate(request)).toEqual(watched)
  })

  it('takes as many more steps as it is extended by', async () => {
    const refinement = model.refine({ prompt: 'a', maxTokens: 2, maxSteps: 40, seed: 1 })
    for await (const { step } of refinement) if (step === 1) refinement.extend({ steps: 10 })
    expect((await refinement.answer()).steps).toBe(50)
  })

  it('settles at once where it is finished', async () => {
    const request = { prompt: 'a', maxTokens: 2, maxSteps: null, maxSeconds: 50 }
    const refinement = model.refine(request)
    for await (const { step } of refinement) if (step === 3) refinement.finish()
    expect((await refinement.answer()).stopReason).toBe('finished')
  })

  it('throws the reason of a signal that is aborted', async () => {
    const controller = new AbortController()
    const { signal } = controller
    const refinement = model.refine({ prompt: 'a', maxTokens: 2, maxSteps: null, signal })
    const reading = (async () => {
      for await (const { step } of refinement) if (step === 2) controller.abort(new Error('enough'))
    })()
    await expect(reading).rejects.toThrow('enough')
    expect(() => model.refine({ prompt: 'a', signal })).toThrow('enough')
  })

  it('cancels a request whose loop is left', async () => {
    const refinement = model.refine({ prompt: 'a', maxTokens: 2, maxSteps: null, maxSeconds: 3000 })
    for await (const { step } of refinement) if (step === 2) break
    await expect(refinement.answer()).rejects.toThrow('was left')
    const next = await model.generate({
      prompt: 'a',
      maxTokens: 2,
      maxSteps: 1,
      candidates: 8,
      temperature: 0,
    })
    expect(next.text).toHaveLength(2)
  })

  it('refuses what the API refuses, by the name of the field', () => {
    const refused = (request: object, message: RegExp) => {
      expect(() => model.refine(request)).toThrow(BasinError)
      expect(() => model.refine(request)).toThrow(message)
    }
    refused({ prompt: 'a', maxSteps: 0 }, /refinement\.max_steps must be an integer from 1/)
    refused({ prompt: 'a', temperature: 3 }, /temperature/)
    refused({ prompt: 'a', candidates: 9 }, /refinement\.candidates must be .* to 8, got 9/)
    refused({ prompt: 'a', max_steps: 3 }, /max_steps: there is no such field/)
    refused({ prompt: 'a', model: 'letters' }, /model: there is no such field/)
    refused({ prompt: 'a', minP: 2 }, /min_p must be <= 1, got 2/)
  })

  it('has every field that a request of the API has', () => {
    type Camel<S extends string> = S extends `${infer A}_${infer B}`
      ? `${A}${Capitalize<Camel<B>>}`
      : S
    type Fields = Exclude<
      keyof StartFrame,
      'type' | 'hold' | 'model' | 'reasoning_effort' | 'refinement'
    >
    expectTypeOf<Camel<Fields>>().toExtend<keyof AnswerRequest>()
    expectTypeOf<Camel<keyof RefinementRequest>>().toExtend<keyof AnswerRequest>()
  })

  it('throws what is found out later in the loop', async () => {
    const unknown = model.generate({ prompt: 'A', maxTokens: 2 })
    await expect(unknown).rejects.toThrow(BasinError)
  })
})

it('scores answers: lower fits better, as the energy of the model says', async () => {
  const [first, second] = await model.score({ prompt: 'ab', answers: ['cd', 'ef'], by: 'energy' })
  expect(first?.tokens).toBe(2)
  expect(first?.energyPerToken).toBeCloseTo((first?.energy ?? 0) / 2)
  expect(first?.energy).not.toBe(second?.energy)
})

it('refuses a budget of scores and embeddings that the API refuses', async () => {
  const scored = model.score({ answers: ['b'], maxSteps: 1.5 })
  await expect(scored).rejects.toThrow(/refinement.max_steps: must be integer or null/)
  const misspelt = { input: 'a', maxstep: 3 }
  await expect(model.embed(misspelt)).rejects.toThrow(/maxstep: there is no such field/)
})

it('embeds texts as vectors of length 1', async () => {
  const vectors = await model.embed({ input: ['ab', 'cd'] })
  expect(vectors.map(({ length }) => length)).toEqual([model.config.dim, model.config.dim])
  for (const vector of vectors) expect(Math.hypot(...vector)).toBeCloseTo(1, 5)
})

it('turns text into tokens and back', async () => {
  expect(await model.detokenize(await model.tokenize('abc'))).toBe('abc')
})

it('says which models there are where it knows none of the name', async () => {
  await expect(openModel('no-such-model')).rejects.toThrow(/models of the package: .*sudoku6/)
})

it.skipIf(!shipped)(
  'opens a model of the package by its name, and solves its example',
  async () => {
    const sudoku = await openModel('sudoku6')
    try {
      const template = sudoku.config.template?.example ?? ''
      const { text } = await sudoku.generate({ template, effort: 'high' })
      expect(text).toHaveLength(template.length)
      expect(text).toMatch(new RegExp(`^${template.replaceAll('_', '[1-6]')}$`))
    } finally {
      await sudoku.close()
    }
  },
)

describe.runIf(shipped)('a request with terms and commits', () => {
  const template = '_4______6__1_5__2___45____1__63_____'

  it('says of each term whether the answer satisfies it, other models included', async () => {
    await using puzzles = await openModel('sudoku6', { threads: 1 })
    const { finishReason, terms, text } = await puzzles.generate({
      template,
      seed: 1,
      energyTerms: [
        { type: 'compare', less: 0, than: 2, weight: 5 },
        { type: 'model', model: 'sudoku6', tolerance: 100 },
      ],
    })
    expect(finishReason).toBe('stop')
    expect(terms?.map(({ satisfied, type }) => [type, satisfied])).toEqual([
      ['compare', Number(text[0]) < Number(text[2])],
      ['model', true],
    ])
    expect(() =>
      puzzles.refine({ template, energyTerms: [{ type: 'model', model: 'sudoku7' }] }),
    ).toThrow(/sudoku7/)
  })

  it('commits positions until the board is whole', async () => {
    await using puzzles = await openModel('sudoku6', { threads: 1 })
    const committed = []
    const commit = { share: 0.5, after: 4 }
    for await (const step of puzzles.refine({ template, seed: 1, maxSteps: 40, commit }))
      committed.push(step.committed ?? 0)
    expect(Math.max(...committed)).toBeGreaterThan(0)
  })
})
