/** Representations of texts and answers, and probes of a landscape that is known. */
import { describe, expect, it } from 'vitest'
import type { EngineRequest } from '../../src/generation/protocol.js'
import { budget, requestOf, letters, EngineBench } from '../support/engine-bench.js'

const head = { model: { energy: { kind: 'head' as const } }, vocabulary: 27 }
const observed = (prompt: string): EngineRequest =>
  requestOf('a', { prompt, maxTokens: 0, represent: 'observed' })

const meanOf = (bench: EngineBench): number[] => [
  ...(bench.of('a', 'scored')[0]?.representation ?? []),
]

describe('the representation of a prompt', () => {
  it('is the mean state of its tokens, without the begin-of-text token', async () => {
    const bench = await new EngineBench(head).run(observed('once upon'))
    const [scored] = bench.of('a', 'scored')
    expect(scored).toMatchObject({ tokens: 9, text: '' })
    const tokens = letters().encode('once upon')
    // A token's state is its readout vector there.
    const [sum] = new EngineBench(head).engine.encode([{ contextId: 0, tokens, pages: [0, 1, 2] }])
    meanOf(bench).forEach((x, d) => expect(x).toBeCloseTo((sum?.[d] ?? 0) / 9, 5))
    expect(bench.finished('a')).toMatchObject({
      text: '',
      usage: { promptTokens: 9, completionTokens: 0 },
    })
    expect(bench.stats).toMatchObject({ slotsUsed: 0, pagesUsed: 0 })
    expect(bench.engine.held).toEqual({ contexts: 0, slots: 0 })
  })

  it.each([1, 2, 3, 7])(
    'is the same in chunks of %d tokens, beside other requests',
    async (prefillChunk) => {
      const whole = meanOf(await new EngineBench(head).run(observed('once upon a time')))
      const chunked = await new EngineBench({ ...head, prefillChunk }).run(
        observed('once upon a time'),
        requestOf('b'),
        requestOf('c', { represent: 'observed', maxTokens: 0, prompt: 'another' }),
      )
      meanOf(chunked).forEach((x, d) => expect(x).toBeCloseTo(whole[d] ?? NaN, 5))
      expect(chunked.finished('b').text).toBe(
        (await new EngineBench(head).run(requestOf('b'))).finished('b').text,
      )
    },
  )

  it('is refused for an empty prompt', () => {
    const bench = new EngineBench(head)
    expect(() => bench.core.submit(observed(''))).toThrow('prompt')
  })
})

describe('the representation of an answer', () => {
  const answer = (overrides: Partial<EngineRequest>) =>
    requestOf('a', { represent: 'answer', ...overrides })

  it('is the mean of the states in which its positions settled', async () => {
    const long = answer({ maxTokens: 4, budget: budget({ maxSteps: 60 }) })
    const bench = await new EngineBench(head).run(long)
    const [settled] = bench.settled('a')
    // It has settled on the readout vectors of its tokens.
    const tokens = letters().encode(bench.finished('a').text)
    expect(tokens).toHaveLength(4)
    const [sum] = new EngineBench(head).engine.encode([{ contextId: 0, tokens, pages: [0] }])
    const representation = [...(settled?.representation ?? [])]
    expect(representation).toHaveLength(8)
    representation.forEach((x, d) => expect(x).toBeCloseTo((sum?.[d] ?? 0) / 4, 3))
  })

  it('counts only the positions that were inferred', async () => {
    const settle = async (template: string) =>
      (
        await new EngineBench(head).run(
          answer({ prompt: 'once', template, budget: budget({ maxSteps: 60 }) }),
        )
      ).settled('a')[0]?.representation
    const bench = await new EngineBench(head).run(
      answer({ prompt: 'once', template: 'a_cd', budget: budget({ maxSteps: 60 }) }),
    )
    const [, blank = 0] = letters().encode(bench.finished('a').text)
    const [state] = new EngineBench(head).engine.encode([
      { contextId: 0, tokens: [blank], pages: [0] },
    ])
    const representation = await settle('a_cd')
    representation?.forEach((x, d) => expect(x).toBeCloseTo(state?.[d] ?? NaN, 3))
  })
})

