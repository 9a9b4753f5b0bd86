/** Steps that Metropolis keeps or undoes. */
import { describe, expect, it } from 'vitest'
import { keepsMove } from '../../src/refine/acceptance.js'
import { budget, EngineBench, enginesInTime, requestOf } from '../support/engine-bench.js'

const noisy = { maxSteps: 60, noise: 0.6 }

async function run(metropolis?: number, late = false, kind: 'head' | 'residual' = 'head') {
  const bench = new EngineBench({ late, model: { energy: { kind, direction: 'exact' } } })
  const counts = { accepted: 0, rejected: 0 }
  bench.watch(({ moves }) => {
    counts.accepted += moves.accepted
    counts.rejected += moves.rejected
  })
  const limits = budget({ ...noisy, ...(metropolis !== undefined && { metropolis }) })
  await bench.run(requestOf('a', { maxTokens: 1, reportSteps: true, budget: limits }))
  return { counts, energies: bench.of('a', 'step').map(({ energy }) => energy) }
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, x) => sum + x, 0) / values.length

describe('keeping a move', () => {
  const at = { seed: 3, descent: 0, step: 0 }

  it('always keeps one that does not raise the energy, and never one to an energy that is not finite', () => {
    expect(keepsMove(1e-9, at, 5, 5)).toBe(true)
    expect(keepsMove(1e-9, at, 5, 4)).toBe(true)
    expect(keepsMove(1e9, at, 5, NaN)).toBe(false)
    expect(keepsMove(1e9, at, 5, Infinity)).toBe(false)
  })

  it('keeps one that raises it by d with probability exp(-d / temperature), by seed, descent and step', () => {
    const kept = Array.from({ length: 4000 }, (_, step) => keepsMove(2, { ...at, step }, 1, 4))
    expect(mean(kept.map(Number))).toBeCloseTo(Math.exp(-1.5), 1)
    expect(kept).toEqual(kept.map((_, step) => keepsMove(2, { ...at, step }, 1, 4)))
    const other = kept.map((_, step) => keepsMove(2, { ...at, descent: 1, step }, 1, 4))
    expect(other).not.toEqual(kept)
  })
})

describe.each(enginesInTime)('Metropolis on an engine that answers $when', ({ late }) => {
  it.each(['head', 'residual'] as const)(
    'undoes steps that raise the energy where it is cold (%s)',
    async (kind) => {
      const cold = await run(1e-9, late, kind)
      const free = await run(undefined, late, kind)
      expect(free.counts).toEqual({ accepted: 0, rejected: 0 })
      expect(cold.counts.rejected).toBeGreaterThan(5)
      // Of the energies that are judged only those that do not rise are gone on from.
      const lower = cold.energies.filter(
        (energy, i) => i > 0 && energy <= Math.min(...cold.energies.slice(0, i)),
      )
      expect(cold.counts).toEqual({ accepted: lower.length, rejected: 59 - lower.length })
      expect(mean(cold.energies.slice(20))).toBeLessThan(mean(free.energies.slice(20)))
    },
  )

  it('changes nothing where it is hot, but counts what it judged', async () => {
    const hot = await run(1e12, late)
    expect(hot.energies).toEqual((await run(undefined, late)).energies)
    expect(hot.counts).toEqual({ accepted: 59, rejected: 0 })
  })
})
