import { describe, expect, it } from 'vitest'
import type { Budget } from '../../src/refine/budget.js'
import { budget, requestOf, EngineBench, unbounded } from '../support/engine-bench.js'

const noisy = {
  model: { answer: { block: 1, start: 'noise' as const }, energy: { kind: 'head' as const } },
}

/** Runs one request; counts rows of all steps, and tells which candidate took each step, in order. */
async function run(limits: Budget, maxTokens = 1) {
  const bench = new EngineBench(noisy)
  let rows = 0
  bench.core.submit(requestOf('a', { maxTokens, reportSteps: true, budget: limits }))
  while (await bench.step()) rows += bench.stats?.ticks[0]?.rows ?? 0
  const turns = bench.of('a', 'step').map(({ candidate }) => candidate)
  return { bench, rows, turns, ...bench.finished('a').refinement }
}

const runs = (turns: readonly number[]): number[] =>
  turns.filter((candidate, i) => candidate !== turns[i - 1])

describe('adaptive allocation', () => {
  it('steps one candidate until its energy falls no more, then the next', async () => {
    const { turns, rows, stop_reason } = await run(
      budget({ candidates: 3, maxSteps: 100, allocation: 'adaptive' }),
    )
    expect(runs(turns)).toEqual([0, 1, 2])
    expect(rows).toBe(turns.length)
    expect(rows).toBeGreaterThan(3 * 4)
    expect(rows).toBeLessThan(3 * 20)
    expect(stop_reason).toBe('converged')
  })

  it('takes no more steps than the total, and all of them where it is small', async () => {
    for (const maxSteps of [1, 2, 5]) {
      const limits = budget({ candidates: 4, maxSteps, allocation: 'adaptive' })
      const { rows, turns, bench } = await run(limits)
      expect(rows).toBe(4 * maxSteps)
      expect(turns.length).toBe(4 * maxSteps)
      expect(bench.engine.held).toEqual({ contexts: 0, slots: 0 })
    }
  })

  it('finds an energy as low as even allocation in fewer steps, and a lower one in as many', async () => {
    const even = await run(budget({ candidates: 4, maxSteps: 20 }))
    const adaptive = await run(budget({ candidates: 4, maxSteps: 20, allocation: 'adaptive' }))
    expect(even.rows).toBe(80)
    expect(adaptive.rows).toBeLessThan(60)
    expect(adaptive.energy.best).toBeLessThan(0.01 * even.energy.initial)
    const short = budget({ candidates: 8, maxSteps: 1 })
    const best = (await run({ ...short, allocation: 'adaptive' })).energy.best
    expect(best).toBeLessThan((await run(short)).energy.best / 2)
  })

  it('never chooses a candidate whose turn did not come', async () => {
    for (const select of ['min', 'max', 'max_gap'] as const) {
      const limits = budget({ candidates: 8, maxSteps: 1, select, allocation: 'adaptive' })
      const { turns, steps, energy } = await run(limits)
      expect(turns.filter((turn) => turn === 0).length).toBeGreaterThan(3)
      expect(steps).toBeGreaterThan(0)
      expect(Number.isFinite(energy.best)).toBe(true)
    }
  })

  it('leaves steps that one answer does not need to the next', async () => {
    const limits = (maxSteps: number) => budget({ candidates: 2, maxSteps, allocation: 'adaptive' })
    const alone = await run(limits(100))
    const needed = alone.rows
    const { bench, rows } = await run(limits(needed), 3)
    const first = bench.of('a', 'step').filter(({ position }) => position === 0).length
    expect(first).toBe(needed)
    expect(rows).toBeLessThanOrEqual(3 * 2 * needed)
    // Too little for both candidates of every answer alone: the first leaves nothing, and all is spent.
    const short = await run(limits(2), 3)
    expect(short.rows).toBe(3 * 2 * 2)
  })

  it('stops every candidate at a limit of the whole answer', async () => {
    const target = await run(
      budget({ candidates: 3, maxSteps: 50, energyTarget: 1, allocation: 'adaptive' }),
    )
    expect(target.stop_reason).toBe('energy_target')
    expect(runs(target.turns)).toEqual([0])
    const timed = await run(
      unbounded({ candidates: 3, maxSeconds: 0.004, minSteps: 0, allocation: 'adaptive' }),
    )
    expect(timed.stop_reason).toBe('max_seconds')
    expect(timed.rows).toBeLessThanOrEqual(5)
  })

  it('converges without a limit on steps', async () => {
    const { stop_reason, converged } = await run(
      unbounded({ candidates: 2, allocation: 'adaptive' }),
    )
    expect({ stop_reason, converged }).toEqual({ stop_reason: 'converged', converged: true })
  })

  it('takes the steps that an extension adds to a held answer', async () => {
    const bench = new EngineBench(noisy)
    const limits = budget({ candidates: 3, maxSteps: 1, allocation: 'adaptive' })
    await bench.run(requestOf('a', { maxTokens: 1, hold: true, reportSteps: true, budget: limits }))
    expect(bench.of('a', 'step')).toHaveLength(3)
    bench.core.control('a', { type: 'extend', steps: 2 })
    await bench.settle()
    expect(bench.of('a', 'step')).toHaveLength(3 + 3 * 2)
    expect(runs(bench.of('a', 'step').map(({ candidate }) => candidate))[0]).toBe(0)
  })

  it('settles at once on finish', async () => {
    const bench = new EngineBench(noisy)
    const limits = unbounded({ candidates: 3, minSteps: 1000, allocation: 'adaptive' })
    bench.core.submit(requestOf('a', { maxTokens: 1, budget: limits }))
    for (let i = 0; i < 6; i++) await bench.step()
    bench.core.control('a', { type: 'finish' })
    await bench.settle(5)
    expect(bench.finished('a').refinement.stop_reason).toBe('finished')
  })
})
