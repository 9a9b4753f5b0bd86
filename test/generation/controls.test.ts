import { describe, expect, it } from 'vitest'
import type { Budget } from '../../src/refine/budget.js'
import {
  EngineBench,
  enginesInTime,
  type BenchOptions,
  budget,
  requestOf,
} from '../support/engine-bench.js'

const head = { model: { answer: { block: 1 }, energy: { kind: 'head' as const } }, vocabulary: 27 }
const long = (limits: Partial<Budget> = {}) => ({
  maxTokens: 1,
  budget: budget({ maxSteps: 1000, ...limits }),
})

describe.each(enginesInTime)('with an engine that answers $when', ({ late }) => {
  const benchOf = (options: BenchOptions = {}) => new EngineBench({ ...options, late })

  describe('cancel', () => {
    it('frees slots and pages before the next step', async () => {
      const bench = benchOf(head)
      bench.core.submit(requestOf('a', long()))
      await bench.steps(5)
      expect(bench.stats).toMatchObject({ slotsUsed: 1, ticks: [{ rows: 1 }] })
      bench.core.control('a', { type: 'cancel' })
      expect(bench.collect()).toMatchObject({ slotsUsed: 0, pagesUsed: 0, running: 0 })
      expect(bench.engine.held).toEqual({ contexts: 0, slots: 0 })
      expect(bench.finished('a')).toMatchObject({
        finishReason: 'cancelled',
        refinement: { stop_reason: 'cancelled', steps: 5 },
      })
      expect(await bench.step()).toBe(false)
    })

    it('of a waiting request leaves the others as they are', async () => {
      const bench = benchOf({ ...head, capacity: { slots: 1 } })
      for (const id of ['a', 'b', 'c']) bench.core.submit(requestOf(id))
      await bench.step()
      bench.core.control('b', { type: 'cancel' })
      await bench.settle()
      expect(bench.finished('b').finishReason).toBe('cancelled')
      expect(bench.of('b', 'started')).toEqual([])
      const alone = (await benchOf(head).run(requestOf('a'))).finished('a').text
      expect([bench.finished('a').text, bench.finished('c').text]).toEqual([alone, alone])
    })

    it('of a request that is gone does nothing', async () => {
      const bench = await benchOf(head).run(requestOf('a'))
      for (const type of ['cancel', 'finish', 'pause', 'resume'] as const) {
        bench.core.control('a', { type })
      }
      expect(bench.of('a', 'finished')).toHaveLength(1)
    })
  })

  describe('finish', () => {
    it('settles with the best so far, and takes no further step', async () => {
      const bench = benchOf(head)
      bench.core.submit(requestOf('a', long()))
      await bench.steps(7)
      bench.core.control('a', { type: 'finish' })
      await bench.settle()
      expect(bench.finished('a')).toMatchObject({
        refinement: { steps: 7, stop_reason: 'finished' },
      })
      const seven = (await benchOf(head).run(requestOf('a', long({ maxSteps: 7 })))).finished('a')
      expect(bench.finished('a').text).toBe(seven.text)
      expect(bench.finished('a').refinement.energy).toEqual(seven.refinement.energy)
    })

    it('settles a paused request too', async () => {
      const bench = benchOf(head)
      bench.core.submit(requestOf('a', long()))
      await bench.steps(3)
      bench.core.control('a', { type: 'pause' })
      bench.core.control('a', { type: 'finish' })
      await bench.settle()
      expect(bench.finished('a').refinement.steps).toBe(3)
    })

    it('waits for the first step of an answer that has taken none', async () => {
      const bench = benchOf({ ...head, prefillChunk: 4 })
      bench.core.submit(requestOf('a', long()))
      await bench.step()
      bench.core.control('a', { type: 'finish' })
      await bench.settle()
      expect(bench.finished('a').refinement).toMatchObject({ steps: 1, stop_reason: 'finished' })
    })

    it('ends a longer text with the present answer', async () => {
      const bench = benchOf(head)
      bench.core.submit(requestOf('a', { maxTokens: 50 }))
      await bench.steps(4 * 3 + 2)
      bench.core.control('a', { type: 'finish' })
      await bench.settle()
      expect(bench.finished('a')).toMatchObject({
        finishReason: 'stop',
        usage: { completionTokens: 4 },
      })
    })
  })

  describe('pause', () => {
    it('makes no call of the engine, and changes nothing but the time', async () => {
      const bench = benchOf(head)
      bench.core.submit(requestOf('a', long({ maxSteps: 20, maxSeconds: 1 })))
      await bench.steps(5)
      bench.core.control('a', { type: 'pause' })
      const before = bench.engine.calls
      for (let i = 0; i < 100; i++) expect(await bench.step()).toBe(false)
      bench.seconds += 1000
      expect(bench.engine.calls).toBe(before)
      expect(bench.stats).toMatchObject({ paused: 1, running: 0, ticks: [], slotsUsed: 1 })
      bench.core.control('a', { type: 'resume' })
      await bench.settle()
      const straight = (await benchOf(head).run(requestOf('a', long({ maxSteps: 20 })))).finished(
        'a',
      )
      expect(bench.finished('a')).toEqual(straight)
    })

    it('keeps a waiting request from its first answer', async () => {
      const bench = benchOf(head)
      bench.core.submit(requestOf('a'))
      bench.core.control('a', { type: 'pause' })
      await bench.settle()
      expect(bench.settled('a')).toEqual([])
      bench.core.control('a', { type: 'resume' })
      await bench.settle()
      expect(bench.finished('a').text).toHaveLength(8)
    })
  })

  describe('a pause', () => {
    it('ends after its time, and the answer settles with the best so far', async () => {
      const bench = benchOf({ ...head, pauseSeconds: 10 })
      bench.core.submit(requestOf('a', long()))
      await bench.steps(5)
      bench.core.control('a', { type: 'pause' })
      bench.core.control('a', { type: 'pause' })
      expect(bench.core.nextExpiry).toBeCloseTo(bench.seconds + 10, 5)
      bench.seconds += 9
      bench.core.expire()
      expect(await bench.step()).toBe(false)
      bench.seconds += 2
      bench.core.expire()
      await bench.settle()
      expect(bench.finished('a').refinement).toMatchObject({ steps: 5, stop_reason: 'finished' })
      expect(bench.core.nextExpiry).toBeUndefined()
    })

    it('has no effect on the end when it is over in time', async () => {
      const bench = benchOf({ ...head, pauseSeconds: 10 })
      bench.core.submit(requestOf('a', long({ maxSteps: 20 })))
      await bench.steps(5)
      bench.core.control('a', { type: 'pause' })
      bench.core.control('a', { type: 'resume' })
      expect(bench.core.nextExpiry).toBeUndefined()
      await bench.settle()
      expect(bench.finished('a').refinement.steps).toBe(20)
    })
  })

  describe('extend', () => {
    const kinds = [
      ['head', head],
      ['residual', { vocabulary: 27 }],
      [
        'noisy',
        { model: { answer: { start: 'noise' as const }, energy: { kind: 'head' as const } } },
      ],
    ] as const

    it.each(kinds)('gives a held answer what one longer run gives (%s)', async (_name, options) => {
      const limits = { candidates: 2, tolerance: 1e-9, patience: 2, noise: 0 }
      const whole = await benchOf(options).run(
        requestOf('a', { maxTokens: 9, budget: budget({ ...limits, maxSteps: 11 }) }),
      )
      const parts = await benchOf(options).run(
        requestOf('a', { maxTokens: 9, hold: true, budget: budget({ ...limits, maxSteps: 11 }) }),
      )
      expect(parts.finished('a')).toEqual(whole.finished('a'))

      const one = requestOf('b', { maxTokens: 1, budget: budget({ ...limits, maxSteps: 11 }) })
      const first = { ...one, hold: true, budget: budget({ ...limits, maxSteps: 4 }) }
      const longer = await benchOf(options).run(one)
      const extended = await benchOf(options).run(first)
      expect(extended.finished('b').refinement.steps).toBe(4)
      for (const steps of [3, 4]) {
        extended.core.control('b', { type: 'extend', steps })
        await extended.settle()
      }
      expect(extended.finished('b')).toEqual(longer.finished('b'))
      expect(extended.of('b', 'finished')).toHaveLength(3)
    })

    it('raises the budget of an answer in descent', async () => {
      const bench = benchOf(head)
      bench.core.submit(requestOf('a', long({ maxSteps: 6 })))
      await bench.steps(3)
      bench.core.control('a', { type: 'extend', steps: 5 })
      await bench.settle()
      expect(bench.finished('a').refinement.steps).toBe(11)
    })

    it('raises the budget of the first answer before it begins', async () => {
      const bench = benchOf(head)
      bench.core.submit(requestOf('a', { maxTokens: 2 }))
      bench.core.control('a', { type: 'extend', steps: 3 })
      await bench.settle()
      expect(bench.settled('a').map(({ steps }) => steps)).toEqual([7, 4])
    })

    it('rewrites the last answer of a longer text, and no more', async () => {
      const bench = await benchOf(head).run(
        requestOf('a', { maxTokens: 5, hold: true, budget: budget({ maxSteps: 1 }) }),
      )
      const rough = bench.finished('a')
      bench.core.control('a', { type: 'extend', steps: 30 })
      await bench.settle()
      const refined = bench.finished('a')
      expect(refined.text.slice(0, 4)).toBe(rough.text.slice(0, 4))
      expect(refined.refinement.steps).toBe(35)
      expect(refined.refinement.energy.best).toBeLessThan(rough.refinement.energy.best / 1000)
      expect(bench.settled('a').map(({ position }) => position)).toEqual([0, 1, 2, 3, 4, 4])
    })

    it('takes as many steps as it adds after an answer has converged', async () => {
      const bench = benchOf(head)
      await bench.run(requestOf('a', { ...long({ tolerance: 0.7, patience: 3 }), hold: true }))
      const { steps, stop_reason } = bench.finished('a').refinement
      expect(stop_reason).toBe('converged')
      bench.core.control('a', { type: 'extend', steps: 2 })
      await bench.settle()
      expect(bench.finished('a').refinement).toMatchObject({
        steps: steps + 2,
        stop_reason: 'max_steps',
      })
    })

    it('is refused for a request that is not held', async () => {
      const bench = await benchOf(head).run(requestOf('a'))
      expect(() => bench.core.control('a', { type: 'extend', steps: 1 })).toThrow(
        expect.objectContaining({ code: 'not_held' }),
      )
    })
  })

  describe('a held answer', () => {
    const held = (id: string) => requestOf(id, { maxTokens: 1, hold: true })

    it('keeps slots until its time is over', async () => {
      const bench = await benchOf({ ...head, holdSeconds: 10 }).run(held('a'))
      expect(bench.stats).toMatchObject({ held: 1, running: 0, slotsUsed: 1 })
      expect(bench.core.nextExpiry).toBeCloseTo(bench.seconds + 10, 1)
      bench.core.expire()
      expect(bench.collect().held).toBe(1)
      bench.seconds += 11
      bench.core.expire()
      expect(bench.collect()).toMatchObject({ held: 0, slotsUsed: 0, pagesUsed: 0 })
      expect(bench.released).toEqual(['a'])
      expect(bench.core.nextExpiry).toBeUndefined()
    })

    it('gives its context to requests that wait, the oldest first, and only as many as they need', async () => {
      const bench = await benchOf({ ...head, capacity: { slots: 2, contexts: 2 } }).run(held('a'))
      await bench.run(held('b'))
      await bench.run(requestOf('c'))
      expect(bench.released).toEqual(['a'])
      expect(bench.finished('c').text).toHaveLength(8)
      bench.core.control('b', { type: 'cancel' })
      bench.collect()
      expect(bench.released).toEqual(['a', 'b'])
      expect(bench.engine.held).toEqual({ contexts: 0, slots: 0 })
    })
  })
})
