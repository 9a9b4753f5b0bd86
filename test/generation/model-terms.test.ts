/** Terms that are the energies of other models: their gradients, and requests with them on the shipped puzzle models. */
import { afterAll, describe, expect, it } from 'vitest'
import { loadAddon } from '../../src/energy/native/addon.js'
import { nativeEngine, type NativeEngine } from '../../src/energy/native/engine.js'
import { EngineCore } from '../../src/generation/core/engine-core.js'
import { type ModelAsk, TermModel } from '../../src/generation/core/terms/term-model.js'
import { TermModels } from '../../src/generation/core/terms/term-models.js'
import type { EngineRequest, Of, TermRequest } from '../../src/generation/protocol.js'
import { type Checkpoint, openCheckpoint } from '../../src/model/checkpoint.js'
import type { ModelConfig } from '../../src/model/config.js'
import { normals, uniform } from '../../src/refine/random.js'
import { assemble } from '../../src/tokenizer/assemble.js'
import { openTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js'
import { initialWeights } from '../../src/train/initial-weights.js'
import { budget, requestOf } from '../support/engine-bench.js'
import { LateEngine } from '../support/late-engine.js'
import { configOf } from '../support/models.js'

const opened: NativeEngine[] = []
afterAll(() => {
  for (const engine of opened) engine.close()
})

function open(checkpoint: Checkpoint, slots: number): NativeEngine {
  const capacity = { slots, contexts: slots, pages: 16 * slots }
  const options = {
    capacity,
    threads: 1,
    weights: 'f32',
    cacheType: 'f32',
    reason: 'test',
  } as const
  const engine = nativeEngine(checkpoint, loadAddon(), options)
  opened.push(engine)
  return engine
}

/** One character a token, and a token for the end. */
function tokenizerOf(characters: string): Tokenizer {
  const bytes = Array.from(characters, (c) => new TextEncoder().encode(c))
  const end = bytes.length
  const encode = (text: string) => Array.from(text, (c) => characters.indexOf(c))
  return assemble(new Map(bytes.entries()), new Map([['<end>', end]]), end, encode)
}

const alphabet = 'abcdefghij'
const small = (overrides: Parameters<typeof configOf>[0]): Checkpoint => {
  const config = configOf(overrides)
  return { config, tensors: initialWeights(config, 42, 0.5) }
}

const vocab = {
  space: 'vocab',
  normalize: 'every_step',
  embed: 'vocab_to_embed',
  start: 'noise',
} as const
const exact = { energy: { kind: 'head', direction: 'exact' } } as const

/** Models whose direction is the gradient of their energy. */
const exactModels: [string, Parameters<typeof configOf>[0]][] = [
  ['latent head', exact],
  ['latent potential', { energy: { kind: 'potential', direction: 'exact' } }],
  ['latent residual along the exact direction', { energy: { direction: 'exact', doubt: 0 } }],
  ['vocab head', { ...exact, answer: vocab }],
  ['vocab head, never normalized', { ...exact, answer: { ...vocab, normalize: 'never' } }],
  ['vocab head, two landscapes', { ...exact, answer: vocab, conditioning: 'adaln', landscapes: 2 }],
]

const askOf = (
  { answer, vocab_size: size }: ModelConfig,
  seed: number,
  chances = Float64Array.from({ length: answer.block * size }, (_, i) => {
    const row = Array.from({ length: size }, (_, v) => 0.2 + uniform(seed, Math.floor(i / size), v))
    return (row[i % size] as number) / row.reduce((sum, x) => sum + x, 0)
  }),
): ModelAsk => ({ context: { prompt: [1, 2, 3] }, before: [], chances, clamped: undefined })

describe.each(exactModels)('the energy of another model, %s', (_, overrides) => {
  it('has the gradient by the read-out that finite differences give', async () => {
    const checkpoint = small(overrides)
    const { config } = checkpoint
    const tokenizer = tokenizerOf(alphabet)
    const engine = open(checkpoint, 4)
    const model = await TermModel.of({ engine, tokenizer }, tokenizer, config.vocab_size)
    const ask = askOf(config, 3)
    const [at] = await model.evaluate([ask])
    if (!at) throw new Error('not evaluated')
    for (let direction = 0; direction < 4; direction++) {
      const along = normals(9, direction, 0, ask.chances.length)
      const step = 1e-3
      const value = async (change: number) => {
        const chances = ask.chances.map((p, i) => p + change * (along[i] as number))
        const [found] = await model.evaluate([{ ...ask, chances }])
        return found?.value ?? NaN
      }
      const difference = ((await value(step)) - (await value(-step))) / (2 * step)
      const slope = at.slope.reduce((sum, x, i) => sum + x * (along[i] as number), 0)
      const scale = Math.hypot(...at.slope)
      expect(scale).toBeGreaterThan(1e-3)
      expect(Math.abs(slope - difference)).toBeLessThan(0.03 * scale)
    }
  })
})

const folder = (name: string) => new URL(`../../models/${name}/`, import.meta.url).pathname
const tokenizer = openTokenizer(folder('sudoku6'))
const host = open(openCheckpoint(folder('sudoku6')), 16)

const options = { prefillChunk: 32, holdSeconds: 60, pauseSeconds: 60 }

/** A core of sudoku6 that opens other models with so many slots. */
function coreOf(slots: number, late = false) {
  const models = new TermModels(
    (directory) => {
      const engine = open(openCheckpoint(directory), slots)
      return Promise.resolve({
        engine: late ? new LateEngine(engine) : engine,
        tokenizer: openTokenizer(directory),
      })
    },
    tokenizer,
    host.model.vocab_size,
  )
  return { core: new EngineCore(host, tokenizer, { ...options, termModels: models }), models }
}
const shared = coreOf(8)

const other = { type: 'model', model: 'other', directory: folder('sudoku6') } as const
const solved = '326154145236654231231645413562562413'
/** Many boards have these givens. */
const open6 = '32____1_____6_______________________'.padEnd(36, '_')

const request = (id: string, term: Partial<TermRequest> & { weight: number }): EngineRequest =>
  requestOf(id, {
    prompt: '',
    template: open6,
    terms: [{ ...other, ...term } as TermRequest],
    budget: budget({ maxSteps: 24, noise: 1, noiseSteps: 1, candidates: 2 }),
    sampling: { ...requestOf('').sampling, seed: Number(id) },
  })

async function run(
  requests: readonly EngineRequest[],
  { core, models } = shared,
): Promise<Of<'finished'>[]> {
  for (const { terms = [] } of requests)
    for (const term of terms)
      if (term.type === 'model' && term.directory) await models.load(term.directory)
  for (const each of requests) core.submit(each)
  const finished = new Map<string, Of<'finished'>>()
  for (let more = true; more;) {
    more = await core.step()
    for (const { event, id } of core.report().events) {
      if (event.type === 'failed') throw new Error(JSON.stringify(event.error))
      if (event.type === 'finished') finished.set(id, event)
    }
  }
  return requests.map(({ id }) => finished.get(id) as Of<'finished'>)
}

const seeds = ['1', '2', '3', '4', '5', '6', '7', '8']
const valueOf = ({ refinement }: Of<'finished'>): number => refinement.terms?.[0]?.value ?? NaN
const mean = (values: readonly number[]): number =>
  values.reduce((sum, x) => sum + x, 0) / values.length
/** Positions at which a board is that solution. */
const like = ({ text }: Of<'finished'>): number =>
  Array.from(text).filter((digit, i) => digit === solved[i]).length

describe('a request with the energy of another model as a term', () => {
  it('goes away from where that energy is low, where its weight is negative', async () => {
    const template = '_4______6__1_5__2___45____1__63_____'
    const of = (weight: number) =>
      run(seeds.map((seed) => ({ ...request(seed, { weight }), template })))
    const [alone, away] = [await of(1e-9), await of(-4)]
    expect(mean(away.map(valueOf))).toBeGreaterThan(3 * mean(alone.map(valueOf)))
    const same = alone.filter(({ text }, i) => text === away[i]?.text)
    expect(same.length).toBeLessThan(seeds.length / 2)
  })

  it('learns from what is given in the other model alone', async () => {
    const template = Array.from(solved, (digit, i) => (i % 3 === 1 ? digit : '_')).join('')
    const of = (weight: number) => run(seeds.map((seed) => request(seed, { weight, template })))
    const [alone, together, away] = [await of(1e-9), await of(4), await of(-4)]
    expect(mean(together.map(like))).toBeGreaterThan(mean(alone.map(like)) + 6)
    expect(mean(away.map(like))).toBeLessThan(mean(alone.map(like)))
  })

  it('is the same beside others, with fewer contexts than requests, and with an engine that answers later', async () => {
    const requests = seeds.map((seed) => request(seed, { weight: 2 }))
    const together = await run(requests)
    const narrow = coreOf(2, true)
    expect(await run(requests, narrow)).toEqual(together)
    const before = opened.length
    expect(await run([request('3', { weight: 2 })], narrow)).toEqual([together[2]])
    expect(opened.length).toBe(before)
  })

  it('is satisfied where its energy is at most the tolerance', async () => {
    const required = (tolerance: number) => ({ weight: 1, required: true, tolerance })
    const [loose] = await run([request('1', required(1e6))])
    expect(loose?.finishReason).toBe('stop')
    expect(loose?.refinement.terms?.[0]?.satisfied).toBe(true)
    const [strict] = await run([request('1', required(0))])
    expect(strict?.finishReason).toBe('unsatisfied')
    expect(strict?.refinement.terms?.[0]?.satisfied).toBe(false)
  })
})

describe('the energy of another model that cannot be a term', () => {
  const refused = async (term: Partial<TermRequest> & { weight: number }): Promise<string> =>
    run([request('1', term)]).then(
      () => '',
      (error: unknown) => (error as Error).message,
    )

  it('is refused by field and reason', async () => {
    const directory = folder('sudoku9')
    expect(await refused({ weight: 1, directory })).toMatch(
      /energy_terms\[0\]\.model is not supported: answers of sudoku9 have 81 positions, those of sudoku6 36/,
    )
    expect(await refused({ weight: 1, required: true })).toMatch(/energy_terms\[0\]\.tolerance: is/)
    expect(await refused({ weight: 1, template: '1_' })).toMatch(
      /energy_terms\[0\]\.template: sudoku6 needs exactly 36 positions, got 2/,
    )
    expect(await refused({ weight: 1, prompt: 'x' })).toMatch(/energy_terms\[0\]\.prompt/)
    expect(await refused({ weight: 1, prompt: '1'.repeat(40) })).toMatch(/holds 64 tokens/)
  })

  it('names tokens that the other model does not have', async () => {
    const words = tokenizerOf('123456!?')
    const engine = open(small({ answer: { block: 36 }, context_length: 128 }), 4)
    const models = new TermModels(
      (directory) =>
        Promise.resolve({
          engine: open(openCheckpoint(directory), 2),
          tokenizer: openTokenizer(directory),
        }),
      words,
      engine.model.vocab_size,
    )
    await models.load(other.directory)
    const core = new EngineCore(engine, words, { ...options, termModels: models })
    expect(() => {
      core.submit(request('1', { weight: 1 }))
    }).toThrow(/sudoku6 has no token for 2 of the tokens of small, such as "!", "\?"/)
  })

  it('is refused where there can be no other models', () => {
    const core = new EngineCore(host, tokenizer, options)
    expect(() => {
      core.submit(request('1', { weight: 1 }))
    }).toThrow(/energy_terms\[0\]\.model is not supported: the engine that answers opens no other/)
  })
})
