/** Whether there is an addon to train with. */
import { loadAddon } from '../../native/addon.js'
import type { TrainingAddon } from './surface.js'

/** What the addon offers for training, or why there is none. */
export function findTraining(): { training: TrainingAddon } | { missing: string } {
  const loaded = loadAddon()
  if ('missing' in loaded) return loaded
  const { training } = loaded.addon
  return training ? { training } : { missing: 'the addon is an older build, without training' }
}
