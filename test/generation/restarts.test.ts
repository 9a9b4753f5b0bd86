import { describe, expect, it } from 'vitest'
import type { RequestEvent } from '../../src/generation/protocol.js'
import { type Budget, restartPolicies, type Restarts } from '../../src/refine/budget.js'
import { answerSeed } from '../../src/refine/candidates.js'
import {
  budget,
  EngineBench,
  enginesInTime,
  greedy,
  requestOf,
  unbounded,
} from '../support/engine-bench.js'

const block = 3
const kinds = {
  head: {
    model: { answer: { block, start: 'noise' as const }, energy: { kind: 'head' as const } },
  },
  residual: {
    model: { answer: { block, start: 'zeros' as const }, energy: { kind: 'residual' as const } },
  },
}
const restarts = (overrides: Partial<Restarts> = {}): Restarts => ({
  after: 3,
  policy: 'noise',
  alone: 0,
  ...overrides,
})
const search = (overrides: Partial<Budget> = {}): Budget =>
  budget({ candidates: 4, maxSteps: 50, restarts: restarts(), ...overrides })

const stepsOf = (events: readonly RequestEvent[] | undefined) =>
  (events ?? []).filter((event) => event.type === 'step')

const ask = (limits: Budget, overrides = {}) =>
  requestOf('a', { maxTokens: block, reportSteps: true, budget: limits, ...overrides })

