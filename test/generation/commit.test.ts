import { describe, expect, it } from 'vitest'
import type { Commit, Restarts } from '../../src/refine/budget.js'
import { budget, EngineBench, requestOf } from '../support/engine-bench.js'

const block = 6
const options = {
  model: { answer: { block, start: 'zeros' as const }, energy: { kind: 'residual' as const } },
}
const once: Restarts = { after: Infinity, most: 0, policy: 'model', alone: 0 }
const most: Commit = { count: 2, draw: 'most', after: 3, reopen: false }

/** Positions of the answer that an engine was told to clamp, at each begin. */
function beginnings(bench: EngineBench): number[] {
  const known: number[] = []
  const begin = bench.engine.begin.bind(bench.engine)
  bench.engine.begin = (rows) => {
    for (const { clamped } of rows) known.push((clamped ?? []).filter((token) => token >= 0).length)
    begin(rows)
  }
  return known
}

const ask = (commit: Commit, overrides = {}, restarts = once) =>
  requestOf('a', {
    maxTokens: block,
    reportSteps: true,
    budget: budget({ maxSteps: 30, restarts, commit, ...overrides }),
  })

describe('commits of an answer', () => {
  it('fix so many positions after so many steps, until one is left', async () => {
    const bench = new EngineBench(options)
    const known = beginnings(bench)
    await bench.run(ask(most))
    expect(known).toEqual([0, 2, 4, 5])
    expect(bench.of('a', 'step')).toHaveLength(30)
    expect(bench.finished('a').refinement).toMatchObject({ steps: 30, restarts: 0 })
  })

  it('are part of the text', async () => {
    const bench = new EngineBench(options)
    const committed: number[][] = []
    const begin = bench.engine.begin.bind(bench.engine)
    bench.engine.begin = (rows) => {
      committed.push([...(rows[0]?.clamped ?? [])])
      begin(rows)
    }
    await bench.run(ask(most))
    const text = bench.finished('a').text
    const last = committed.at(-1) ?? []
    const letters = 'abcdefghijklmnopqrstuvwxyz '
    for (const [i, token] of last.entries()) if (token >= 0) expect(text[i]).toBe(letters[token])
  })

  it('are opened in the end where the answer has to hold without them', async () => {
    const bench = new EngineBench(options)
    const known = beginnings(bench)
    await bench.run(ask({ ...most, reopen: true }))
    expect(known).toEqual([0, 2, 4, 5, 0])
  })

  it('keep what a template gives', async () => {
    const bench = new EngineBench(options)
    const known = beginnings(bench)
    const request = ask({ ...most, share: 0.5 })
    await bench.run({ ...request, template: 'a__b__' })
    expect(known).toEqual([2, 4, 5])
    expect(bench.finished('a').text).toMatch(/^a..b..$/)
  })

  it('do not end an answer whose energy has not held without them', async () => {
    const energyTarget = 0.05
    const bench = new EngineBench(options)
    const known = beginnings(bench)
    await bench.run(
      ask({ count: 4, draw: 'most', after: 2, reopen: true }, { maxSteps: 200, energyTarget }),
    )
    const { refinement } = bench.finished('a')
    expect(refinement.stop_reason).toBe('energy_target')
    expect(known.at(-1)).toBe(0)
    expect(refinement.energy.best).toBeLessThanOrEqual(energyTarget)
  })

  it('go on after an extension as if it had been granted at once', async () => {
    for (const first of [2, 3, 4, 7, 12]) {
      const whole = new EngineBench(options)
      await whole.run(ask({ ...most, reopen: true }))
      const parts = new EngineBench(options)
      await parts.run({ ...ask({ ...most, reopen: true }, { maxSteps: first }), hold: true })
      parts.core.control('a', { type: 'extend', steps: 30 - first })
      await parts.settle()
      expect(parts.finished('a')).toEqual(whole.finished('a'))
      expect(parts.of('a', 'step')).toEqual(whole.of('a', 'step'))
    }
  })
})

describe('guesses', () => {
  const guessing: Restarts = { after: 1, policy: 'guess', alone: 1 }

  it('begin descents with positions committed, and open them before an answer is accepted', async () => {
    const bench = new EngineBench({ ...options, vocabulary: 4 })
    const known = beginnings(bench)
    const limits = budget({ candidates: 2, maxSteps: 400, energyTarget: 1e-9, restarts: guessing })
    await bench.run(requestOf('a', { maxTokens: block, budget: limits, reportSteps: true }))
    expect(known.filter((count) => count === 2).length).toBeGreaterThan(4)
    const { refinement } = bench.finished('a')
    expect(refinement.steps).toBe(400)
    expect(Number.isFinite(refinement.energy.best)).toBe(true)
  })

  it('are not made without an energy that could refute them', async () => {
    const bench = new EngineBench(options)
    const known = beginnings(bench)
    const limits = budget({ candidates: 2, maxSteps: 200, restarts: guessing })
    await bench.run(requestOf('a', { maxTokens: block, budget: limits }))
    expect(new Set(known)).toEqual(new Set([0]))
  })
})
