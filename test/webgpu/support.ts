/**
 * Opens the WebGPU engine for tests, on whatever adapter there is: on Debian, the software adapter of
 * its chromium does (docs/webgpu.md says how). One device serves all tests of a file, because software
 * adapters compile slowly.
 */
import { afterAll, describe } from 'vitest'
import { type Adapter, Device } from '../../src/energy/webgpu/device.js'
import { WebgpuEngine, type WebgpuOptions } from '../../src/energy/webgpu/engine.js'
import { nodeAdapter } from '../../src/energy/webgpu/node.js'
import type { Checkpoint } from '../../src/model/checkpoint.js'
import { variants } from '../support/models.js'

const found = await nodeAdapter()

/** Every kernel of the engine is in one of these; `BASIN_WEBGPU_TESTS=all` runs all variants. */
const enough = [
  'latent residual amortized, K 4',
  'latent residual exact, noise',
  'latent residual, K 1, anchored by its draft',
  'latent potential, draft, adaln',
  'latent head, time_embed',
  'vocab head, K 4, adaln',
  'vocab head, first_step, time_embed',
]
export const everything = process.env['BASIN_WEBGPU_TESTS'] === 'all'
export const chosen = everything ? variants : variants.filter(({ label }) => enough.includes(label))

/** Where there is no adapter, tests are skipped and say why. */
export const describeWebgpu = (name: string, tests: () => void): void => {
  if ('missing' in found) describe.skip(`${name} (${found.missing})`, tests)
  else describe(name, tests)
}

export function adapterOfTests(): Adapter {
  if ('missing' in found) throw new Error(found.missing)
  return found
}

let shared: Device | undefined
async function sharedDevice(): Promise<Device> {
  if (shared) return shared
  shared = await Device.open(adapterOfTests())
  shared.enter()
  return shared
}
afterAll(() => shared?.leave())

export async function openWebgpu(
  checkpoint: Checkpoint,
  options: Partial<WebgpuOptions> = {},
): Promise<WebgpuEngine> {
  const capacity = { slots: 16, sequences: 16, pages: 64 }
  return WebgpuEngine.open(checkpoint, await sharedDevice(), {
    capacity,
    reason: 'test',
    ...options,
  })
}