describe.each(Object.entries(kinds))('restarts with a %s energy', (_, options) => {
  it.each(enginesInTime)(
    'spend the steps of all descents together, engine $when',
    async ({ late }) => {
      for (const maxSteps of [1, 3, 11, 12, 50]) {
        const bench = new EngineBench({ ...options, late })
        await bench.run(ask(search({ maxSteps })))
        const steps = stepsOf(bench.events.get('a'))
        expect(steps).toHaveLength(maxSteps)
        const { refinement } = bench.finished('a')
        expect(refinement).toMatchObject({
          steps: maxSteps,
          stop_reason: 'max_steps',
          candidates: 4,
        })
        expect(refinement.restarts).toBe(Math.max(...steps.map(({ restart }) => restart ?? 0)))
        expect(bench.engine.held).toEqual({ contexts: 0, slots: 0 })
      }
    },
  )

  it('number the new descents in the order in which they begin, each of so many steps', async () => {
    const bench = new EngineBench(options)
    await bench.run(ask(search()))
    const steps = stepsOf(bench.events.get('a'))
    const begun = steps.filter(({ step }) => step === 1).map(({ restart }) => restart)
    expect(begun).toEqual([
      0,
      0,
      0,
      0,
      ...Array.from({ length: begun.length - 4 }, (_, i) => i + 1),
    ])
    expect(Math.max(...steps.map(({ step }) => step))).toBe(3)
  })

  it.each(restartPolicies)('return the best of all descents (%s)', async (policy) => {
    const { answer, energy } = options.model
    const single = { model: { energy, answer: { ...answer, block: 1 } } }
    const represented = { maxTokens: 1, represent: 'answer' as const }
    const bench = new EngineBench(single)
    const limits = search({ restarts: restarts({ policy }) })
    await bench.run(ask(limits, represented))
    const [settled] = bench.settled('a')
    const best = settled?.energy.best as number
    const lowest = Math.min(...stepsOf(bench.events.get('a')).map(({ bestEnergy }) => bestEnergy))
    expect(best).toBeLessThanOrEqual(lowest)
    // The state that was read has that energy: it is as far from where every descent leads.
    const rest = new EngineBench(single)
    await rest.run(requestOf('a', { budget: budget({ maxSteps: 90 }), ...represented }))
    const end = rest.settled('a')[0]?.representation as Float32Array
    const found = settled?.representation as Float32Array
    const away = Math.hypot(...found.map((value, i) => value - (end[i] as number)))
    const read = energy.kind === 'head' ? 1 : (0.7 / 0.3) * Math.sqrt(end.length)
    expect(away / (read * Math.sqrt(2 * best))).toBeCloseTo(1, 2)
  })

  it('end all candidates when one reaches the energy target', async () => {
    const free = new EngineBench(options)
    await free.run(ask(search({ maxSteps: 200 })))
    const energies = stepsOf(free.events.get('a')).map(({ bestEnergy }) => bestEnergy)
    const energyTarget = Math.min(...energies)
    const bench = new EngineBench(options)
    await bench.run(ask(search({ maxSteps: 10_000, energyTarget })))
    const { refinement } = bench.finished('a')
    expect(refinement.stop_reason).toBe('energy_target')
    expect(refinement.energy.best).toBeLessThanOrEqual(energyTarget)
    expect(refinement.steps).toBe(stepsOf(bench.events.get('a')).length)
    expect(refinement.steps).toBeLessThanOrEqual(200)
    expect(refinement.restarts).toBeGreaterThan(0)
  })

  it.each(restartPolicies)(
    'go on after an extension as if it had been granted at once (%s)',
    async (policy) => {
      const limits = (maxSteps: number) =>
        search({ maxSteps, restarts: restarts({ policy, alone: 2 }) })
      for (const [first, second] of [
        [1, 60],
        [13, 50],
        [30, 31],
        [38, 2],
      ] as const) {
        const whole = new EngineBench(options)
        await whole.run(ask(limits(first + second), { represent: 'answer' }))
        const parts = new EngineBench(options)
        await parts.run(ask(limits(first), { hold: true, represent: 'answer' }))
        parts.core.control('a', { type: 'extend', steps: second })
        await parts.settle()
        const byCandidate = (bench: EngineBench) =>
          [0, 1, 2, 3].map((candidate) =>
            stepsOf(bench.events.get('a'))
              .filter((event) => event.candidate === candidate)
              .map(({ bestEnergy, energy, restart, step }) => [restart, step, energy, bestEnergy]),
          )
        expect(byCandidate(parts)).toEqual(byCandidate(whole))
        expect(parts.finished('a')).toEqual(whole.finished('a'))
        expect(parts.settled('a').at(-1)?.representation).toEqual(
          whole.settled('a')[0]?.representation,
        )
      }
    },
  )

  it('give the same answer whatever else runs', async () => {
    const alone = new EngineBench({ ...options, capacity: { slots: 12 } })
    await alone.run(ask(search({ maxSteps: 90 })))
    const together = new EngineBench({ ...options, capacity: { slots: 12 } })
    together.core.submit(requestOf('b', { budget: unbounded({ candidates: 2, maxSeconds: 0.03 }) }))
    await together.steps(3)
    await together.run(
      ask(search({ maxSteps: 90 })),
      requestOf('c', { budget: search({ maxSteps: 25 }), sampling: { ...greedy, seed: 8 } }),
    )
    expect(together.events.get('a')?.filter(({ type }) => type === 'step')).toEqual(
      alone.events.get('a')?.filter(({ type }) => type === 'step'),
    )
    expect(together.finished('a')).toEqual(alone.finished('a'))
  })

  it('take several steps in one call where they are certain, with the same results', async () => {
    const limits = search({ maxSteps: 333, restarts: restarts({ after: 7, alone: 5 }) })
    const run = async (stepSeconds?: number) => {
      const timed = stepSeconds === undefined ? {} : { stepSeconds }
      const bench = new EngineBench({ ...options, ...timed })
      let calls = 0
      bench.watch(({ ticks }) => (calls += ticks.length))
      await bench.run(requestOf('a', { maxTokens: block, buffered: true, budget: limits }))
      return { calls, finished: bench.finished('a') }
    }
    const single = await run()
    const several = await run(0.0005)
    expect(several.finished).toEqual(single.finished)
    expect(several.calls).toBeLessThan(single.calls / 2)
  })

  it('settle at once when the client asks for the best so far', async () => {
    const bench = new EngineBench(options)
    bench.core.submit(ask(search({ maxSteps: 1000, restarts: restarts({ after: 2 }) })))
    await bench.steps(8)
    bench.core.control('a', { type: 'finish' })
    await bench.settle(6)
    const { refinement } = bench.finished('a')
    expect(refinement.stop_reason).toBe('finished')
    const steps = stepsOf(bench.events.get('a'))
    expect(refinement.energy.best).toBeLessThanOrEqual(
      Math.min(...steps.map(({ bestEnergy }) => bestEnergy)),
    )
  })
})

