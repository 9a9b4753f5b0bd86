import { describe, expect, it } from 'vitest'
import type { Budget } from '../../src/refine/budget.js'
import { LoopBench, budget, jobOf } from '../support/loops.js'

const head = { model: { answer: { block: 1 }, energy: { kind: 'head' as const } }, vocabulary: 27 }
const long = (limits: Partial<Budget> = {}) => ({
  maxTokens: 1,
  budget: budget({ maxSteps: 1000, ...limits }),
})

const ticks = (bench: LoopBench, count: number) => {
  for (let i = 0; i < count; i++) bench.tick()
}

describe('cancel', () => {
  it('frees rows and pages before the next tick', () => {
    const bench = new LoopBench(head)
    bench.loop.submit(jobOf('a', long()))
    ticks(bench, 5)
    expect(bench.stats).toMatchObject({ slotsUsed: 1, ticks: [{ rows: 1 }] })
    bench.loop.control('a', { type: 'cancel' })
    expect(bench.collect()).toMatchObject({ slotsUsed: 0, pagesUsed: 0, running: 0 })
    expect(bench.engine.held).toEqual({ contexts: 0, slots: 0 })
    expect(bench.finished('a')).toMatchObject({
      finishReason: 'cancelled',
      refinement: { stop_reason: 'cancelled', steps: 5 },
    })
    expect(bench.tick()).toBe(false)
  })

  it('of a waiting job touches no other', () => {
    const bench = new LoopBench({ ...head, capacity: { slots: 1 } })
    for (const id of ['a', 'b', 'c']) bench.loop.submit(jobOf(id))
    bench.tick()
    bench.loop.control('b', { type: 'cancel' })
    bench.settle()
    expect(bench.finished('b').finishReason).toBe('cancelled')
    expect(bench.of('b', 'started')).toEqual([])
    const alone = new LoopBench(head).run(jobOf('a')).finished('a').text
    expect([bench.finished('a').text, bench.finished('c').text]).toEqual([alone, alone])
  })

  it('of a job that is gone does nothing', () => {
    const bench = new LoopBench(head).run(jobOf('a'))
    for (const type of ['cancel', 'finish', 'pause', 'resume'] as const) {
      bench.loop.control('a', { type })
    }
    expect(bench.of('a', 'finished')).toHaveLength(1)
  })
})

describe('finish', () => {
  it('settles with the best so far, and takes no further step', () => {
    const bench = new LoopBench(head)
    bench.loop.submit(jobOf('a', long()))
    ticks(bench, 7)
    bench.loop.control('a', { type: 'finish' })
    bench.settle()
    expect(bench.finished('a')).toMatchObject({
      refinement: { steps: 7, stop_reason: 'finished' },
    })
    const seven = new LoopBench(head).run(jobOf('a', long({ maxSteps: 7 }))).finished('a')
    expect(bench.finished('a').text).toBe(seven.text)
    expect(bench.finished('a').refinement.energy).toEqual(seven.refinement.energy)
  })

  it('of a paused job settles too', () => {
    const bench = new LoopBench(head)
    bench.loop.submit(jobOf('a', long()))
    ticks(bench, 3)
    bench.loop.control('a', { type: 'pause' })
    bench.loop.control('a', { type: 'finish' })
    bench.settle()
    expect(bench.finished('a').refinement.steps).toBe(3)
  })

  it('before the first step waits for that step', () => {
    const bench = new LoopBench({ ...head, prefillChunk: 4 })
    bench.loop.submit(jobOf('a', long()))
    bench.tick()
    bench.loop.control('a', { type: 'finish' })
    bench.settle()
    expect(bench.finished('a').refinement).toMatchObject({ steps: 1, stop_reason: 'finished' })
  })

  it('ends a longer text with the answer at hand', () => {
    const bench = new LoopBench(head)
    bench.loop.submit(jobOf('a', { maxTokens: 50 }))
    ticks(bench, 4 * 3 + 2)
    bench.loop.control('a', { type: 'finish' })
    bench.settle()
    expect(bench.finished('a')).toMatchObject({
      finishReason: 'stop',
      usage: { completionTokens: 4 },
    })
  })
})

describe('pause', () => {
  it('makes no call to the engine, and changes nothing but the time', () => {
    const bench = new LoopBench(head)
    bench.loop.submit(jobOf('a', long({ maxSteps: 20, maxSeconds: 1 })))
    ticks(bench, 5)
    bench.loop.control('a', { type: 'pause' })
    const before = bench.engine.calls
    for (let i = 0; i < 100; i++) expect(bench.tick()).toBe(false)
    bench.seconds += 1000
    expect(bench.engine.calls).toBe(before)
    expect(bench.stats).toMatchObject({ paused: 1, running: 0, ticks: [], slotsUsed: 1 })
    bench.loop.control('a', { type: 'resume' })
    bench.settle()
    const straight = new LoopBench(head).run(jobOf('a', long({ maxSteps: 20 }))).finished('a')
    expect(bench.finished('a')).toEqual(straight)
  })

  it('of a waiting job keeps it from starting to work', () => {
    const bench = new LoopBench(head)
    bench.loop.submit(jobOf('a'))
    bench.loop.control('a', { type: 'pause' })
    bench.settle()
    expect(bench.settled('a')).toEqual([])
    bench.loop.control('a', { type: 'resume' })
    bench.settle()
    expect(bench.finished('a').text).toHaveLength(8)
  })
})

