/** Finds the part of the addon that trains. */
import { loadAddon, type TrainingAddon } from '../../native/addon.js'

/** That part, or why there is none. */
export function findTraining(): { training: TrainingAddon } | { missing: string } {
  const loaded = loadAddon()
  if ('missing' in loaded) return loaded
  const { training } = loaded.addon
  return training ? { training } : { missing: 'the addon is an older build, without training' }
}
