/** Given tokens: scored in place of tokens that would be inferred. */
import { describe, expect, it } from 'vitest'
import type { EngineRequest } from '../../src/generation/protocol.js'
import { requestOf, EngineBench } from '../support/engine-bench.js'

const head = { model: { energy: { kind: 'head' as const } }, vocabulary: 27 }
const given = (answer: string, by: 'energy' | 'logprobs', overrides: Partial<EngineRequest> = {}) =>
  requestOf('a', {
    given: { answer, by, param: 'answers' },
    maxTokens: 0,
    logprobs: 2,
    echo: true,
    ...overrides,
  })

describe('given tokens', () => {
  it('are scored by their energy without a step, block by block', async () => {
    const bench = await new EngineBench(head).run(given('lovely', 'energy', { prompt: 'once ' }))
    const scored = bench.of('a', 'scored')
    expect(scored.map(({ text, tokens }) => [text, tokens])).toEqual([
      ['love', 4],
      ['ly', 2],
    ])
    for (const { energy } of scored) expect(energy).toBeGreaterThanOrEqual(0)
    expect(bench.of('a', 'started')).toMatchObject([
      { promptTokens: 11, promptText: 'once lovely' },
    ])
    expect(bench.finished('a')).toMatchObject({ text: '', refinement: { steps: 0 } })
    expect(bench.stats).toMatchObject({ slotsUsed: 0, pagesUsed: 0 })
  })

  it('have less energy where they are what the model would say', async () => {
    const bench = await new EngineBench(head).run(requestOf('b', { prompt: 'once', maxTokens: 4 }))
    const { text } = bench.finished('b')
    const other = text === 'aaaa' ? 'bbbb' : 'aaaa'
    const cost = async (answer: string) => {
      const scored = await new EngineBench(head).run(given(answer, 'energy', { prompt: 'once' }))
      return scored.of('a', 'scored')[0]?.energy ?? NaN
    }
    expect(await cost(text)).toBeLessThan(await cost(other))
  })

  it('have the log-probabilities of the answers found in their place', async () => {
    const bench = await new EngineBench(head).run(given('tale', 'logprobs', { prompt: 'once' }))
    const [scored] = bench.of('a', 'scored')
    const free = await new EngineBench(head).run(
      requestOf('a', { prompt: 'once', maxTokens: 4, logprobs: 2 }),
    )
    const [committed] = free.settled('a')
    expect(scored?.logprobs?.map(({ token }) => token).join('')).toBe('tale')
    const alternatives = (event: typeof scored | typeof committed) =>
      event?.logprobs?.map(({ top }) => top.map(({ token }) => token))
    expect(alternatives(scored)).toEqual(alternatives(committed))
    expect(bench.finished('a').refinement.steps).toBe(4)
  })

  it('are followed by what would follow the same prompt', async () => {
    const after = await new EngineBench(head).run(
      given('once upon', 'logprobs', { prompt: '', maxTokens: 6 }),
    )
    const plain = await new EngineBench(head).run(
      requestOf('a', { prompt: 'once upon', maxTokens: 6 }),
    )
    expect(after.finished('a').text).toBe(plain.finished('a').text)
    expect(after.finished('a').usage).toEqual({ promptTokens: 9, completionTokens: 6 })
  })

  it('are refused where they are empty, foreign or too long', () => {
    const bench = new EngineBench(head)
    const refused = (request: EngineRequest, code: string) => {
      expect(() => {
        bench.core.submit(request)
      }).toThrow(expect.objectContaining({ code }))
    }
    refused(given('', 'energy'), 'empty_prompt')
    refused(given('Ü', 'energy'), 'invalid_request')
    refused(given('a'.repeat(300), 'energy'), 'context_length_exceeded')
  })

  it('leave nothing behind when their request is cancelled', async () => {
    const bench = new EngineBench(head)
    bench.core.submit(given('a long tale', 'logprobs'))
    for (let i = 0; i < 5; i++) await bench.step()
    bench.core.control('a', { type: 'cancel' })
    await bench.settle()
    expect(bench.collect()).toMatchObject({ slotsUsed: 0, pagesUsed: 0 })
    expect(bench.engine.held).toEqual({ contexts: 0, slots: 0 })
  })
})

describe('chosen tokens', () => {
  it('have the energy of the same given tokens, if it is asked for', async () => {
    const bench = await new EngineBench(head).run(
      requestOf('a', { maxTokens: 4, tokenEnergy: true }),
    )
    const [committed] = bench.settled('a')
    const scored = await new EngineBench(head).run(given(bench.finished('a').text, 'energy', {}))
    expect(committed?.tokenEnergy).toBe(scored.of('a', 'scored')[0]?.energy)
  })
})