describe('a landscape probe', () => {
  const probed = (overrides: Partial<EngineRequest> = {}, more: object = {}) =>
    requestOf('a', {
      maxTokens: 4,
      probe: {
        directions: ['candidates', 'gradient', 'random'],
        random: 2,
        points: 5,
        reach: 2,
        ...more,
      },
      ...overrides,
    })

  it('finds a bowl around an answer that has settled, in every direction', async () => {
    const model = { ...head.model, answer: { start: 'noise' as const } }
    const settled = budget({ maxSteps: 60, candidates: 3 })
    const bench = await new EngineBench({ ...head, model }).run(probed({ budget: settled }))
    const [event] = bench.of('a', 'probed')
    const lines = event?.lines ?? []
    const random = lines.filter(({ direction }) => direction === 'random')
    expect(random).toHaveLength(2)
    for (const { at, energies, length } of random) {
      expect(at).toEqual([-2, -1, 0, 1, 2])
      // E = 1/2 |t L|^2 around the bottom.
      energies.forEach((energy, i) => {
        const expected = ((at[i] ?? 0) * length) ** 2 / 2
        expect(energy).toBeCloseTo(expected, 1)
      })
    }
    expect(bench.finished('a').refinement.steps).toBe(60)
    expect(bench.stats).toMatchObject({ slotsUsed: 0, pagesUsed: 0 })
    expect(bench.engine.held).toEqual({ contexts: 0, slots: 0 })
  })

  it('reaches each other candidate at 1, and lies lower ahead of the descent', async () => {
    const model = { ...head.model, answer: { start: 'noise' as const } }
    const short = budget({ maxSteps: 2, candidates: 3 })
    const bench = await new EngineBench({ ...head, model }).run(probed({ budget: short }))
    const [event] = bench.of('a', 'probed')
    const lines = event?.lines ?? []
    const others = lines.filter(({ direction }) => direction === 'candidate')
    expect(others).toHaveLength(2)
    // The chosen one has the lowest energy, as a closing evaluation showed.
    const [centre] = others.map(({ energies }) => energies[2])
    for (const { energies } of others) expect(energies[3]).toBeGreaterThan(centre ?? NaN)
    const [ahead] = lines.filter(({ direction }) => direction === 'gradient')
    const [, , here = NaN, next = NaN] = ahead?.energies ?? []
    expect(here).toBeCloseTo(centre ?? NaN, 5)
    expect(next).toBeLessThan(here)
  })

  it('leaves out directions that are not asked for, and those without a length', async () => {
    const one = await new EngineBench(head).run(probed({}, { directions: ['candidates'] }))
    expect(one.of('a', 'probed')).toEqual([{ type: 'probed', lines: [] }])
    const gradient = await new EngineBench(head).run(probed({}, { directions: ['gradient'] }))
    expect(gradient.of('a', 'probed')[0]?.lines.map(({ direction }) => direction)).toEqual([
      'gradient',
    ])
  })

  it('does not move clamped positions', async () => {
    const asked = probed({ template: 'ab_d', budget: budget({ maxSteps: 60 }) })
    const bench = await new EngineBench(head).run(asked)
    const lines = bench.of('a', 'probed')[0]?.lines ?? []
    const [random] = lines.filter(({ direction }) => direction === 'random')
    random?.energies.forEach((energy, i) => {
      const expected = ((random.at[i] ?? 0) * random.length) ** 2 / 2
      expect(energy).toBeCloseTo(expected, 1)
    })
  })

  it('gives way to other requests, and gets one step in sixteen while they are busy', async () => {
    const bench = new EngineBench(head)
    bench.core.submit(probed({}, { points: 33 }))
    bench.core.submit(requestOf('b', { budget: budget({ maxSteps: 2000 }), maxTokens: 4 }))
    for (let i = 0; i < 5; i++) await bench.step()
    // 99 points, one in sixteen steps with other work.
    for (let i = 0; i < 1000; i++) await bench.step()
    expect(bench.of('a', 'probed')).toEqual([])
    for (let i = 0; i < 900; i++) await bench.step()
    expect(bench.of('a', 'probed')).toHaveLength(1)
    await bench.settle()
    expect(bench.finished('b').refinement.steps).toBe(2000)
  })

  it('ends when its request is cancelled', async () => {
    const bench = new EngineBench(head)
    bench.core.submit(probed({}, { points: 257 }))
    for (let i = 0; i < 20; i++) await bench.step()
    expect(bench.settled('a')).toHaveLength(1)
    bench.core.control('a', { type: 'cancel' })
    await bench.settle(5)
    expect(bench.of('a', 'probed')).toEqual([])
    expect(bench.finished('a').finishReason).toBe('cancelled')
    expect(bench.stats).toMatchObject({ slotsUsed: 0, pagesUsed: 0 })
  })

  it('takes the tokens of its answer once, also when the request is finished meanwhile', async () => {
    const bench = new EngineBench(head)
    bench.core.submit(probed({}, { points: 9 }))
    for (let i = 0; i < 10; i++) await bench.step()
    expect(bench.settled('a')).toHaveLength(1)
    bench.core.control('a', { type: 'finish' })
    await bench.settle()
    expect(bench.settled('a')).toHaveLength(1)
    expect(bench.of('a', 'probed')).toHaveLength(1)
    expect(bench.finished('a').usage.completionTokens).toBe(4)
  })
})

