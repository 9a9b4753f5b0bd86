/** An engine against the tfjs engine, which defines what it must compute. The tests of each engine call this. */
import { beforeAll, describe, expect, it } from 'vitest'
import type { EnergyEngine, EnergyResult } from '../../src/energy/engine.js'
import { loadBackend, type Backend } from '../../src/energy/tfjs/backend.js'
import { TfjsEngine } from '../../src/energy/tfjs/engine.js'
import type { Checkpoint } from '../../src/model/checkpoint.js'
import { landscapeOf } from '../../src/model/config.js'
import { initialWeights } from '../../src/train/initial-weights.js'
import { relativeError } from '../support/golden.js'
import { configOf, modelOf, variants } from '../support/models.js'
import type { Open } from './contract.js'

const tolerance = 1e-4
let backend: Backend

const openDefinition = (checkpoint: Checkpoint): EnergyEngine => {
  const capacity = { slots: 8, contexts: 8, pages: 64, pageSize: 16 }
  return new TfjsEngine(checkpoint, backend, capacity, 1)
}

const closeTo = (actual: ArrayLike<number>, expected: ArrayLike<number>) => {
  // A small number is added, because numbers that are all zero have no magnitude to be relative to.
  const smallest = [1e-6]
  expect(
    relativeError([...Array.from(actual), ...smallest], [...Array.from(expected), ...smallest]),
  ).toBeLessThan(tolerance)
}

/** Four rows of different contexts: free, clamped, noisy, and keeping lower energies only. */
async function descendRows(engine: EnergyEngine, steps: number): Promise<number[][]> {
  const { block } = engine.model.answer
  const text = [5, 3, 8, 1, 1, 2, 9, 4, 7, 0, 6, 3, 3, 10, 2, 5, 8, 1, 4, 4]
  for (let row = 0; row < 4; row++) {
    const pages = [4 * row, 4 * row + 1]
    await engine.observe([{ contextId: row, tokens: text.slice(0, 6 * row), pages }])
    const clamped = Array.from({ length: block }, (_, i) => (i === 0 && block > 1 ? 4 : -1))
    const known = row === 1 ? { clamped } : {}
    await engine.begin([{ slot: row, contextId: row, seed: 7 + row, candidate: row, ...known }])
  }
  const trace: number[][] = []
  for (let step = 0; step < steps; step++) {
    const results = await engine.descend(
      [0, 1, 2, 3].map((slot) => ({
        slot,
        landscape: landscapeOf(engine.model, step),
        noise: slot === 2 ? 0.1 : 0,
        step,
        acceptLower: slot === 3,
        stepSize: 0.5,
      })),
    )
    trace.push(results.map((r) => r.energy))
    trace.push(results.map((r) => r.gradientNorm))
    if (results.every((r) => Number.isFinite(r.best))) trace.push(results.map((r) => r.best))
    if (results[0]?.parts) trace.push(results.map((r) => r.parts?.doubt ?? NaN))
  }
  const last = landscapeOf(engine.model, steps)
  const closed = await engine.energy([0, 1, 2, 3].map((slot) => ({ slot, landscape: last })))
  trace.push(closed.map((r) => r.energy))
  trace.push(closed.map((r) => r.best))
  return trace
}

/** Sizes that are no multiples of a vector's width. */
export const oddSizes = [
  { dim: 36, heads: 3, ffn_dim: 50, vocab_size: 1033, block: 19 },
  { dim: 80, heads: 2, ffn_dim: 33, vocab_size: 2, block: 33 },
  { dim: 48, heads: 1, ffn_dim: 100, vocab_size: 600, block: 1 },
]

