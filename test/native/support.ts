/** Opens the native engine for tests. Where its addon was not built, this throws the reason. */
import { loadAddon } from '../../src/energy/native/addon.js'
import { nativeEngine, type NativeEngine } from '../../src/energy/native/engine.js'
import type { NativeOptions } from '../../src/energy/native/options.js'
import type { Checkpoint } from '../../src/model/checkpoint.js'

const loaded = loadAddon()

export const openNative = (
  checkpoint: Checkpoint,
  options: Partial<NativeOptions> = {},
): NativeEngine =>
  nativeEngine(checkpoint, loaded, {
    capacity: { slots: 16, contexts: 16, pages: 64 },
    threads: 2,
    weights: 'f32',
    cacheType: 'f32',
    reason: 'test',
    ...options,
  })
