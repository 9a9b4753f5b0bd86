/** Positions of an answer that are fixed or opened while it settles. */
import { describe, expect, it } from 'vitest'
import { budget, requestOf, EngineBench } from '../support/engine-bench.js'

const model = { answer: { block: 10 } }
const template = 'a_c__f_h__'
const long = { template, reportSteps: true, budget: budget({ maxSteps: 400 }) }
const open = () => new EngineBench({ vocabulary: 27, model })

async function begun(
  steps: number,
  overrides: Partial<Parameters<typeof requestOf>[1]> = {},
): Promise<EngineBench> {
  const bench = open()
  bench.core.submit(requestOf('a', { ...long, ...overrides }))
  for (let i = 0; i < steps; i++) await bench.step()
  return bench
}

/** What a job with this template settles on. */
const answerTo = async (asked: string): Promise<string> =>
  (await open().run(requestOf('b', { ...long, template: asked }))).finished('b').text

describe('a clamped position', () => {
  it('keeps its token, and the others settle as if it had been given', async () => {
    const bench = await begun(5)
    bench.core.control('a', { type: 'clamp', position: 4, text: 'z' })
    await bench.settle()
    const { text } = bench.finished('a')
    expect(text).toBe(await answerTo('a_c_zf_h__'))
    expect(text).not.toBe(await answerTo(template))
  })

  it('does not begin the descent again', async () => {
    const bench = await begun(5)
    const before = bench.of('a', 'step').length
    bench.core.control('a', { type: 'clamp', position: 4, text: 'z' })
    await bench.step()
    const steps = bench.of('a', 'step')
    expect(steps.slice(before).map(({ step }) => step)).toEqual([before + 1])
    expect(steps.at(-1)?.text[4]).toBe('z')
  })

  it('leaves the energies before it out of the best', async () => {
    const bench = await begun(200)
    const low = bench.of('a', 'step').at(-1)?.bestEnergy ?? 0
    bench.core.control('a', { type: 'clamp', position: 4, text: 'z' })
    await bench.step()
    expect(bench.of('a', 'step').at(-1)?.bestEnergy).toBeGreaterThan(low)
  })

  it('can be opened again', async () => {
    const bench = await begun(5)
    bench.core.control('a', { type: 'clamp', position: 4, text: 'z' })
    for (let i = 0; i < 20; i++) await bench.step()
    bench.core.control('a', { type: 'clamp', position: 4, text: '_' })
    await bench.settle()
    expect(bench.finished('a').text).toBe(await answerTo(template))
  })

  it('may be one that the request had given', async () => {
    const bench = await begun(5)
    bench.core.control('a', { type: 'clamp', position: 0, text: '_' })
    await bench.settle()
    expect(bench.finished('a').text).toBe(await answerTo('__c__f_h__'))
  })

  it('holds for every candidate', async () => {
    const bench = await begun(5, { budget: budget({ maxSteps: 400, candidates: 3 }) })
    bench.core.control('a', { type: 'clamp', position: 4, text: 'z' })
    await bench.settle()
    const last = bench.of('a', 'step').slice(-3)
    expect(last.map(({ candidate }) => candidate)).toEqual([0, 1, 2])
    for (const { text } of last) expect(text[4]).toBe('z')
  })

  it('holds for a candidate that has lost its slot to another client, when it comes back', async () => {
    const bench = new EngineBench({ vocabulary: 27, model, capacity: { slots: 3 } })
    bench.core.submit(requestOf('a', { ...long, budget: budget({ maxSteps: 400, candidates: 3 }) }))
    for (let i = 0; i < 5; i++) await bench.step()
    let movedOut = 0
    bench.watch((stats) => (movedOut += stats.movedOut))
    bench.core.submit(requestOf('b', { ...long, client: 'another' }))
    for (let i = 0; i < 5; i++) await bench.step()
    bench.core.control('a', { type: 'clamp', position: 4, text: 'z' })
    await bench.settle()
    expect(movedOut).toBeGreaterThan(0)
    const last = new Map(bench.of('a', 'step').map(({ candidate, text }) => [candidate, text]))
    expect([...last.keys()].sort()).toEqual([0, 1, 2])
    for (const text of last.values()) expect(text).toBe(await answerTo('a_c_zf_h__'))
    expect(bench.finished('b').text).toBe(await answerTo(template))
  })

  it('of a held answer counts when it goes on', async () => {
    const bench = await begun(0, { hold: true })
    await bench.settle()
    bench.core.control('a', { type: 'clamp', position: 4, text: 'z' })
    bench.core.control('a', { type: 'extend', steps: 400 })
    await bench.settle()
    expect(bench.finished('a').text).toBe(await answerTo('a_c_zf_h__'))
  })

  it('of a paused answer counts when it is resumed', async () => {
    const bench = await begun(5)
    bench.core.control('a', { type: 'pause' })
    bench.core.control('a', { type: 'clamp', position: 4, text: 'z' })
    expect(await bench.step()).toBe(false)
    bench.core.control('a', { type: 'resume' })
    await bench.settle()
    expect(bench.finished('a').text[4]).toBe('z')
  })
})

describe('a clamp that cannot be', () => {
  it.each([
    ['a position beyond the answer', { position: 10, text: 'z' }, 'position'],
    ['a text of two tokens', { position: 4, text: 'zz' }, 'text'],
  ])('%s is declined, and the answer goes on', async (_, asked, param) => {
    const bench = await begun(5)
    bench.core.control('a', { type: 'clamp', ...asked })
    await bench.settle()
    expect(bench.of('a', 'declined')).toMatchObject([{ error: { facts: { param } } }])
    expect(bench.finished('a').text).toBe(await answerTo(template))
  })

  it('declines the last blank', async () => {
    const bench = await begun(5, { template: 'abcdefgh_j' })
    bench.core.control('a', { type: 'clamp', position: 8, text: 'z' })
    await bench.settle()
    expect(bench.of('a', 'declined')).toMatchObject([{ error: { facts: { param: 'position' } } }])
  })

  it('declines answers without a template', async () => {
    const bench = open()
    bench.core.submit(requestOf('a', { budget: budget({ maxSteps: 400 }) }))
    for (let i = 0; i < 5; i++) await bench.step()
    bench.core.control('a', { type: 'clamp', position: 0, text: 'z' })
    await bench.settle()
    expect(bench.of('a', 'declined')).toMatchObject([{ error: { facts: { param: 'type' } } }])
  })
})
