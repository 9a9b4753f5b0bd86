/** Picks an engine for a checkpoint, and says which it took and why. Nothing falls back silently. */
import { BasinError } from '../errors.js'
import { openCheckpoint } from '../model/checkpoint.js'
import type { EnergyEngine } from './engine.js'
import { loadBackend, type BackendChoice } from './tfjs/backend.js'
import { TfjsEngine } from './tfjs/engine.js'

export const engineChoices = ['auto', 'tfjs', 'tfjs:wasm', 'tfjs:node', 'tfjs:node-gpu'] as const

export interface OpenOptions {
  /** The model's directory. */
  directory: string
  /** One of `engineChoices`. */
  engine: string
  threads: number
  slots: number
  sequences: number
  pages: number
}

/** Positions per cache page of the tfjs engine. */
const pageSize = 16

/** Throws `invalid_checkpoint`, or `backend_missing` where the engine asked for cannot be had. */
export async function openEngine(options: OpenOptions): Promise<EnergyEngine> {
  const { engine, directory, threads, slots, sequences, pages } = options
  const [family, backend = 'auto'] = engine === 'auto' ? ['tfjs'] : engine.split(':')
  if (!(engineChoices as readonly string[]).includes(engine))
    throw new BasinError('backend_missing', {
      engine,
      reason: `choose one of ${engineChoices.join(', ')}`,
    })
  const checkpoint = openCheckpoint(directory)
  if (checkpoint.config.feed_forward)
    throw new BasinError('invalid_checkpoint', {
      path: directory,
      reason: 'a feed-forward control has no energy to serve',
    })
  if (family !== 'tfjs')
    throw new BasinError('backend_missing', { engine, reason: 'unknown engine' })
  const loaded = await loadBackend(backend as BackendChoice, threads)
  return new TfjsEngine(checkpoint, loaded, { slots, sequences, pages, pageSize }, threads)
}
