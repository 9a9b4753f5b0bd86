/** Opens an engine for a checkpoint. The engine's `info` says which it is and why; nothing falls back in silence. */
import { join } from 'node:path'
import { BasinError } from '../errors.js'
import { openCheckpoint, type Checkpoint } from '../model/checkpoint.js'
import { draftsFromContext, readConfig } from '../model/config.js'
import { refuseBeyondMemory, workingBytes } from '../model/memory-limit.js'
import type { EnergyEngine } from './engine.js'
import { modelIdentity } from './model-identity.js'
import { loadAddon } from './native/addon.js'
import { nativeEngine } from './native/engine.js'
import { numberBytes, numberTypes } from './native/options.js'
import { PAGE_POSITIONS } from './pages.js'
import { loadBackend, type BackendChoice } from './tfjs/backend.js'
import { TfjsEngine } from './tfjs/engine.js'
import { Device } from './webgpu/device.js'
import { WebgpuEngine } from './webgpu/engine.js'
import { mayHaveGpu, nodeAdapter } from './webgpu/node.js'

/** `auto` is webgpu where it finds a GPU, else native where its addon was built, else tfjs. */
export const engineChoices = [
  'auto',
  'native',
  'webgpu',
  'tfjs',
  'tfjs:native',
  'tfjs:wasm',
  'tfjs:webgpu',
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
  /** One of `numberTypes` for the weights, and one for the context cache; absent: f32. The others need the native engine. */
  weights?: string
  cacheType?: string
  /** One of `refiners`; absent: `model`. */
  refiner?: string
}

/** The direction in which a residual energy descends: as its checkpoint says, or one of the two. */
export const refiners = ['model', 'exact', 'amortized'] as const

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
export async function openEngine(options: OpenOptions): Promise<EnergyEngine> {
  const { directory, threads, slots, contexts, pages } = options
  const engine = oneOf(engineChoices, options.engine, options.engine)
  const weights = oneOf(numberTypes, options.weights ?? 'f32', `${engine} with these weights`)
  const cacheType = oneOf(numberTypes, options.cacheType ?? 'f32', `${engine} with this cache`)
  const special =
    weights !== 'f32'
      ? `${weights} weights`
      : cacheType !== 'f32'
        ? `a ${cacheType} context cache`
        : undefined
  const refiner = oneOf(refiners, options.refiner ?? 'model', `${engine} with this refiner`)
  const working = workingBytes(readConfig(directory), {
    slots,
    pages,
    pageSize: PAGE_POSITIONS,
    cachedBytes: numberBytes[cacheType],
  })
  const what = `contexts and answers (${slots} slots, ${pages} pages)`
  refuseBeyondMemory(join(directory, 'config.json'), what, working)
  const checkpoint = withRefiner(openCheckpoint(directory), refiner)
  if (checkpoint.config.feed_forward)
    throw new BasinError('invalid_checkpoint', {
      path: directory,
      reason: 'a feed-forward control has no energy to serve',
    })
  const capacity = { slots, contexts, pages }
  const onGpu = await openWebgpu(checkpoint, engine, special, capacity)
  if (!('missing' in onGpu)) return onGpu
  const loaded =
    engine === 'auto' || engine === 'native' ? loadAddon() : { missing: 'not asked for' }
  if (engine === 'native' || 'addon' in loaded) {
    const reason =
      engine === 'native' ? 'asked for' : `its addon is built; no WebGPU: ${onGpu.missing}`
    return nativeEngine(checkpoint, loaded, { capacity, threads, weights, cacheType, reason })
  }
  return openTfjs(checkpoint, engine, loaded.missing, special, options)
}

/**
 * The engine on a GPU, or why `engine` does not take it. Throws `backend_missing` where it was asked for by
 * name and cannot be had. Only where it was asked for by name may its adapter compute on the CPU. `special`: what is
 * asked for that the native engine alone has.
 */
async function openWebgpu(
  checkpoint: Checkpoint,
  engine: string,
  special: string | undefined,
  capacity: Pick<OpenOptions, 'slots' | 'contexts' | 'pages'>,
): Promise<EnergyEngine | { missing: string }> {
  if (engine !== 'webgpu' && engine !== 'auto') return { missing: 'not asked for' }
  const without = (reason: string): { missing: string } => {
    if (engine === 'webgpu') throw new BasinError('backend_missing', { engine, reason })
    return { missing: reason }
  }
  if (special !== undefined) return without(`it has f32 numbers only, not ${special}`)
  if (engine === 'auto' && !mayHaveGpu()) return { missing: 'there is no GPU' }
  const adapter = await nodeAdapter()
  if ('missing' in adapter) return without(adapter.missing)
  if (adapter.software && engine === 'auto')
    return { missing: `${adapter.name} computes on the CPU` }
  const reason = engine === 'auto' ? 'there is a GPU' : 'asked for'
  const identity = modelIdentity(checkpoint, 'f32')
  try {
    const device = await Device.open(adapter, endThread)
    return await WebgpuEngine.open(checkpoint, device, { capacity, reason, identity })
  } catch (error) {
    if (!(error instanceof BasinError) || error.code !== 'backend_missing') throw error
    if (engine === 'webgpu') throw error
    return { missing: error.message }
  }
}

/**
 * Nothing brings a lost device back, nor the contexts that it held: the thread ends with the error, and its
 * supervisor starts another.
 */
function endThread(error: BasinError): void {
  setImmediate(() => {
    throw error
  })
}

async function openTfjs(
  checkpoint: ReturnType<typeof openCheckpoint>,
  engine: string,
  noNative: string,
  special: string | undefined,
  { threads, slots, contexts, pages }: OpenOptions,
): Promise<EnergyEngine> {
  if (special !== undefined)
    throw new BasinError('backend_missing', {
      engine,
      reason: `${special} can be had of the native engine alone (${noNative})`,
    })
  const [, choice = 'auto'] = engine === 'auto' ? ['tfjs'] : engine.split(':')
  const backend = await loadBackend(choice as BackendChoice, threads)
  const capacity = { slots, contexts, pages, pageSize: PAGE_POSITIONS }
  return new TfjsEngine(checkpoint, backend, capacity, threads)
}
