/**
 * The context cache: what a row computes depends on neither the rows that read the same context nor the chunks in which
 * it was observed, in every number type, and types narrower than float32 are near it.
 */
import { describe, expect, it } from 'vitest'
import type { EnergyEngine } from '../../src/energy/engine.js'
import { landscapeOf } from '../../src/model/config.js'
import { kernelSets, type NativeOptions, numberTypes } from '../../src/energy/native/options.js'
import {
  capacity,
  descendRows,
  everyRow,
  expectSame,
  type Outcome,
  watched,
} from '../energy/same-bits.js'
import { modelOf, variants } from '../support/models.js'
import { openNative } from './support.js'

const labels = variants.map(({ label }) => label)
const LENGTH = 37

/** Steps of answers that share one context, and of one after another. Closes the engine. */
async function descendShared(
  engine: EnergyEngine,
  slots: readonly number[],
): Promise<Map<number, Outcome>> {
  const tokens = Array.from({ length: LENGTH }, (_, i) => (i * 7 + 3) % engine.model.vocab_size)
  for (const contextId of [0, 1])
    await engine.observe([
      {
        contextId,
        tokens: tokens.slice(contextId),
        pages: [0, 1, 2].map((page) => 3 * contextId + page),
      },
    ])
  await engine.begin(
    slots.map((slot) => ({ slot, contextId: slot === 5 ? 1 : 0, seed: slot, candidate: slot })),
  )
  const outcomes = new Map(
    slots.map((slot) => [slot, { numbers: [] as number[], logits: new Float32Array(0) }]),
  )
  for (let step = 0; step < 3; step++) {
    const rows = slots.map((slot) => ({
      slot,
      landscape: landscapeOf(engine.model, step),
      step,
      noise: 0,
    }))
    const results = await engine.descend(rows)
    results.forEach(({ energy, gradientNorm }, i) =>
      outcomes.get(slots[i] as number)?.numbers.push(energy, gradientNorm),
    )
  }
  for (const [slot, outcome] of outcomes) {
    const [readout] = await engine.read([{ slot, which: 'last', top: 'all' }])
    outcome.logits = Float32Array.from(readout?.logits ?? [])
  }
  await engine.close()
  return outcomes
}

describe.each(numberTypes)('a context cache of %s', (cacheType) => {
  it.each(labels)(
    'gives the same bits alone, among 63 others and for any chunks: %s',
    async (label) => {
      const run = (wanted: readonly number[], options: Partial<NativeOptions>, chunk?: number) =>
        descendRows(openNative(modelOf(label), { capacity, cacheType, ...options }), wanted, chunk)
      const together = await run(everyRow, { threads: 2 })
      for (const row of watched) expectSame(await run([row], { threads: 1 }), together)
      expectSame(await run(watched, { threads: 3 }, 5), together)
    },
  )

  it.each(kernelSets)(
    'gives candidates of one context the bits that each has alone, on %s',
    async (kernels) => {
      for (const label of labels) {
        const open = (threads: number) =>
          openNative(modelOf(label), { cacheType, kernels, threads })
        const slots = Array.from({ length: 16 }, (_, i) => i)
        const together = await descendShared(open(2), slots)
        for (const slot of [0, 5, 9, 15]) expectSame(await descendShared(open(1), [slot]), together)
      }
    },
  )
})

/** Largest difference of an energy that rounding of keys and values explains, as a share of the energy or of 1. */
const tolerances = { bf16: 0.02, int8: 0.05 } as const

describe.each(['bf16', 'int8'] as const)('a context cache of %s', (cacheType) => {
  it.each(kernelSets)('is near float32 in the first step, and named, on %s', async (kernels) => {
    for (const label of labels) {
      const narrow = openNative(modelOf(label), { cacheType, kernels })
      expect(narrow.info.backend).toContain(`f32, ${cacheType} cache`)
      const expected = await descendShared(openNative(modelOf(label), { kernels }), [2])
      const [actual, wanted] = [await descendShared(narrow, [2]), expected].map(
        (outcomes) => outcomes.get(2)?.numbers[0] as number,
      ) as [number, number]
      expect(actual, label).not.toBe(wanted)
      expect(Math.abs(actual - wanted), label).toBeLessThan(
        tolerances[cacheType] * Math.max(1, Math.abs(wanted)),
      )
    }
  })

  it('does not continue an answer that was saved with another cache', () => {
    const label = labels[0] ?? ''
    const [saving, other] = [openNative(modelOf(label)), openNative(modelOf(label), { cacheType })]
    for (const engine of [saving, other])
      engine.observe([{ contextId: 0, tokens: [1, 2], pages: [0] }])
    saving.begin([{ slot: 0, contextId: 0, seed: 1, candidate: 0 }])
    expect(() => other.restore(0, 0, saving.save(0))).toThrow(
      expect.objectContaining({ code: 'invalid_state' }) as Error,
    )
    saving.close()
    other.close()
  })
})