describe('the plane of a descent', () => {
  const plane = (overrides: Partial<EngineRequest> = {}) =>
    requestOf('a', {
      probe: { directions: ['random'], random: 1, points: 3, reach: 1, plane: { points: 9 } },
      maxTokens: 4,
      budget: budget({ maxSteps: 12 }),
      ...overrides,
    })
  const seen = async (request: EngineRequest) => {
    const bench = await new EngineBench(head).run(request)
    const [probed] = bench.of('a', 'probed')
    if (!probed?.plane) throw new Error('no plane was seen')
    return { bench, plane: probed.plane }
  }

  it('has the path of the answer, with the energies of its steps', async () => {
    const { plane: found } = await seen(plane())
    const watched = await new EngineBench(head).run(
      requestOf('a', { ...plane(), reportSteps: true }),
    )
    const energies = watched.of('a', 'step').map(({ energy }) => energy)
    expect(found.path).toHaveLength(13)
    found.path
      .slice(0, 12)
      .forEach(({ energy }, i) => expect(energy).toBeCloseTo(energies[i] ?? NaN, 4))
    expect(found.path.at(-1)).toMatchObject({ x: 0, y: 0 })
  })

  it('has the energy of a bowl around its end', async () => {
    const { plane: found } = await seen(plane())
    expect(found.energies).toHaveLength(9)
    const { path, x, y } = found
    // The descent goes straight down a bowl: E grows by half the squared distance from its bottom,
    // which lies a little beyond the end of the path.
    const [start, end] = [path[0], path.at(-1)]
    const share = Math.sqrt((end?.energy ?? NaN) / (start?.energy ?? NaN))
    const bottom = { x: -((start?.x ?? NaN) * share) / (1 - share), y: 0 }
    found.energies.forEach((row, j) => {
      row.forEach((energy, i) => {
        const distance = ((x[i] ?? NaN) - bottom.x) ** 2 + ((y[j] ?? NaN) - bottom.y) ** 2
        expect(energy).toBeCloseTo(distance / 2, 3)
      })
    })
  })

  it('holds a straight path whole, and has room around it', async () => {
    const { plane: found } = await seen(plane())
    expect(found.explained).toBeCloseTo(1, 6)
    const xs = found.path.map(({ x }) => x)
    expect(found.x[0]).toBeLessThan(Math.min(...xs))
    expect(found.x.at(-1)).toBeGreaterThan(Math.max(...xs))
  })

  it('of a descent with noise is that of the same noise', async () => {
    const noisy = plane({ budget: budget({ maxSteps: 12, noise: 0.3 }) })
    const { plane: found } = await seen(noisy)
    const watched = await new EngineBench(head).run(requestOf('a', { ...noisy, reportSteps: true }))
    expect(found.path).toHaveLength(13)
    expect(found.explained).toBeLessThan(1)
    const [probed] = watched.of('a', 'probed')
    expect(probed?.plane).toEqual(found)
  })

  it('keeps at most 129 points of a long path, both ends among them', async () => {
    const { bench, plane: found } = await seen(plane({ budget: budget({ maxSteps: 1000 }) }))
    expect(found.path.length).toBeLessThanOrEqual(129)
    expect(found.path.length).toBeGreaterThan(100)
    expect(found.path.at(-1)).toMatchObject({ x: 0, y: 0 })
    expect(bench.engine.held).toEqual({ contexts: 0, slots: 0 })
  })
})
