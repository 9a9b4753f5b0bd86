/**
 * The WebGPU engine in a browser: a page's or its worker's, from the files of a model as they were
 * fetched. Imports nothing that a browser lacks.
 */
import { BasinError } from '../../errors.js'
import type { ModelConfig } from '../../model/config.js'
import { asFloat32, parseSafetensors } from '../../model/tensors.js'
import { Device, findAdapter } from './device.js'
import { WebgpuEngine, type WebgpuOptions } from './engine.js'

export interface FetchedModel {
  /** config.json, of a model that a server or `basin inspect` has checked. */
  config: ModelConfig
  /** model.safetensors */
  weights: ArrayBuffer
}

/**
 * `lost`: called when the device is gone. Throws `backend_missing` where the browser has no WebGPU or no
 * adapter, and `invalid_checkpoint`.
 */
export async function openInBrowser(
  gpu: GPU | undefined,
  { config, weights }: FetchedModel,
  capacity: WebgpuOptions['capacity'],
  lost?: (error: BasinError) => void,
): Promise<WebgpuEngine> {
  if (!gpu) throw missing('this browser has no WebGPU')
  const adapter = await findAdapter(gpu)
  if ('missing' in adapter) throw missing(adapter.missing)
  const path = `${config.name}/model.safetensors`
  const stored = [...parseSafetensors(weights, path).tensors]
  const tensors = new Map(
    stored.map(([name, tensor]) => [
      name,
      { shape: tensor.shape, data: asFloat32(tensor, name, path) },
    ]),
  )
  const device = await Device.open(adapter, lost)
  const identity = await identityOf({ config, weights })
  const options = { capacity, identity, reason: 'in the browser' }
  return WebgpuEngine.open({ config, tensors }, device, options)
}

/** SHA-256 of the digests of both files. */
async function identityOf({ config, weights }: FetchedModel): Promise<Uint8Array> {
  const sha256 = (data: ArrayBuffer | Uint8Array<ArrayBuffer>) =>
    crypto.subtle.digest('SHA-256', data)
  const digests = await Promise.all([
    sha256(new TextEncoder().encode(JSON.stringify(config))),
    sha256(weights),
  ])
  return new Uint8Array(await sha256(await new Blob(digests).arrayBuffer()))
}

const missing = (reason: string): BasinError =>
  new BasinError('backend_missing', { engine: 'webgpu', reason })
