/** Work that nobody watches: several steps in a call, answers in a row, and what is told of them. */
import { describe, expect, it } from 'vitest'
import { createInterrupt, raise } from '../../src/energy/interrupt.js'
import { budget, jobOf, LoopBench, unbounded, type BenchOptions } from '../support/loops.js'

const model = { answer: { block: 1, start: 'draft' } } as const
const plain: BenchOptions = { model, vocabulary: 27 }
const striding: BenchOptions = { ...plain, strides: true }
/** Nearly, and exact in binary. */
const MILLISECOND = 2 ** -10
const long = (limits = {}) =>
  jobOf('a', { maxTokens: 1, budget: budget({ maxSteps: 100, ...limits }) })

describe('answers in a row', () => {
  it('are the text, the energies and the account that single ticks give, in fewer ticks', () => {
    const job = jobOf('a', { maxTokens: 40 })
    const run = (options: BenchOptions) => {
      const bench = new LoopBench(options)
      const seen = { calls: 0, steps: 0, observed: 0 }
      bench.watch(({ observedTokens, ticks }) => {
        seen.calls += ticks.length > 0 ? 1 : 0
        seen.observed += observedTokens
        for (const { rows, steps } of ticks) seen.steps += rows * steps
      })
      bench.run(job)
      return { seen, finished: bench.finished('a'), committed: bench.settled('a') }
    }
    const [one, other] = [run(striding), run(plain)]
    expect(one.finished).toEqual(other.finished)
    const told = (all: typeof one.committed) =>
      all.map((event) => ({ ...event, seconds: 0, ago: 0 }))
    expect(told(one.committed)).toEqual(told(other.committed))
    expect(one.seen).toMatchObject({ steps: 160, observed: 16 + 1 + 39 })
    expect(other.seen).toMatchObject({ steps: 160, observed: 16 + 1 + 39, calls: 160 })
    expect(one.seen.calls).toBe(4 + 1)
  })

  it('end at a stop text, and at the end-of-text token', () => {
    const whole = new LoopBench(plain).run(jobOf('a', { maxTokens: 30 })).finished('a').text
    const stop = [whole.slice(11, 14)]
    const bench = new LoopBench(striding).run(jobOf('a', { maxTokens: 30, stop }))
    expect(bench.finished('a')).toMatchObject({ finishReason: 'stop', text: whole.slice(0, 11) })
    expect(bench.engine.held).toEqual({ contexts: 0, slots: 0 })
    const free = { model }
    const job = jobOf('b', {
      prompt: 'end',
      maxTokens: 200,
      sampling: { ...long().sampling, temperature: 9, seed: 3 },
    })
    const [one, other] = [{ ...free, strides: true }, free].map((options) =>
      new LoopBench(options).run(job).finished('b'),
    )
    expect(other?.finishReason).toBe('stop')
    expect(one).toEqual(other)
  })

  it.each([
    { reportSteps: true },
    { hold: true },
    { logprobs: 1 },
    { template: 'on__ upon a ____' },
    { budget: budget({ candidates: 2 }) },
    { budget: budget({ tolerance: 0.01, patience: 1 }) },
    { budget: budget({ energyTarget: 0.01 }) },
    { budget: unbounded({ tolerance: 0.01 }) },
    { sampling: { ...long().sampling, temperature: 1, topP: 0.5 } },
    { sampling: { ...long().sampling, frequencyPenalty: 1 } },
  ])('are not for jobs that ask for more than their text: %o', (overrides) => {
    const job = jobOf('a', { maxTokens: 12, ...overrides })
    const bench = new LoopBench(striding)
    let strides = 0
    const { multiStep } = bench.engine
    Object.assign(bench.engine, {
      multiStep: (row: never) => {
        strides++
        return multiStep?.(row) ?? []
      },
    })
    expect(bench.run(job).finished('a')).toEqual(new LoopBench(plain).run(job).finished('a'))
    expect(strides).toBe(0)
    bench.run(jobOf('b', { maxTokens: 12 }))
    expect(strides).toBe(1)
  })

  it('are left where the energy leaves the numbers, to fail as they would alone', () => {
    const job = jobOf('a', { prompt: 'b', maxTokens: 30 })
    const text = new LoopBench(plain).run(job).finished('a').text
    const nanAt = alphabetIndex(text[20] as string)
    const [one, other] = [striding, plain].map((options) =>
      new LoopBench({ ...options, nanAt }).run(job).events.get('a')?.at(-1),
    )
    expect(one).toEqual(other)
  })
})

describe('several steps in a call', () => {
  const calls = (options: BenchOptions, ...jobs: ReturnType<typeof jobOf>[]) => {
    const bench = new LoopBench({ ...plain, ...options })
    const seen: number[] = []
    bench.watch(({ ticks }) => seen.push(...ticks.map(({ steps }) => steps)))
    bench.run(...jobs)
    return { seen, refinement: bench.finished('a').refinement }
  }

  it('are as many as sixteen milliseconds hold, where nobody can be heard meanwhile', () => {
    const { seen, refinement } = calls({ stepSeconds: MILLISECOND }, long())
    expect(seen.slice(0, 3)).toEqual([1, 16, 16])
    expect(seen.reduce((sum, steps) => sum + steps)).toBe(100)
    expect(refinement).toEqual(calls({}, long()).refinement)
  })

  it('are more where a bell rings for who wants something, and nobody does', () => {
    const bell = createInterrupt()
    expect(calls({ stepSeconds: MILLISECOND, bell }, long()).seen).toEqual([1, 99])
    const other = jobOf('b', { maxTokens: 1, budget: budget({ maxSteps: 100 }) })
    const both = (options: BenchOptions) =>
      calls({ stepSeconds: MILLISECOND, ...options }, long(), other).seen.slice(0, 2)
    expect(both({ bell })).toEqual([1, 51])
    expect(both({})).toEqual([1, 8])
    expect(both({ bell, capacity: { slots: 1 } })).toEqual([1, 16])
    raise(bell)
    expect(calls({ stepSeconds: MILLISECOND, bell }, long()).seen).toEqual(new Array(100).fill(1))
  })

  it('are single ones where a step is long, or is reported', () => {
    expect(calls({ stepSeconds: 0.009 }, long()).seen).toEqual(new Array(100).fill(1))
    const watched = { ...long(), reportSteps: true }
    expect(calls({ stepSeconds: MILLISECOND }, watched).seen).toEqual(new Array(100).fill(1))
  })

  it.each([
    { tolerance: 1e-3 },
    { tolerance: 1e-3, minSteps: 30 },
    { tolerance: 1e-2, plateau: 7, patience: 50 },
    { gradientTolerance: 0.01 },
    { energyTarget: 0.001 },
    { lineSearch: true, stepSize: 3 },
  ])('take no step too many: %o', (limits) => {
    const job = long(limits)
    const one = calls({ stepSeconds: MILLISECOND }, job)
    expect(one.refinement).toEqual(calls({}, job).refinement)
    expect(one.refinement.steps).toBeLessThanOrEqual(100)
  })
})

describe('a report', () => {
  it('says how long ago answers became text, and so lets time pass between them', () => {
    const bench = new LoopBench(plain)
    bench.loop.submit(jobOf('a', { maxTokens: 3 }))
    for (let i = 0; i < 12; i++) {
      bench.seconds += 0.001
      bench.loop.step()
    }
    bench.collect()
    const agos = bench.settled('a').map(({ ago }) => Math.round(ago * 1000))
    expect(agos).toEqual([8, 4, 0])
  })
})

const alphabetIndex = (character: string) => 'abcdefghijklmnopqrstuvwxyz '.indexOf(character)
