/** Several steps, and several answers, in one call of the engine: the same results as single steps. */
import { describe, expect, it } from 'vitest'
import { createInterrupt, raise } from '../../src/energy/interrupt.js'
import {
  budget,
  greedy,
  requestOf,
  EngineBench,
  unbounded,
  type BenchOptions,
} from '../support/engine-bench.js'

const model = { answer: { block: 1, start: 'draft' } } as const
const plain: BenchOptions = { model, vocabulary: 27 }
const inRows: BenchOptions = { ...plain, multiStep: true }
/** Exact in binary, so that sums of it are. */
const MILLISECOND = 2 ** -10
const long = (limits = {}) =>
  requestOf('a', { maxTokens: 1, budget: budget({ maxSteps: 100, ...limits }) })

describe('answers in a row', () => {
  it('give the text, the energies and the account of single steps, in fewer calls', async () => {
    const request = requestOf('a', { maxTokens: 40 })
    const run = async (options: BenchOptions) => {
      const bench = new EngineBench(options)
      const seen = { calls: 0, steps: 0, observed: 0 }
      bench.watch(({ observedTokens, ticks }) => {
        seen.calls += ticks.length > 0 ? 1 : 0
        seen.observed += observedTokens
        for (const { rows, steps } of ticks) seen.steps += rows * steps
      })
      await bench.run(request)
      return { seen, finished: bench.finished('a'), answers: bench.settled('a') }
    }
    const [one, other] = [await run(inRows), await run(plain)]
    expect(one.finished).toEqual(other.finished)
    const untimed = (all: typeof one.answers) =>
      all.map((event) => ({ ...event, seconds: 0, ago: 0 }))
    expect(untimed(one.answers)).toEqual(untimed(other.answers))
    expect(one.seen).toMatchObject({ steps: 160, observed: 16 + 1 + 39 })
    expect(other.seen).toMatchObject({ steps: 160, observed: 16 + 1 + 39, calls: 160 })
    expect(one.seen.calls).toBe(4 + 1)
  })

  it('end at a stop text, and at the end-of-text token', async () => {
    const whole = (await new EngineBench(plain).run(requestOf('a', { maxTokens: 30 }))).finished(
      'a',
    ).text
    const stop = [whole.slice(11, 14)]
    const bench = await new EngineBench(inRows).run(requestOf('a', { maxTokens: 30, stop }))
    expect(bench.finished('a')).toMatchObject({ finishReason: 'stop', text: whole.slice(0, 11) })
    expect(bench.engine.held).toEqual({ contexts: 0, slots: 0 })
    const free = { model }
    const request = requestOf('b', {
      prompt: 'end',
      maxTokens: 200,
      sampling: { ...long().sampling, temperature: 9, seed: 3 },
    })
    const one = await new EngineBench({ ...free, multiStep: true }).run(request)
    const other = await new EngineBench(free).run(request)
    expect(other.finished('b').finishReason).toBe('stop')
    expect(one.finished('b')).toEqual(other.finished('b'))
  })

  it.each([
    { title: 'steps', overrides: { reportSteps: true } },
    { title: 'a held answer', overrides: { hold: true } },
    { title: 'log-probabilities', overrides: { logprobs: 1 } },
    { title: 'a template', overrides: { template: 'on__ upon a ____' } },
    { title: 'two candidates', overrides: { budget: budget({ candidates: 2 }) } },
    { title: 'a tolerance', overrides: { budget: budget({ tolerance: 0.01, patience: 1 }) } },
    { title: 'an energy target', overrides: { budget: budget({ energyTarget: 0.01 }) } },
    { title: 'any number of steps', overrides: { budget: unbounded({ tolerance: 0.01 }) } },
    { title: 'a nucleus', overrides: { sampling: { ...greedy, temperature: 1, topP: 0.5 } } },
    { title: 'a penalty', overrides: { sampling: { ...greedy, frequencyPenalty: 1 } } },
  ])('are not for requests that ask for $title', async ({ overrides }) => {
    const request = requestOf('a', { maxTokens: 12, ...overrides })
    const bench = new EngineBench(inRows)
    let calls = 0
    const { multiStep } = bench.engine
    Object.assign(bench.engine, {
      multiStep: (row: never) => {
        calls++
        return multiStep?.(row) ?? []
      },
    })
    expect((await bench.run(request)).finished('a')).toEqual(
      (await new EngineBench(plain).run(request)).finished('a'),
    )
    expect(calls).toBe(0)
    await bench.run(requestOf('b', { maxTokens: 12 }))
    expect(calls).toBe(1)
  })

  it('end where an energy is not finite, and fail as a single step does', async () => {
    const request = requestOf('a', { prompt: 'b', maxTokens: 30 })
    const text = (await new EngineBench(plain).run(request)).finished('a').text
    const nanAt = alphabetIndex(text[20] as string)
    const last = async (options: BenchOptions) =>
      (await new EngineBench({ ...options, nanAt }).run(request)).events.get('a')?.at(-1)
    expect(await last(inRows)).toEqual(await last(plain))
  })
})