describe('a pause', () => {
  it('ends after its time with the best so far', () => {
    const bench = new LoopBench({ ...head, pauseSeconds: 10 })
    bench.loop.submit(jobOf('a', long()))
    ticks(bench, 5)
    bench.loop.control('a', { type: 'pause' })
    bench.loop.control('a', { type: 'pause' })
    expect(bench.loop.nextExpiry).toBeCloseTo(bench.seconds + 10, 5)
    bench.seconds += 9
    bench.loop.expire()
    expect(bench.tick()).toBe(false)
    bench.seconds += 2
    bench.loop.expire()
    bench.settle()
    expect(bench.finished('a').refinement).toMatchObject({ steps: 5, stop_reason: 'finished' })
    expect(bench.loop.nextExpiry).toBeUndefined()
  })

  it('that is over in time sets no end', () => {
    const bench = new LoopBench({ ...head, pauseSeconds: 10 })
    bench.loop.submit(jobOf('a', long({ maxSteps: 20 })))
    ticks(bench, 5)
    bench.loop.control('a', { type: 'pause' })
    bench.loop.control('a', { type: 'resume' })
    expect(bench.loop.nextExpiry).toBeUndefined()
    bench.settle()
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

  it.each(kinds)('of a held answer equals one longer run (%s)', (_name, options) => {
    const limits = { candidates: 2, tolerance: 1e-9, patience: 2, noise: 0 }
    const whole = new LoopBench(options).run(
      jobOf('a', { maxTokens: 9, budget: budget({ ...limits, maxSteps: 11 }) }),
    )
    const parts = new LoopBench(options).run(
      jobOf('a', { maxTokens: 9, hold: true, budget: budget({ ...limits, maxSteps: 11 }) }),
    )
    expect(parts.finished('a')).toEqual(whole.finished('a'))

    const one = jobOf('b', { maxTokens: 1, budget: budget({ ...limits, maxSteps: 11 }) })
    const first = { ...one, hold: true, budget: budget({ ...limits, maxSteps: 4 }) }
    const longer = new LoopBench(options).run(one)
    const extended = new LoopBench(options).run(first)
    expect(extended.finished('b').refinement.steps).toBe(4)
    for (const steps of [3, 4]) {
      extended.loop.control('b', { type: 'extend', steps })
      extended.settle()
    }
    expect(extended.finished('b')).toEqual(longer.finished('b'))
    expect(extended.of('b', 'finished')).toHaveLength(3)
  })

  it('of an answer in descent raises its budget', () => {
    const bench = new LoopBench(head)
    bench.loop.submit(jobOf('a', long({ maxSteps: 6 })))
    ticks(bench, 3)
    bench.loop.control('a', { type: 'extend', steps: 5 })
    bench.settle()
    expect(bench.finished('a').refinement.steps).toBe(11)
  })

  it('before the first answer raises that one', () => {
    const bench = new LoopBench(head)
    bench.loop.submit(jobOf('a', { maxTokens: 2 }))
    bench.loop.control('a', { type: 'extend', steps: 3 })
    bench.settle()
    expect(bench.settled('a').map(({ steps }) => steps)).toEqual([7, 4])
  })

  it('rewrites the last answer of a longer text, and no more', () => {
    const bench = new LoopBench(head).run(
      jobOf('a', { maxTokens: 5, hold: true, budget: budget({ maxSteps: 1 }) }),
    )
    const rough = bench.finished('a')
    bench.loop.control('a', { type: 'extend', steps: 30 })
    bench.settle()
    const refined = bench.finished('a')
    expect(refined.text.slice(0, 4)).toBe(rough.text.slice(0, 4))
    expect(refined.refinement.steps).toBe(35)
    expect(refined.refinement.energy.best).toBeLessThan(rough.refinement.energy.best / 1000)
    expect(bench.settled('a').map(({ position }) => position)).toEqual([0, 1, 2, 3, 4, 4])
  })

  it('of a converged answer goes on for as many steps as are given', () => {
    const bench = new LoopBench(head)
    bench.run(jobOf('a', { ...long({ tolerance: 0.7, patience: 3 }), hold: true }))
    const { steps, stop_reason } = bench.finished('a').refinement
    expect(stop_reason).toBe('converged')
    bench.loop.control('a', { type: 'extend', steps: 2 })
    bench.settle()
    expect(bench.finished('a').refinement).toMatchObject({
      steps: steps + 2,
      stop_reason: 'max_steps',
    })
  })

  it('of what is not held is an error', () => {
    const bench = new LoopBench(head).run(jobOf('a'))
    expect(() => bench.loop.control('a', { type: 'extend', steps: 1 })).toThrow(
      expect.objectContaining({ code: 'not_held' }),
    )
  })
})

describe('hold', () => {
  const held = (id: string) => jobOf(id, { maxTokens: 1, hold: true })

  it('keeps slots until its time is over', () => {
    const bench = new LoopBench({ ...head, holdSeconds: 10 }).run(held('a'))
    expect(bench.stats).toMatchObject({ held: 1, running: 0, slotsUsed: 1 })
    expect(bench.loop.nextExpiry).toBeCloseTo(bench.seconds + 10, 1)
    bench.loop.expire()
    expect(bench.collect().held).toBe(1)
    bench.seconds += 11
    bench.loop.expire()
    expect(bench.collect()).toMatchObject({ held: 0, slotsUsed: 0, pagesUsed: 0 })
    expect(bench.released).toEqual(['a'])
    expect(bench.loop.nextExpiry).toBeUndefined()
  })

  it('gives way to those who wait, oldest first, and only as far as needed', () => {
    const bench = new LoopBench({ ...head, capacity: { slots: 2 } }).run(held('a'))
    bench.run(held('b')).run(jobOf('c'))
    expect(bench.released).toEqual(['a'])
    expect(bench.finished('c').text).toHaveLength(8)
    bench.loop.control('b', { type: 'cancel' })
    bench.collect()
    expect(bench.released).toEqual(['a', 'b'])
    expect(bench.engine.held).toEqual({ contexts: 0, slots: 0 })
  })
})
