/**
 * What every engine must do, on WebGPU: the contract, the definition, and the promise of docs/webgpu.md
 * that on one adapter a row's bits depend on the row alone, whatever shares its batch and in whatever
 * chunks its context came: not close, equal. One file, so that kernels are compiled once.
 */
import { describe, it, vi } from 'vitest'
import type { Checkpoint } from '../../src/model/checkpoint.js'
import { initialWeights } from '../../src/train/initial-weights.js'
import { engineContract } from '../energy/contract.js'
import { engineDefinition, oddSizes } from '../energy/definition.js'
import { capacity, descendRows, everyRow, expectSame, watched } from '../energy/same-bits.js'
import { configOf, modelOf } from '../support/models.js'
import { chosen, describeWebgpu, everything, openWebgpu } from './support.js'

const run = async (
  checkpoint: Checkpoint,
  wanted: readonly number[],
  { chunk, busyThreads }: { chunk?: number; busyThreads?: number } = {},
) =>
  descendRows(
    await openWebgpu(checkpoint, { capacity, ...(busyThreads !== undefined && { busyThreads }) }),
    wanted,
    chunk,
  )

const wide = configOf({ dim: 96, heads: 3, ffn_dim: 200, vocab_size: 2100, context_length: 64 })
const vocab = configOf({
  dim: 48,
  heads: 2,
  ffn_dim: 64,
  vocab_size: 1777,
  answer: { space: 'vocab', block: 2, normalize: 'every_step', start: 'noise' },
  energy: { kind: 'head', direction: 'exact' },
})
const wideReadOut: [string, Checkpoint] = [
  'a wide read-out',
  { config: wide, tensors: initialWeights(wide, 3, 0.5) },
]
const labels = everything ? chosen.map(({ label }) => label) : ['latent residual amortized, K 4']
const models: [string, Checkpoint][] = [
  ...labels.map((label): [string, Checkpoint] => [label, modelOf(label)]),
  ...(everything ? [wideReadOut] : []),
  ['a vocabulary of several chunks', { config: vocab, tensors: initialWeights(vocab, 3, 0.5) }],
]

// A software adapter shares the cores with the tests of other files.
vi.setConfig({ testTimeout: 300_000 })

describeWebgpu('webgpu', () => {
  engineContract('webgpu', (checkpoint) => openWebgpu(checkpoint), chosen)
  engineDefinition('webgpu', (checkpoint) => openWebgpu(checkpoint), {
    variants: chosen,
    sizes: everything ? oddSizes : oddSizes.slice(0, 1),
  })

  describe.each(models)('webgpu, the same bits: %s', (_, checkpoint) => {
    it('alone, among 63 others, in another order', async () => {
      const together = await run(checkpoint, everyRow)
      for (const row of watched) expectSame(await run(checkpoint, [row]), together)
      expectSame(await run(checkpoint, [...watched].reverse()), together)
    })

    it('whatever chunks the context came in', async () => {
      expectSame(await run(checkpoint, watched, { chunk: 3 }), await run(checkpoint, watched))
    })
  })

  // An adapter that computes on the CPU takes other kernels than a GPU: of those, the ones with a thread for each
  // chain of a sum, and the ones with several positions to a thread.
  it.each([65_536, 64])(
    'give the same bits where %i threads keep the adapter busy',
    async (busy) => {
      const checkpoint = modelOf('latent residual amortized, K 4')
      const wanted = watched.slice(0, 4)
      const own = await run(checkpoint, wanted, { busyThreads: 0 })
      expectSame(await run(checkpoint, wanted, { busyThreads: busy }), own)
    },
  )
})
