/** Opens an engine for a checkpoint. The engine's `info` says which it is and why; nothing falls back in silence. */
import { BasinError } from '../errors.js'
import { openCheckpoint, type Checkpoint } from '../model/checkpoint.js'
import { draftsFromContext } from '../model/config.js'
import type { SynchronousEngine } from './engine.js'
import { loadAddon } from './native/addon.js'
import { nativeEngine } from './native/engine.js'
import { weightTypes, type WeightType } from './native/options.js'
import { loadBackend, type BackendChoice } from './tfjs/backend.js'
import { TfjsEngine } from './tfjs/engine.js'

/** `auto` is native where its addon was built, else tfjs. */
export const engineChoices = [
  'auto',
  'native',
  'tfjs',
  'tfjs:native',
  'tfjs:wasm',
  'tfjs:node',
  'tfjs:node-gpu',
] as const

export interface OpenOptions {
  /** The model's directory. */
  directory: string
  /** One of `engineChoices`. */
  engine: string
  threads: number
  slots: number
  contexts: number
  pages: number
  /** One of `weightTypes`; absent: f32. Others than f32 need the native engine. */
  weights?: string
  /** One of `refiners`; absent: `model`. */
  refiner?: string
}

/** The direction in which a residual energy descends: as its checkpoint says, or one of the two. */
export const refiners = ['model', 'exact', 'amortized'] as const

/** Positions of a cache page of the tfjs engine. */
const pageSize = 16

function oneOf<T extends string>(choices: readonly T[], value: string, engine: string): T {
  const found = choices.find((choice) => choice === value)
  if (found === undefined)
    throw new BasinError('backend_missing', {
      engine,
      reason: `choose one of ${choices.join(', ')}`,
    })
  return found
}

/**
 * A checkpoint with another direction of descent. Throws `not_supported` where there is only one: head and
 * potential energies descend along their gradient, models whose draft is the context's along the amortized
 * direction, and a control does not descend.
 */
export function withRefiner(checkpoint: Checkpoint, refiner: string): Checkpoint {
  const { config } = checkpoint
  const { energy } = config
  if (refiner === 'model') return checkpoint
  if (config.feed_forward)
    throw new BasinError('not_supported', {
      param: 'refiner',
      reason: `${config.name} is a feed-forward control, which does not descend`,
    })
  if (refiner === energy.direction) return checkpoint
  if (energy.kind !== 'residual' || (refiner === 'exact' && draftsFromContext(config)))
    throw new BasinError('not_supported', {
      param: 'refiner',
      reason: `${config.name} descends along its ${energy.direction} direction only`,
    })
  const direction = refiner as (typeof energy)['direction']
  return { ...checkpoint, config: { ...config, energy: { ...energy, direction } } }
}

/** Throws `invalid_checkpoint`, or `backend_missing` where the engine asked for is not available. */
export async function openEngine(options: OpenOptions): Promise<SynchronousEngine> {
  const { directory, threads, slots, contexts, pages } = options
  const engine = oneOf(engineChoices, options.engine, options.engine)
  const weights = oneOf(weightTypes, options.weights ?? 'f32', `${engine} with these weights`)
  const refiner = oneOf(refiners, options.refiner ?? 'model', `${engine} with this refiner`)
  const checkpoint = withRefiner(openCheckpoint(directory), refiner)
  if (checkpoint.config.feed_forward)
    throw new BasinError('invalid_checkpoint', {
      path: directory,
      reason: 'a feed-forward control has no energy to serve',
    })
  const capacity = { slots, contexts, pages }
  const loaded =
    engine === 'auto' || engine === 'native' ? loadAddon() : { missing: 'not asked for' }
  if (engine === 'native' || 'addon' in loaded) {
    const reason = engine === 'native' ? 'asked for' : 'its addon is built'
    return nativeEngine(checkpoint, loaded, { capacity, threads, weights, reason })
  }
  return openTfjs(checkpoint, engine, loaded.missing, weights, options)
}

async function openTfjs(
  checkpoint: ReturnType<typeof openCheckpoint>,
  engine: string,
  noNative: string,
  weights: WeightType,
  { threads, slots, contexts, pages }: OpenOptions,
): Promise<SynchronousEngine> {
  if (weights !== 'f32')
    throw new BasinError('backend_missing', {
      engine,
      reason: `${weights} weights need the native engine (${noNative})`,
    })
  const [, choice = 'auto'] = engine === 'auto' ? ['tfjs'] : engine.split(':')
  const backend = await loadBackend(choice as BackendChoice, threads)
  const reason =
    engine === 'auto' ? `no native engine: ${noNative}; ${backend.reason}` : backend.reason
  const capacity = { slots, contexts, pages, pageSize }
  return new TfjsEngine(checkpoint, { ...backend, reason }, capacity, threads)
}
