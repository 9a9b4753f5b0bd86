import { loadBackend } from '../../src/energy/tfjs/backend.js'
import { TfjsEngine } from '../../src/energy/tfjs/engine.js'
import { engineContract } from './contract.js'

engineContract('tfjs on wasm', async (checkpoint) => {
  const capacity = { slots: 16, contexts: 16, pages: 64, pageSize: 16 }
  return new TfjsEngine(checkpoint, await loadBackend('wasm', 1), capacity, 1)
})
