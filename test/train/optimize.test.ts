import { describe, it } from 'vitest'
import { loadBackend } from '../../src/energy/tfjs/backend.js'
import { expectGoldenUpdate, goldenUpdates } from './golden-updates.js'

describe('optimize', () => {
  it.each(goldenUpdates)(
    'has the losses and gradients of the published implementation: %s',
    async (name, options) => {
      const { tf } = await loadBackend('wasm', 1)
      await expectGoldenUpdate(tf, name, options, 1e-3)
    },
  )
})
