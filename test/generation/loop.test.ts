import { describe, expect, it } from 'vitest'
import {
  END,
  LoopBench,
  alphabet,
  budget,
  greedy,
  jobOf,
  letters,
  unbounded,
} from '../support/loops.js'

const oneByOne = {
  model: { answer: { block: 1 }, energy: { kind: 'head' as const } },
  vocabulary: 27,
}

describe('one token at a time', () => {
  it('writes a text whose committed parts are the whole', () => {
    const bench = new LoopBench(oneByOne).run(jobOf('a'))
    const finished = bench.finished('a')
    const committed = bench.of('a', 'committed')
    expect(finished.finishReason).toBe('length')
    expect(finished.text).toHaveLength(8)
    expect(committed.map(({ text }) => text).join('')).toBe(finished.text)
    expect(committed.map(({ position }) => position)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    expect(finished.usage).toEqual({ promptTokens: 16, completionTokens: 8 })
    expect(finished.refinement).toMatchObject({
      steps: 32,
      candidates: 1,
      stop_reason: 'max_steps',
    })
  })

  it('lowers the energy, and says so at every step', () => {
    const bench = new LoopBench(oneByOne).run(jobOf('a', { maxTokens: 1, reportSteps: true }))
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

  it('never raises the energy with a line search, where steps of that size would', () => {
    const energies = (lineSearch: boolean) => {
      const limits = budget({ maxSteps: 12, stepSize: 3, lineSearch })
      const job = jobOf('a', { maxTokens: 1, reportSteps: true, budget: limits })
      return new LoopBench(oneByOne)
        .run(job)
        .of('a', 'step')
        .map(({ energy }) => energy)
    }
    const [wild, searched] = [energies(false), energies(true)]
    expect(wild.at(-1)).toBeGreaterThan(wild[0] as number)
    expect([...searched].sort((a, b) => b - a)).toEqual(searched)
    expect(searched.at(-1)).toBeLessThan((searched[0] as number) / 100)
  })

  it('ends at a stop text that straddles tokens, and leaves it out', () => {
    const whole = new LoopBench(oneByOne).run(jobOf('a')).finished('a').text
    const bench = new LoopBench(oneByOne).run(jobOf('a', { stop: [whole.slice(2, 5)] }))
    expect(bench.finished('a')).toMatchObject({ finishReason: 'stop', text: whole.slice(0, 2) })
    const streamed = bench.of('a', 'committed').map(({ text }) => text)
    expect(streamed.join('')).toBe(whole.slice(0, 2))
  })

  it('gives back text that only began like a stop text', () => {
    const whole = new LoopBench(oneByOne).run(jobOf('a')).finished('a').text
    const bench = new LoopBench(oneByOne).run(jobOf('a', { stop: [`${whole.slice(-2)}!`] }))
    expect(bench.finished('a').text).toBe(whole)
    expect(
      bench
        .of('a', 'committed')
        .map(({ text }) => text)
        .join(''),
    ).toBe(whole)
  })

  it('ends at the end-of-text token, which is no text', () => {
    const bench = new LoopBench({ ...oneByOne, vocabulary: 28 })
    bench.run(
      jobOf('a', {
        maxTokens: 100,
        sampling: { ...greedy, logitBias: { [alphabet.length]: 60 } },
      }),
    )
    const { finishReason, text } = bench.finished('a')
    expect(finishReason).toBe('stop')
    expect(text).not.toContain(END)
    expect(text.length).toBeLessThan(100)
  })

  it('reports log-probabilities of the chosen token and the alternatives', () => {
    const bench = new LoopBench(oneByOne).run(jobOf('a', { maxTokens: 2, logprobs: 3 }))
    const [first] = bench.of('a', 'committed')
    const [entry] = first?.logprobs ?? []
    expect(entry?.token).toBe(first?.text)
    expect(entry?.top).toHaveLength(3)
    expect(entry?.top[0]).toEqual({ token: entry?.token, logprob: entry?.logprob })
    expect(entry?.logprob).toBeLessThanOrEqual(0)
  })

  it('samples the same text from the same seed, and another from another', () => {
    const sampled = (seed: number) =>
      new LoopBench(oneByOne)
        .run(jobOf('a', { maxTokens: 20, sampling: { ...greedy, temperature: 5, seed } }))
        .finished('a').text
    expect(sampled(3)).toBe(sampled(3))
    expect(sampled(3)).not.toBe(sampled(4))
  })
})

describe('blocks', () => {
  it('emits no more than maxTokens of the last block', () => {
    const bench = new LoopBench({ vocabulary: 27 }).run(jobOf('a', { maxTokens: 6 }))
    expect(bench.finished('a').text).toHaveLength(6)
    expect(bench.of('a', 'committed').map(({ tokens }) => tokens)).toEqual([4, 2])
  })

  it('reports both parts of a residual energy', () => {
    const { refinement } = new LoopBench().run(jobOf('a', { maxTokens: 4 })).finished('a')
    expect(refinement.disagreement).toBe(refinement.energy.final)
    expect(refinement.doubt).toBe(0)
  })
})

describe('templates', () => {
  const template = 'a_c__f gh_'
  const fits = /^a.c..f gh.$/

  it.each([1, 4, 10, 16])('fills the blanks and keeps the rest, K = %i', (block) => {
    const bench = new LoopBench({ vocabulary: 27, model: { answer: { block } } })
    bench.run(jobOf('a', { template, maxTokens: 1, stop: ['c'] }))
    const { text, finishReason, usage } = bench.finished('a')
    expect(text).toMatch(fits)
    expect(finishReason).toBe('stop')
    expect(usage.completionTokens).toBe(10)
    expect(
      bench
        .of('a', 'committed')
        .map((event) => event.text)
        .join(''),
    ).toBe(text)
  })

  it('observes known tokens without descent', () => {
    const bench = new LoopBench({ vocabulary: 27, model: { answer: { block: 1 } } })
    bench.run(jobOf('a', { template }))
    expect(bench.finished('a').refinement.steps).toBe(4 * 4)
    expect(bench.of('a', 'committed').map(({ position }) => position)).toEqual([1, 3, 4, 9])
  })

  it('needs no prompt, and no begin-of-text', () => {
    const bench = new LoopBench({ vocabulary: 27, tokenizer: letters(false) })
    bench.run(jobOf('a', { prompt: '', template: '____' }))
    expect(bench.finished('a').text).toHaveLength(4)
  })

  it('shows the present reading with its known tokens', () => {
    const bench = new LoopBench({ vocabulary: 27 })
    bench.run(jobOf('a', { template: 'ab_d', reportSteps: true }))
    const texts = bench.of('a', 'step').map(({ text }) => text)
    expect(texts).toHaveLength(4)
    for (const text of texts) expect(text).toMatch(/^ab.d$/)
  })

  it('shows what each position reads where log-probabilities are asked for', () => {
    const bench = new LoopBench({ vocabulary: 27 })
    const job = { template: 'ab_d', reportSteps: true }
    bench.run(jobOf('a', { ...job, logprobs: 3 }), jobOf('b', job))
    for (const { positions, text, top } of bench.of('a', 'step')) {
      expect(positions).toHaveLength(4)
      expect(positions?.map(({ tokens }) => tokens[0]).join('')).toBe(text)
      expect(positions?.[0]?.probabilities[0]).toBe(1)
      expect(positions?.[2]?.tokens).toEqual(top.slice(0, 3).map(({ token }) => token))
      expect(positions?.[2]?.probabilities[0]).toBeCloseTo(top[0]?.probability ?? NaN, 4)
    }
    for (const event of bench.of('b', 'step')) expect(event).not.toHaveProperty('positions')
  })
})

describe('candidates', () => {
  const noisy = {
    model: { answer: { block: 1, start: 'noise' as const }, energy: { kind: 'head' as const } },
  }
  const energyOf = (select: 'min' | 'max', candidates: number) =>
    new LoopBench(noisy)
      .run(jobOf('a', { maxTokens: 1, budget: budget({ candidates, select }) }))
      .finished('a').refinement

  it('chooses the lowest energy among more, and the highest for ablations', () => {
    const alone = energyOf('min', 1).energy.best
    const among = energyOf('min', 5)
    expect(among.candidates).toBe(5)
    expect(among.energy.best).toBeLessThan(alone)
    expect(energyOf('max', 5).energy.best).toBeGreaterThanOrEqual(alone)
  })

  it('steps every candidate by its own stop rule', () => {
    const bench = new LoopBench(noisy)
    const job = jobOf('a', {
      maxTokens: 1,
      reportSteps: true,
      budget: budget({ candidates: 3, maxSteps: 100, gradientTolerance: 0.05 }),
    })
    bench.run(job)
    const steps = [0, 1, 2].map(
      (candidate) => bench.of('a', 'step').filter((event) => event.candidate === candidate).length,
    )
    expect(new Set(steps).size).toBeGreaterThan(1)
    expect(bench.finished('a').refinement.stop_reason).toBe('converged')
  })
})

describe('budgets', () => {
  const refine = (limits: Parameters<typeof budget>[0]) => {
    const bench = new LoopBench(oneByOne)
    bench.run(jobOf('a', { maxTokens: 1, budget: budget(limits) }))
    return bench.finished('a').refinement
  }

  it.each([1, 2, 8])('stops after %i steps', (maxSteps) => {
    expect(refine({ maxSteps })).toMatchObject({ steps: maxSteps, stop_reason: 'max_steps' })
  })

  it('refines without bound until it has converged', () => {
    const bench = new LoopBench(oneByOne)
    const limits = unbounded({ tolerance: 1e-3, patience: 2 })
    bench.run(jobOf('a', { maxTokens: 1, budget: limits }))
    const { refinement } = bench.finished('a')
    expect(refinement).toMatchObject({ stop_reason: 'converged', converged: true })
    expect(refinement.steps).toBeGreaterThan(8)
    expect(refinement.energy.best).toBeLessThan(1e-6)
  })

  it('stops at an energy target, and at a number of seconds', () => {
    const target = refine({ maxSteps: 100, energyTarget: 0.01 })
    expect(target.stop_reason).toBe('energy_target')
    expect(target.energy.best).toBeLessThanOrEqual(0.01)
    const timed = refine({ maxSteps: 100, maxSeconds: 0.01 })
    expect(timed.stop_reason).toBe('max_seconds')
    expect(timed.steps).toBeGreaterThan(8)
    expect(timed.steps).toBeLessThan(13)
  })

  it('reads a draft without any step', () => {
    const bench = new LoopBench({ model: { answer: { block: 1, start: 'draft' } } })
    bench.run(jobOf('a', { maxTokens: 3, budget: budget({ maxSteps: 0 }) }))
    const { text, refinement } = bench.finished('a')
    expect(text).toHaveLength(3)
    expect(refinement).toMatchObject({ steps: 0, stop_reason: 'max_steps' })
    expect(refinement.energy.final).toBeGreaterThan(0)
  })
})

describe('requests that cannot be', () => {
  const submit =
    (overrides: Parameters<typeof jobOf>[1], options = {}) =>
    () =>
      new LoopBench(options).loop.submit(jobOf('a', overrides))
  const sized = { model: { template: { blank: '_', length: 4 } } }

  it.each([
    ['an empty prompt', { prompt: '' }, {}, 'empty_prompt', 'prompt'],
    ['a foreign character', { prompt: 'Ü' }, {}, 'invalid_request', 'prompt'],
    ['a foreign character in a template', { template: 'Ü_' }, {}, 'invalid_request', 'template'],
    ['no tokens', { maxTokens: 0 }, {}, 'out_of_range', 'max_tokens'],
    ['a number of tokens that is none', { maxTokens: NaN }, {}, 'out_of_range', 'max_tokens'],
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

  it('takes the longest prompt that fits', () => {
    const bench = new LoopBench().run(jobOf('a', { prompt: 'x'.repeat(247) }))
    expect(bench.finished('a').usage.promptTokens).toBe(247)
  })
})

describe('failures', () => {
  const poison = alphabet.indexOf('q')

  it('fails the jobs of the batch that broke, and goes on', () => {
    const bench = new LoopBench({ ...oneByOne, throwsAt: poison, vocabulary: 10 })
    bench.loop.submit(jobOf('bad', { prompt: 'q' }))
    bench.settle()
    expect(bench.of('bad', 'failed')[0]?.error).toMatchObject({ code: 'engine_failed' })
    bench.run(jobOf('good'))
    expect(bench.finished('good').text).toHaveLength(8)
    expect(bench.collect()).toMatchObject({ slotsUsed: 0, pagesUsed: 0, running: 0 })
    expect(bench.engine.held).toEqual({ contexts: 0, slots: 0 })
  })

  it('fails an answer that never had a finite energy', () => {
    const bench = new LoopBench({ ...oneByOne, nanAt: poison }).run(jobOf('a', { prompt: 'q' }))
    expect(bench.of('a', 'failed')[0]?.error.facts).toEqual({ reason: 'the energy is not finite' })
    expect(bench.of('a', 'committed')).toEqual([])
    expect(bench.collect()).toMatchObject({ slotsUsed: 0, pagesUsed: 0 })
  })

  it('settles with the best finite answer when the energy leaves the numbers', () => {
    const bench = new LoopBench({ ...oneByOne, nanAt: poison, nanFrom: 3 })
    bench.run(jobOf('a', { prompt: 'q', maxTokens: 1, budget: budget({ maxSteps: 50 }) }))
    const { refinement, text } = bench.finished('a')
    expect(refinement.stop_reason).toBe('diverged')
    expect(Number.isFinite(refinement.energy.best)).toBe(true)
    expect(text).toHaveLength(1)
  })
})