/** `chosen`: the variants of models and the odd sizes to run. */
export function engineDefinition(
  name: string,
  open: Open,
  chosen = { variants, sizes: oddSizes },
): void {
  beforeAll(async () => {
    backend = await loadBackend('wasm', 1)
  })
  const openBoth = async (checkpoint: Checkpoint): Promise<[EnergyEngine, EnergyEngine]> => [
    openDefinition(checkpoint),
    await open(checkpoint),
  ]

  describe.each(chosen.variants)(`${name} gives the numbers of tfjs: $label`, ({ label }) => {
    it('energies, norms, parts of the energy, the best so far and the answers of a descent', async () => {
      const [definition, tested] = await openBoth(modelOf(label))
      const expected = await descendRows(definition, 3)
      const actual = await descendRows(tested, 3)
      expect(actual).toHaveLength(expected.length)
      expected.forEach((numbers, i) => closeTo(actual[i] ?? [], numbers))
      for (const which of ['last', 'best'] as const)
        for (let slot = 0; slot < 4; slot++) {
          const read = async (engine: EnergyEngine) =>
            (await engine.read([{ slot, which, top: 'all' }]))[0]?.logits ?? new Float32Array(0)
          closeTo(await read(tested), await read(definition))
          const top = async (engine: EnergyEngine) =>
            (await engine.read([{ slot, which, top: 3 }]))[0]
          const [found, wanted] = [await top(tested), await top(definition)]
          expect(found?.tokens).toEqual(wanted?.tokens)
          closeTo(found?.logProbs ?? [], wanted?.logProbs ?? [])
        }
      await tested.close()
      await definition.close()
    })

    it('states of observed tokens, and the points of an answer', async () => {
      const [definition, tested] = await openBoth(modelOf(label))
      const clampedCount = tested.model.answer.block > 1 ? 1 : 0
      const found: Float32Array[][] = []
      for (const engine of [definition, tested]) {
        const { block, space } = engine.model.answer
        const tokens = Array.from({ length: 21 }, (_, i) => (i * 7) % 11)
        const sums = await engine.encode([
          { contextId: 0, tokens, pages: [1, 2] },
          { contextId: 1, tokens: [4], pages: [3] },
        ])
        const clamped = Array.from({ length: block }, (_, i) => (i < clampedCount ? 4 : -1))
        await engine.begin([{ slot: 0, contextId: 0, seed: 7, candidate: 0, clamped }])
        for (let step = 0; step < 3; step++)
          await engine.descend([
            { slot: 0, landscape: landscapeOf(engine.model, step), noise: 0, step },
          ])
        const whiches = ['best', 'last', 'present'] as const
        const points = await engine.points(whiches.map((which) => ({ slot: 0, which })))
        // The values at clamped positions mean nothing.
        const moving = points.map((point) => point.slice((clampedCount * point.length) / block))
        found.push([...sums, ...(space === 'vocab' ? moving.slice(0, 2) : moving)])
      }
      found[0]?.forEach((numbers, i) => closeTo(found[1]?.[i] ?? [], numbers))
      expect(found[1]).toHaveLength(found[0]?.length ?? 0)
      await tested.close()
      await definition.close()
    })

    it('energies of given answers, short ones too', async () => {
      const [definition, tested] = await openBoth(modelOf(label))
      const { block } = tested.model.answer
      const answers = [[3], [1, 4, 1, 5].slice(0, block)]
      const rows = answers.map((answer) => ({ contextId: 1, answer, landscape: 0 }))
      const energies: EnergyResult[][] = []
      for (const engine of [definition, tested]) {
        await engine.observe([{ contextId: 1, tokens: [2, 7, 1], pages: [3] }])
        energies.push(await engine.energy(rows))
      }
      closeTo(energies[1]?.map((r) => r.energy) ?? [], energies[0]?.map((r) => r.energy) ?? [])
      await tested.close()
      await definition.close()
    })
  })

  describe(`${name} gives the numbers of tfjs: sizes that fill no vector`, () => {
    it.each(chosen.sizes)(
      'D $dim, H $heads, F $ffn_dim, V $vocab_size, K $block',
      async ({ block, ...sizes }) => {
        const kinds = [
          { answer: { block }, energy: { kind: 'residual', direction: 'exact' } },
          {
            answer: { block, space: 'vocab', normalize: 'every_step', start: 'noise' },
            energy: { kind: 'head', direction: 'exact' },
          },
        ] as const
        for (const kind of kinds) {
          const config = configOf({ ...sizes, ...kind, context_length: 128 })
          const [definition, tested] = await openBoth({
            config,
            tensors: initialWeights(config, 5, 0.5),
          })
          const traces: { numbers: number[]; logits: Float32Array }[] = []
          for (const engine of [definition, tested]) {
            const tokens = Array.from({ length: 37 }, (_, i) => (i * 7) % config.vocab_size)
            await engine.observe([{ contextId: 0, tokens, pages: [5, 1, 9] }])
            await engine.begin([{ slot: 0, contextId: 0, seed: 1, candidate: 0 }])
            const numbers: number[] = []
            for (const step of [0, 1, 2]) {
              const [result] = await engine.descend([{ slot: 0, landscape: 0, noise: 0, step }])
              numbers.push(result?.energy as number, result?.gradientNorm as number)
            }
            const [read] = await engine.read([{ slot: 0, which: 'last', top: 'all' }])
            traces.push({ numbers, logits: read?.logits ?? new Float32Array(0) })
          }
          closeTo(traces[1]?.numbers ?? [], traces[0]?.numbers ?? [])
          closeTo(traces[1]?.logits ?? [], traces[0]?.logits ?? [])
          await tested.close()
          await definition.close()
        }
      },
    )
  })
}