describe('several steps in a call', () => {
  const calls = async (options: BenchOptions, ...requests: ReturnType<typeof requestOf>[]) => {
    const bench = new EngineBench({ ...plain, ...options })
    const seen: number[] = []
    bench.watch(({ ticks }) => seen.push(...ticks.map(({ steps }) => steps)))
    await bench.run(...requests)
    return { seen, refinement: bench.finished('a').refinement }
  }

  it('are as many as sixteen milliseconds hold, where nothing can interrupt the call', async () => {
    const { seen, refinement } = await calls({ stepSeconds: MILLISECOND }, long())
    expect(seen.slice(0, 3)).toEqual([1, 16, 16])
    expect(seen.reduce((sum, steps) => sum + steps)).toBe(100)
    expect(refinement).toEqual((await calls({}, long())).refinement)
  })

  it('are more where the call can be interrupted and no other request wants the engine', async () => {
    const interrupt = createInterrupt()
    expect((await calls({ stepSeconds: MILLISECOND, interrupt }, long())).seen).toEqual([1, 99])
    const other = requestOf('b', { maxTokens: 1, budget: budget({ maxSteps: 100 }) })
    const both = async (options: BenchOptions) =>
      (await calls({ stepSeconds: MILLISECOND, ...options }, long(), other)).seen.slice(0, 2)
    expect(await both({ interrupt })).toEqual([1, 51])
    expect(await both({})).toEqual([1, 8])
    expect(await both({ interrupt, capacity: { slots: 1 } })).toEqual([1, 16])
    raise(interrupt)
    expect((await calls({ stepSeconds: MILLISECOND, interrupt }, long())).seen).toEqual(
      new Array(100).fill(1),
    )
  })

  it('are single steps where a step is long, or is reported', async () => {
    expect((await calls({ stepSeconds: 0.009 }, long())).seen).toEqual(new Array(100).fill(1))
    const watched = { ...long(), reportSteps: true }
    expect((await calls({ stepSeconds: MILLISECOND }, watched)).seen).toEqual(
      new Array(100).fill(1),
    )
  })

  it.each([
    { title: 'a tolerance', limits: { tolerance: 1e-3 } },
    { title: 'least steps', limits: { tolerance: 1e-3, minSteps: 30 } },
    { title: 'a plateau', limits: { tolerance: 1e-2, plateau: 7, patience: 50 } },
    { title: 'a gradient tolerance', limits: { gradientTolerance: 0.01 } },
    { title: 'an energy target', limits: { energyTarget: 0.001 } },
    { title: 'a line search', limits: { lineSearch: true, stepSize: 3 } },
  ])('take no step too many with $title', async ({ limits }) => {
    const request = long(limits)
    const one = await calls({ stepSeconds: MILLISECOND }, request)
    expect(one.refinement).toEqual((await calls({}, request)).refinement)
    expect(one.refinement.steps).toBeLessThanOrEqual(100)
  })
})

describe('a report', () => {
  it('says of each answer how long ago it settled', async () => {
    const bench = new EngineBench(plain)
    bench.core.submit(requestOf('a', { maxTokens: 3 }))
    for (let i = 0; i < 12; i++) {
      bench.seconds += 0.001
      await bench.core.step()
    }
    bench.collect()
    const agos = bench.settled('a').map(({ ago }) => Math.round(ago * 1000))
    expect(agos).toEqual([8, 4, 0])
  })
})

const alphabetIndex = (character: string) => 'abcdefghijklmnopqrstuvwxyz '.indexOf(character)