describe('restarts', () => {
  it('begin no more new descents than they may', async () => {
    const bench = new EngineBench(kinds.residual)
    await bench.run(ask(search({ maxSteps: 1000, restarts: restarts({ most: 5 }) })))
    const { refinement } = bench.finished('a')
    expect(refinement).toMatchObject({ restarts: 5, steps: 9 * 3, stop_reason: 'max_steps' })
  })

  it('let the first candidate step alone at first, and others join as the steps double', async () => {
    const bench = new EngineBench(kinds.residual)
    await bench.run(ask(search({ restarts: restarts({ alone: 4, after: 9 }) })))
    const order = stepsOf(bench.events.get('a')).map(({ candidate }) => candidate)
    expect(order.slice(0, 4)).toEqual([0, 0, 0, 0])
    expect(order.slice(4, 8)).toEqual([0, 1, 0, 1])
    expect(order.slice(8, 12)).toEqual([0, 1, 2, 3])
    expect(new Set(order.slice(8)).size).toBe(4)
  })

  it.each([1, 2, 3, 5])(
    'complete a round that others joined before the next one, in pieces of %i steps',
    async (piece) => {
      const limits = (maxSteps: number) =>
        search({ maxSteps, restarts: restarts({ alone: 3, after: 5 }) })
      const whole = new EngineBench(kinds.residual)
      await whole.run(ask(limits(40)))
      const parts = new EngineBench(kinds.residual)
      await parts.run(ask(limits(piece), { hold: true }))
      for (let steps = piece; steps < 40; steps += piece) {
        parts.core.control('a', { type: 'extend', steps: Math.min(piece, 40 - steps) })
        await parts.settle()
      }
      const taken = (bench: EngineBench) =>
        stepsOf(bench.events.get('a')).map(({ candidate, energy, restart, step }) => [
          candidate,
          restart,
          step,
          energy,
        ])
      expect(taken(parts)).toEqual(taken(whole))
    },
  )

  it('begin a new descent in place of one that diverges', async () => {
    const bench = new EngineBench({ ...kinds.residual, nanAt: 1, nanFrom: 2 })
    await bench.run(ask(search({ maxSteps: 24 }), { prompt: 'b' }))
    const { refinement } = bench.finished('a')
    expect(refinement).toMatchObject({ steps: 24, restarts: 4, stop_reason: 'max_steps' })
    expect(Number.isFinite(refinement.energy.best)).toBe(true)
  })

  it('end by the clock', async () => {
    const bench = new EngineBench(kinds.residual)
    const limits = unbounded({ candidates: 4, maxSeconds: 0.02, restarts: restarts() })
    await bench.run(ask(limits))
    expect(bench.finished('a').refinement.stop_reason).toBe('max_seconds')
  })

  it('count steps and descents over all answers of a completion', async () => {
    const bench = new EngineBench(kinds.residual)
    await bench.run(ask(search({ maxSteps: 20 }), { maxTokens: 3 * block }))
    const { refinement } = bench.finished('a')
    expect(refinement.steps).toBe(60)
    expect(bench.settled('a').map(({ steps }) => steps)).toEqual([20, 20, 20])
    const first = new EngineBench(kinds.residual)
    await first.run(ask(search({ maxSteps: 20 })))
    expect(refinement.restarts).toBe(3 * (first.finished('a').refinement.restarts ?? NaN))
  })

  it('tell why descents were given up, and after how many steps', async () => {
    const bench = new EngineBench(kinds.residual)
    const given: { reason: string; steps: number }[] = []
    bench.watch(({ restarts: some }) => given.push(...some))
    await bench.run(ask(search({ maxSteps: 50 })))
    expect(given).toHaveLength(bench.finished('a').refinement.restarts ?? NaN)
    expect(new Set(given.map(({ reason, steps }) => `${reason} ${steps}`))).toEqual(
      new Set(['steps 3']),
    )
  })

  it('forget what was found when a position is fixed', async () => {
    const template = '___'
    const bench = new EngineBench(kinds.residual)
    const limits = search({ maxSteps: 200 })
    bench.core.submit(ask(limits, { template }))
    await bench.steps(12)
    bench.core.control('a', { type: 'clamp', position: 1, text: 'q' })
    await bench.settle()
    expect(bench.finished('a').text[1]).toBe('q')
    expect(bench.finished('a').refinement.steps).toBe(200)
  })

  it('have noise of their own in each descent', async () => {
    const bench = new EngineBench(kinds.residual)
    await bench.run(ask(search()))
    const first = stepsOf(bench.events.get('a')).filter(({ step }) => step === 1)
    expect(new Set(first.map(({ energy }) => energy)).size).toBe(first.length)
    expect(answerSeed(1, 0)).not.toBe(answerSeed(1, 1))
  })
})
