import { describe, expect, it } from 'vitest'
import {
  END,
  EngineBench,
  enginesInTime,
  type BenchOptions,
  alphabet,
  budget,
  greedy,
  requestOf,
  letters,
  unbounded,
} from '../support/engine-bench.js'

const oneByOne = {
  model: { answer: { block: 1 }, energy: { kind: 'head' as const } },
  vocabulary: 27,
}

describe.each(enginesInTime)('with an engine that answers $when', ({ late }) => {
  const benchOf = (options: BenchOptions = {}) => new EngineBench({ ...options, late })

  describe('one token at a time', () => {
    it('writes a text that the texts of its answers add up to', async () => {
      const bench = await benchOf(oneByOne).run(requestOf('a'))
      const finished = bench.finished('a')
      const answers = bench.settled('a')
      expect(finished.finishReason).toBe('length')
      expect(finished.text).toHaveLength(8)
      expect(answers.map(({ text }) => text).join('')).toBe(finished.text)
      expect(answers.map(({ position }) => position)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
      expect(finished.usage).toEqual({ promptTokens: 16, completionTokens: 8 })
      expect(finished.refinement).toMatchObject({
        steps: 32,
        candidates: 1,
        stop_reason: 'max_steps',
      })
    })

    it('lowers the energy, and reports it at every step', async () => {
      const bench = await benchOf(oneByOne).run(requestOf('a', { maxTokens: 1, reportSteps: true }))
      const steps = bench.of('a', 'step')
      expect(steps.map(({ step }) => step)).toEqual([1, 2, 3, 4])
      const energies = steps.map(({ energy }) => energy)
      expect([...energies].sort((a, b) => b - a)).toEqual(energies)
      const { initial, final, best } = bench.finished('a').refinement.energy
      expect(initial).toBe(energies[0])
      expect(final).toBeLessThan(energies[3] as number)
      expect(best).toBe(final)
      expect(steps[3]?.text).toBe(bench.finished('a').text)
      const probabilities = steps[3]?.top.map(({ probability }) => probability) ?? []
      expect(probabilities).toHaveLength(5)
      expect([...probabilities].sort((a, b) => b - a)).toEqual(probabilities)
    })

    it('never raises the energy with a line search, where steps of that size would', async () => {
      const energies = async (lineSearch: boolean) => {
        const limits = budget({ maxSteps: 12, stepSize: 3, lineSearch })
        const request = requestOf('a', { maxTokens: 1, reportSteps: true, budget: limits })
        return (await benchOf(oneByOne).run(request)).of('a', 'step').map(({ energy }) => energy)
      }
      const [wild, searched] = [await energies(false), await energies(true)]
      expect(wild.at(-1)).toBeGreaterThan(wild[0] as number)
      expect([...searched].sort((a, b) => b - a)).toEqual(searched)
      expect(searched.at(-1)).toBeLessThan((searched[0] as number) / 100)
    })

    it('ends at a stop text that straddles tokens, and leaves it out', async () => {
      const whole = (await benchOf(oneByOne).run(requestOf('a'))).finished('a').text
      const bench = await benchOf(oneByOne).run(requestOf('a', { stop: [whole.slice(2, 5)] }))
      expect(bench.finished('a')).toMatchObject({ finishReason: 'stop', text: whole.slice(0, 2) })
      const streamed = bench.settled('a').map(({ text }) => text)
      expect(streamed.join('')).toBe(whole.slice(0, 2))
    })

    it('hands out text that only begins like a stop text', async () => {
      const whole = (await benchOf(oneByOne).run(requestOf('a'))).finished('a').text
      const bench = await benchOf(oneByOne).run(requestOf('a', { stop: [`${whole.slice(-2)}!`] }))
      expect(bench.finished('a').text).toBe(whole)
      expect(
        bench
          .settled('a')
          .map(({ text }) => text)
          .join(''),
      ).toBe(whole)
    })

    it('ends at the end-of-text token, and leaves it out', async () => {
      const bench = benchOf({ ...oneByOne, vocabulary: 28 })
      await bench.run(
        requestOf('a', {
          maxTokens: 100,
          sampling: { ...greedy, logitBias: { [alphabet.length]: 60 } },
        }),
      )
      const { finishReason, text } = bench.finished('a')
      expect(finishReason).toBe('stop')
      expect(text).not.toContain(END)
      expect(text.length).toBeLessThan(100)
    })

    it('reports log-probabilities of the chosen token and the alternatives', async () => {
      const bench = await benchOf(oneByOne).run(requestOf('a', { maxTokens: 2, logprobs: 3 }))
      const [first] = bench.settled('a')
      const [entry] = first?.logprobs ?? []
      expect(entry?.token).toBe(first?.text)
      expect(entry?.top).toHaveLength(3)
      expect(entry?.top[0]).toEqual({ token: entry?.token, logprob: entry?.logprob })
      expect(entry?.logprob).toBeLessThanOrEqual(0)
    })

    it('samples the same text from the same seed, and another text from another seed', async () => {
      const sampled = async (seed: number) =>
        (
          await benchOf(oneByOne).run(
            requestOf('a', { maxTokens: 20, sampling: { ...greedy, temperature: 5, seed } }),
          )
        ).finished('a').text
      expect(await sampled(3)).toBe(await sampled(3))
      expect(await sampled(3)).not.toBe(await sampled(4))
    })
  })

  describe('blocks', () => {
    it('emits no more than maxTokens of the last block', async () => {
      const bench = await benchOf({ vocabulary: 27 }).run(requestOf('a', { maxTokens: 6 }))
      expect(bench.finished('a').text).toHaveLength(6)
      expect(bench.settled('a').map(({ tokens }) => tokens)).toEqual([4, 2])
    })

    it('reports both parts of a residual energy', async () => {
      const { refinement } = (await benchOf().run(requestOf('a', { maxTokens: 4 }))).finished('a')
      expect(refinement.disagreement).toBe(refinement.energy.final)
      expect(refinement.doubt).toBe(0)
    })
  })

  describe('templates', () => {
    const template = 'a_c__f gh_'
    const fits = /^a.c..f gh.$/

    it.each([1, 4, 10, 16])('fill the blanks and keep the rest, K = %i', async (block) => {
      const bench = benchOf({ vocabulary: 27, model: { answer: { block } } })
      await bench.run(requestOf('a', { template, maxTokens: 1, stop: ['c'] }))
      const { text, finishReason, usage } = bench.finished('a')
      expect(text).toMatch(fits)
      expect(finishReason).toBe('stop')
      expect(usage.completionTokens).toBe(10)
      expect(
        bench
          .settled('a')
          .map((event) => event.text)
          .join(''),
      ).toBe(text)
    })

    it('observe known tokens without descent', async () => {
      const bench = benchOf({ vocabulary: 27, model: { answer: { block: 1 } } })
      await bench.run(requestOf('a', { template }))
      expect(bench.finished('a').refinement.steps).toBe(4 * 4)
      expect(bench.settled('a').map(({ position }) => position)).toEqual([1, 3, 4, 9])
    })

    it.each([
      // The block begins where the known text on the right of the first blank still fits.
      ['abcdefgh_jklm', 4, ['abcdefgh', 4]],
      ['abcdefgh_j', 4, ['abcdef', 4]],
      ['a_cdefghijk_m', 4, ['a', 4, 'fghi', 4]],
      ['_b', 4, [4]],
    ] as const)(
      'settle blanks in blocks that see what follows them: %s',
      async (text, block, parts) => {
        const bench = benchOf({ vocabulary: 27, model: { answer: { block } } })
        const begun: string[] = []
        const begin = bench.engine.begin.bind(bench.engine)
        const observe = bench.engine.observe.bind(bench.engine)
        const seen: number[] = []
        bench.engine.observe = (rows) => {
          for (const { tokens } of rows) seen.push(...tokens)
          observe(rows)
        }
        bench.engine.begin = (rows) => {
          for (const { clamped } of rows) begun.push(`${seen.length}:${(clamped ?? []).join()}`)
          begin(rows)
        }
        await bench.run(requestOf('a', { prompt: '', template: text }))
        const start = 1
        let at = 0
        const expected: string[] = []
        for (const part of parts) {
          if (typeof part === 'string') at += part.length
          else {
            const known = Array.from({ length: block }, (_, i) => {
              const letter = text[at + i]
              return letter === undefined || letter === '_' ? -1 : letter.charCodeAt(0) - 97
            })
            expected.push(`${start + at}:${known.join()}`)
            at += block
          }
        }
        expect(begun).toEqual(expected)
        expect(bench.finished('a').text).toMatch(new RegExp(`^${text.replaceAll('_', '.')}$`))
      },
    )

    it('of free text take no more room than their blocks reach', async () => {
      const model = { context_length: 16, answer: { block: 4 } }
      const bench = benchOf({ vocabulary: 27, model })
      await bench.run(requestOf('a', { prompt: '', template: 'a_cdefghijk_m' }))
      expect(bench.finished('a').text).toHaveLength(13)
    })

    it('need no prompt, and no begin-of-text token', async () => {
      const bench = benchOf({ vocabulary: 27, tokenizer: letters(false) })
      await bench.run(requestOf('a', { prompt: '', template: '____' }))
      expect(bench.finished('a').text).toHaveLength(4)
    })

    it('show known tokens in every step event', async () => {
      const bench = benchOf({ vocabulary: 27 })
      await bench.run(requestOf('a', { template: 'ab_d', reportSteps: true }))
      const texts = bench.of('a', 'step').map(({ text }) => text)
      expect(texts).toHaveLength(4)
      for (const text of texts) expect(text).toMatch(/^ab.d$/)
    })
  })

  describe('candidates', () => {
    const noisy = {
      model: { answer: { block: 1, start: 'noise' as const }, energy: { kind: 'head' as const } },
    }
    const energyOf = async (select: 'min' | 'max', candidates: number) =>
      (
        await benchOf(noisy).run(
          requestOf('a', { maxTokens: 1, budget: budget({ candidates, select }) }),
        )
      ).finished('a').refinement

    it('become the answer of lowest energy, or of highest for ablations', async () => {
      const alone = (await energyOf('min', 1)).energy.best
      const among = await energyOf('min', 5)
      expect(among.candidates).toBe(5)
      expect(among.energy.best).toBeLessThan(alone)
      expect((await energyOf('max', 5)).energy.best).toBeGreaterThanOrEqual(alone)
    })

    it('stop each by its own energies', async () => {
      const bench = benchOf(noisy)
      const request = requestOf('a', {
        maxTokens: 1,
        reportSteps: true,
        budget: budget({ candidates: 3, maxSteps: 100, gradientTolerance: 0.05 }),
      })
      await bench.run(request)
      const steps = [0, 1, 2].map(
        (candidate) =>
          bench.of('a', 'step').filter((event) => event.candidate === candidate).length,
      )
      expect(new Set(steps).size).toBeGreaterThan(1)
      expect(bench.finished('a').refinement.stop_reason).toBe('converged')
    })
  })

  describe('budgets', () => {
    const refine = async (limits: Parameters<typeof budget>[0]) => {
      const bench = benchOf(oneByOne)
      await bench.run(requestOf('a', { maxTokens: 1, budget: budget(limits) }))
      return bench.finished('a').refinement
    }

    it.each([1, 2, 8])('stops after %i steps', async (maxSteps) => {
      expect(await refine({ maxSteps })).toMatchObject({
        steps: maxSteps,
        stop_reason: 'max_steps',
      })
    })

    it('refines without bound until it has converged', async () => {
      const bench = benchOf(oneByOne)
      const limits = unbounded({ tolerance: 1e-3, patience: 2 })
      await bench.run(requestOf('a', { maxTokens: 1, budget: limits }))
      const { refinement } = bench.finished('a')
      expect(refinement).toMatchObject({ stop_reason: 'converged', converged: true })
      expect(refinement.steps).toBeGreaterThan(8)
      expect(refinement.energy.best).toBeLessThan(1e-6)
    })

    it('stops at an energy target, and at a number of seconds', async () => {
      const target = await refine({ maxSteps: 100, energyTarget: 0.01 })
      expect(target.stop_reason).toBe('energy_target')
      expect(target.energy.best).toBeLessThanOrEqual(0.01)
      const timed = await refine({ maxSteps: 100, maxSeconds: 0.01 })
      expect(timed.stop_reason).toBe('max_seconds')
      expect(timed.steps).toBeGreaterThan(8)
      expect(timed.steps).toBeLessThan(13)
    })

    it('reads a draft without a step', async () => {
      const bench = benchOf({ model: { answer: { block: 1, start: 'draft' } } })
      await bench.run(requestOf('a', { maxTokens: 3, budget: budget({ maxSteps: 0 }) }))
      const { text, refinement } = bench.finished('a')
      expect(text).toHaveLength(3)
      expect(refinement).toMatchObject({ steps: 0, stop_reason: 'max_steps' })
      expect(refinement.energy.final).toBeGreaterThan(0)
    })
  })

  describe('a request that cannot run', () => {
    const submit =
      (overrides: Parameters<typeof requestOf>[1], options = {}) =>
      () =>
        benchOf(options).core.submit(requestOf('a', overrides))
    const sized = { model: { template: { blank: '_', length: 4 } } }

    it.each([
      ['an empty prompt', { prompt: '' }, {}, 'empty_prompt', 'prompt'],
      ['a foreign character', { prompt: 'Ü' }, {}, 'invalid_request', 'prompt'],
      ['a foreign character in a template', { template: 'Ü_' }, {}, 'invalid_request', 'template'],
      ['no tokens', { maxTokens: 0 }, {}, 'out_of_range', 'max_tokens'],
      ['NaN as a number of tokens', { maxTokens: NaN }, {}, 'out_of_range', 'max_tokens'],
      ['a foreign token', { prompt: [3, 28] }, {}, 'out_of_range', 'prompt'],
      ['a fraction of a token', { prompt: [0.5] }, {}, 'out_of_range', 'prompt'],
      [
        'a prompt beyond the context',
        { prompt: 'x'.repeat(252) },
        {},
        'context_length_exceeded',
        'prompt',
      ],
      ['a template without blanks', { template: 'abc' }, {}, 'template_mismatch', 'template'],
      ['a short template', { template: 'a__' }, sized, 'template_mismatch', 'template'],
      ['no template where one is needed', {}, sized, 'template_mismatch', 'template'],
      [
        'more candidates than slots',
        { budget: budget({ candidates: 9 }) },
        {},
        'out_of_range',
        'refinement.candidates',
      ],
      [
        'more positions than the cache',
        { maxTokens: 100 },
        { capacity: { pages: 12 } },
        'out_of_range',
        'max_tokens',
      ],
    ])('refuses %s', (_name, overrides, options, code, param) => {
      expect(submit(overrides, options)).toThrow(
        expect.objectContaining({ code, facts: expect.objectContaining({ param }) as unknown }),
      )
    })

    it('takes the longest prompt that fits', async () => {
      const bench = await benchOf().run(requestOf('a', { prompt: 'x'.repeat(247) }))
      expect(bench.finished('a').usage.promptTokens).toBe(247)
    })
  })

  describe('failures', () => {
    const poison = alphabet.indexOf('q')

    it('fails the requests of a call that throws, and goes on with others', async () => {
      const bench = benchOf({ ...oneByOne, throwsAt: poison, vocabulary: 10 })
      bench.core.submit(requestOf('bad', { prompt: 'q' }))
      await bench.settle()
      expect(bench.of('bad', 'failed')[0]?.error).toMatchObject({ code: 'engine_failed' })
      await bench.run(requestOf('good'))
      expect(bench.finished('good').text).toHaveLength(8)
      expect(bench.collect()).toMatchObject({ slotsUsed: 0, pagesUsed: 0, running: 0 })
      expect(bench.engine.held).toEqual({ contexts: 0, slots: 0 })
    })

    it('fails an answer that never had a finite energy', async () => {
      const bench = await benchOf({ ...oneByOne, nanAt: poison }).run(
        requestOf('a', { prompt: 'q' }),
      )
      expect(bench.of('a', 'failed')[0]?.error.facts).toEqual({
        reason: 'the energy is not finite',
      })
      expect(bench.settled('a')).toEqual([])
      expect(bench.collect()).toMatchObject({ slotsUsed: 0, pagesUsed: 0 })
    })

    it('settles with the best answer so far when the energy is no longer finite', async () => {
      const bench = benchOf({ ...oneByOne, nanAt: poison, nanFrom: 3 })
      await bench.run(
        requestOf('a', { prompt: 'q', maxTokens: 1, budget: budget({ maxSteps: 50 }) }),
      )
      const { refinement, text } = bench.finished('a')
      expect(refinement.stop_reason).toBe('diverged')
      expect(Number.isFinite(refinement.energy.best)).toBe(true)
      expect(text).toHaveLength(1)
    })
  })
})

describe('a step in flight', () => {
  it('refuses changes of requests, and another step', async () => {
    const bench = new EngineBench({ late: true })
    bench.core.submit(requestOf('a', { maxTokens: 1 }))
    const step = bench.core.step()
    const inFlight = expect.objectContaining({
      message: expect.stringContaining('in flight') as string,
    }) as Error
    expect(() => bench.core.submit(requestOf('b'))).toThrow(inFlight)
    expect(() => bench.core.control('a', { type: 'cancel' })).toThrow(inFlight)
    expect(() => bench.core.expire()).toThrow(inFlight)
    await expect(bench.core.step()).rejects.toThrow(inFlight)
    await step
    bench.core.control('a', { type: 'finish' })
    await bench.settle()
    expect(bench.finished('a').refinement.steps).toBe(1)
  })
})
