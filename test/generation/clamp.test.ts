/** Positions of an answer that are fixed or opened while it settles. */
import { describe, expect, it } from 'vitest'
import { budget, jobOf, LoopBench } from '../support/loops.js'

const model = { answer: { block: 10 } }
const template = 'a_c__f_h__'
const long = { template, reportSteps: true, budget: budget({ maxSteps: 400 }) }
const open = () => new LoopBench({ vocabulary: 27, model })

function begun(steps: number, overrides: Partial<Parameters<typeof jobOf>[1]> = {}): LoopBench {
  const bench = open()
  bench.loop.submit(jobOf('a', { ...long, ...overrides }))
  for (let i = 0; i < steps; i++) bench.tick()
  return bench
}

/** What a job with this template settles on. */
const answerTo = (asked: string): string =>
  open()
    .run(jobOf('b', { ...long, template: asked }))
    .finished('b').text

describe('a clamped position', () => {
  it('keeps its token, and the others settle as if it had been given', () => {
    const bench = begun(5)
    bench.loop.control('a', { type: 'clamp', position: 4, text: 'z' })
    bench.settle()
    const { text } = bench.finished('a')
    expect(text).toBe(answerTo('a_c_zf_h__'))
    expect(text).not.toBe(answerTo(template))
  })

  it('does not begin the descent again', () => {
    const bench = begun(5)
    const before = bench.of('a', 'step').length
    bench.loop.control('a', { type: 'clamp', position: 4, text: 'z' })
    bench.tick()
    const steps = bench.of('a', 'step')
    expect(steps.slice(before).map(({ step }) => step)).toEqual([before + 1])
    expect(steps.at(-1)?.text[4]).toBe('z')
  })

  it('leaves the energies before it out of the best', () => {
    const bench = begun(200)
    const low = bench.of('a', 'step').at(-1)?.bestEnergy ?? 0
    bench.loop.control('a', { type: 'clamp', position: 4, text: 'z' })
    bench.tick()
    expect(bench.of('a', 'step').at(-1)?.bestEnergy).toBeGreaterThan(low)
  })

  it('can be opened again', () => {
    const bench = begun(5)
    bench.loop.control('a', { type: 'clamp', position: 4, text: 'z' })
    for (let i = 0; i < 20; i++) bench.tick()
    bench.loop.control('a', { type: 'clamp', position: 4, text: '_' })
    bench.settle()
    expect(bench.finished('a').text).toBe(answerTo(template))
  })

  it('may be one that the request had given', () => {
    const bench = begun(5)
    bench.loop.control('a', { type: 'clamp', position: 0, text: '_' })
    bench.settle()
    expect(bench.finished('a').text).toBe(answerTo('__c__f_h__'))
  })

  it('holds for every candidate', () => {
    const bench = begun(5, { budget: budget({ maxSteps: 400, candidates: 3 }) })
    bench.loop.control('a', { type: 'clamp', position: 4, text: 'z' })
    bench.settle()
    const last = bench.of('a', 'step').slice(-3)
    expect(last.map(({ candidate }) => candidate)).toEqual([0, 1, 2])
    for (const { text } of last) expect(text[4]).toBe('z')
  })

  it('of a held answer counts when it goes on', () => {
    const bench = begun(0, { hold: true })
    bench.settle()
    bench.loop.control('a', { type: 'clamp', position: 4, text: 'z' })
    bench.loop.control('a', { type: 'extend', steps: 400 })
    bench.settle()
    expect(bench.finished('a').text).toBe(answerTo('a_c_zf_h__'))
  })

  it('of a paused answer counts when it is resumed', () => {
    const bench = begun(5)
    bench.loop.control('a', { type: 'pause' })
    bench.loop.control('a', { type: 'clamp', position: 4, text: 'z' })
    expect(bench.tick()).toBe(false)
    bench.loop.control('a', { type: 'resume' })
    bench.settle()
    expect(bench.finished('a').text[4]).toBe('z')
  })
})

describe('a clamp that cannot be', () => {
  it.each([
    ['a position beyond the answer', { position: 10, text: 'z' }, 'position'],
    ['a text of two tokens', { position: 4, text: 'zz' }, 'text'],
  ])('%s is declined, and the answer goes on', (_, asked, param) => {
    const bench = begun(5)
    bench.loop.control('a', { type: 'clamp', ...asked })
    bench.settle()
    expect(bench.of('a', 'declined')).toMatchObject([{ error: { facts: { param } } }])
    expect(bench.finished('a').text).toBe(answerTo(template))
  })

  it('declines the last blank', () => {
    const bench = begun(5, { template: 'abcdefgh_j' })
    bench.loop.control('a', { type: 'clamp', position: 8, text: 'z' })
    bench.settle()
    expect(bench.of('a', 'declined')).toMatchObject([{ error: { facts: { param: 'position' } } }])
  })

  it('declines answers without a template', () => {
    const bench = open()
    bench.loop.submit(jobOf('a', { budget: budget({ maxSteps: 400 }) }))
    for (let i = 0; i < 5; i++) bench.tick()
    bench.loop.control('a', { type: 'clamp', position: 0, text: 'z' })
    bench.settle()
    expect(bench.of('a', 'declined')).toMatchObject([{ error: { facts: { param: 'type' } } }])
  })
})
