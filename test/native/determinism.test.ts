/**
 * docs/native.md promises that the bits of a row depend on the row alone: not on what shares its batch, on
 * the number of threads, or on the chunks in which its context was observed. So equality is exact here.
 */
import { describe, it } from 'vitest'
import { numberTypes, type NativeOptions } from '../../src/energy/native/options.js'
import type { Checkpoint } from '../../src/model/checkpoint.js'
import { initialWeights } from '../../src/train/initial-weights.js'
import { capacity, descendRows, everyRow, expectSame, watched } from '../energy/same-bits.js'
import { configOf, modelOf, variants } from '../support/models.js'
import { openNative } from './support.js'

const run = (
  checkpoint: Checkpoint,
  wanted: readonly number[],
  options: Partial<NativeOptions>,
  chunk?: number,
) => descendRows(openNative(checkpoint, { capacity, ...options }), wanted, chunk)

const wide = configOf({ dim: 96, heads: 3, ffn_dim: 200, vocab_size: 2100, context_length: 64 })
const models: [string, Checkpoint][] = [
  ...variants.map(({ label }): [string, Checkpoint] => [label, modelOf(label)]),
  ['several chunks of read-out', { config: wide, tensors: initialWeights(wide, 3, 0.5) }],
]

describe.each(models)('gives the same bits: %s', (_, checkpoint) => {
  it.each(numberTypes)(
    '%s: alone, among 63 others, and for 1, 2 and 3 threads',
    async (weights) => {
      const together = await run(checkpoint, everyRow, { weights, threads: 2 })
      for (const row of watched)
        expectSame(await run(checkpoint, [row], { weights, threads: 1 }), together)
      expectSame(await run(checkpoint, everyRow, { weights, threads: 3 }), together)
      expectSame(await run(checkpoint, [...watched].reverse(), { weights, threads: 1 }), together)
    },
  )

  it('whatever the chunks in which the context is observed', async () => {
    const whole = await run(checkpoint, watched, { threads: 2 })
    expectSame(await run(checkpoint, watched, { threads: 2 }, 3), whole)
    expectSame(await run(checkpoint, watched, { threads: 1 }, 17), whole)
  })
})

describe('gives the same bits: a vocabulary of several chunks', () => {
  it.each(numberTypes)(
    '%s: alone, among 63 others, and for 1, 2 and 3 threads',
    async (weights) => {
      const config = configOf({
        dim: 48,
        heads: 2,
        ffn_dim: 64,
        vocab_size: 1777,
        answer: { space: 'vocab', block: 2, normalize: 'every_step', start: 'noise' },
        energy: { kind: 'head', direction: 'exact' },
      })
      const checkpoint = { config, tensors: initialWeights(config, 3, 0.5) }
      const together = await run(checkpoint, everyRow, { weights, threads: 2 })
      for (const row of watched)
        expectSame(await run(checkpoint, [row], { weights, threads: 1 }), together)
      expectSame(await run(checkpoint, everyRow, { weights, threads: 3 }), together)
    },
  )
})
