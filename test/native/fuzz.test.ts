/**
 * Whatever is passed to the addon, it returns or throws, and never crashes: every argument is replaced by
 * numbers and values that do not belong there, a few thousand times.
 */
import { expect, it } from 'vitest'
import { loadAddon, type Addon, type OpenConfig } from '../../src/energy/native/addon.js'
import { BasinError } from '../../src/errors.js'
import { uniform } from '../../src/refine/random.js'
import { modelOf, variants } from '../support/models.js'
import { openNative } from './support.js'

const loaded = loadAddon()
if ('missing' in loaded) throw new Error(loaded.missing)
const { addon } = loaded
/** The addon without its types, so that tests may pass anything. */
const loose = addon as unknown as Record<keyof Addon, (...values: unknown[]) => unknown>

const small: OpenConfig = {
  vocab_size: 11,
  dim: 16,
  layers: 2,
  heads: 2,
  ffn_dim: 24,
  context_length: 64,
  landscapes: 1,
  block: 4,
  norm_eps: 1e-5,
  rope_theta: 10000,
  start_scale: 1,
  doubt: 0.5,
  conditioning: 0,
  space: 1,
  start: 1,
  normalize: 2,
  embed: 1,
  kind: 2,
  direction: 0,
  anchor: 0,
  weights: 0,
  cache: 0,
  kernels: 0,
  slots: 3,
  contexts: 3,
  pages: 9,
  threads: 2,
}

/** A stream of pseudo-random choices, reproducible by its seed. */
class Choices {
  private drawn = 0
  constructor(private readonly seed: number) {}
  below(limit: number): number {
    return Math.floor(uniform(this.seed, 0, this.drawn++) * limit)
  }
  of<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T
  }
}

const oddNumbers = [0, 1, 2, 3, 8, -1, 0.5, NaN, Infinity, -Infinity, 1e9, 2 ** 31, 2 ** 53, -0, 64]
const oddValues: readonly unknown[] = [
  undefined,
  null,
  'text',
  true,
  Symbol('odd'),
  {},
  [],
  () => 0,
  10n,
  new Float64Array(3),
  new Float32Array(64),
  new Int32Array(2),
  new Uint8Array(5),
  new Proxy(
    {},
    {
      get: () => {
        throw new Error('trap')
      },
    },
  ),
]

const oddRow = (choices: Choices): Float64Array =>
  Float64Array.from({ length: choices.below(14) }, () => choices.of(oddNumbers))

const tensors = Object.fromEntries(
  [...modelOf('latent residual amortized, K 4').tensors].map(([name, t]) => [name, t.data]),
)

function attempt(act: () => unknown): void {
  try {
    act()
  } catch (error) {
    expect(error).toBeInstanceOf(Error)
  }
}

it('calls on an open engine with anything return or throw', () => {
  const choices = new Choices(1)
  const engine = addon.open(small, tensors)
  const value = (usual: unknown): unknown => {
    const kind = choices.below(4)
    return kind === 0 ? choices.of(oddValues) : kind === 1 ? choices.of(oddNumbers) : usual
  }
  for (let round = 0; round < 4000; round++) {
    const handle = choices.below(20) === 0 ? choices.of(oddValues) : engine
    const results = choices.below(9) === 0 ? new Float64Array(1) : new Float64Array(80)
    attempt(() => loose.observe(handle, value(oddRow(choices))))
    attempt(() =>
      loose.begin(
        handle,
        ...[0, 0, 7, 0, 0].map((usual) => value(usual)),
        value(null),
        value(null),
      ),
    )
    attempt(() => loose.descend(handle, value(oddRow(choices)), value(results)))
    attempt(() => loose.energy(handle, value(oddRow(choices)), value(results)))
    const [tokens, logProbs] = [new Int32Array(44), new Float32Array(44)]
    attempt(() =>
      loose.read(
        handle,
        ...[0, 1, 3, 1].map((usual) => value(usual)),
        value(tokens),
        value(logProbs),
        value(new Float32Array(44)),
      ),
    )
    const [numbers, values] = [new Float64Array(11), new Float32Array(200)]
    attempt(() => loose.save(handle, value(0), value(numbers), value(values)))
    for (let change = choices.below(3); change > 0; change--)
      numbers[choices.below(numbers.length)] = choices.of(oddNumbers)
    attempt(() => loose.restore(handle, value(0), value(0), value(numbers), value(values)))
    attempt(() => loose.observed(handle, value(0)))
    if (choices.below(10) === 0) attempt(() => loose.release(handle, value(0)))
    attempt(() => loose.describe(value(engine)))
  }
  // It still works.
  addon.observe(engine, Float64Array.of(0, 0, 2, 1, 1, 5, 3))
  addon.begin(engine, 0, 0, 1, 0, 0, null, null)
  const results = new Float64Array(5)
  addon.descend(engine, Float64Array.of(0, 0, 0, 0.5, 0, 0), results)
  expect(Number.isFinite(results[0])).toBe(true)
  addon.close(engine)
  expect(() => addon.describe(engine)).toThrow('closed')
})

it('opening with any configuration and tensors returns or throws', () => {
  const choices = new Choices(2)
  for (let round = 0; round < 600; round++) {
    const config: Record<string, unknown> = { ...small }
    const given: Record<string, unknown> = { ...tensors }
    for (let change = 0; change <= choices.below(3); change++) {
      const field = choices.of(Object.keys(config))
      config[field] = choices.of<unknown>(choices.below(4) === 0 ? oddValues : oddNumbers)
      if (choices.below(2) === 0) continue
      given[choices.of(Object.keys(given))] = choices.of(oddValues)
    }
    // Large sizes are legitimate, but take minutes.
    for (const field of ['slots', 'contexts', 'pages', 'threads']) {
      const size = config[field]
      if (typeof size === 'number' && size > 1000) config[field] = 3
    }
    attempt(() => {
      addon.close(loose.open(config, given) as never)
    })
  }
})

it('throws an error of the table for weights that are missing, short or not finite', () => {
  const checkpoint = modelOf('latent residual amortized, K 4')
  const broken = (
    change: (map: Map<string, { shape: readonly number[]; data: Float32Array }>) => void,
  ) => {
    const map = new Map(checkpoint.tensors)
    change(map)
    expect(() => openNative({ ...checkpoint, tensors: map })).toThrow(BasinError)
  }
  const name = 'transformer.layers.1.feed_forward.w2.weight'
  broken((map) => map.delete(name))
  broken((map) => map.set(name, { shape: [16, 24], data: new Float32Array(16 * 23) }))
  broken((map) => map.set(name, { shape: [16, 24], data: new Float32Array(16 * 24).fill(NaN) }))
})

it('refuses a page table that does not cover the context, and observes nothing', () => {
  for (const { label } of variants) {
    const engine = openNative(modelOf(label))
    const tokens = new Array<number>(17).fill(1)
    expect(() => engine.observe([{ contextId: 0, tokens, pages: [0] }])).toThrow(BasinError)
    expect(() => engine.observe([{ contextId: 0, tokens, pages: [0, 64] }])).toThrow(BasinError)
    const long = new Array<number>(65).fill(1)
    expect(() => engine.observe([{ contextId: 0, tokens: long, pages: [0, 1, 2, 3, 4] }])).toThrow(
      BasinError,
    )
    engine.observe([{ contextId: 0, tokens, pages: [0, 1] }])
    engine.close()
  }
})
