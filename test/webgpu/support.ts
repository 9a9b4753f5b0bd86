/**
 * Opens the WebGPU engine for tests, on whatever adapter there is: without a GPU, the software adapter that
 * Debian's chromium brings. One device serves all tests of a file, because software adapters compile slowly.
 */
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { afterAll, describe } from 'vitest'
import { modelIdentity } from '../../src/energy/model-identity.js'
import { Device } from '../../src/energy/webgpu/device.js'
import { WebgpuEngine, type WebgpuOptions } from '../../src/energy/webgpu/engine.js'
import { mayHaveGpu, nodeAdapter } from '../../src/energy/webgpu/node.js'
import type { Checkpoint } from '../../src/model/checkpoint.js'
import { variants } from '../support/models.js'

/** Its driver, which Vulkan's loader finds by a variable. */
const softwareDriver = '/usr/lib/chromium/vk_swiftshader_icd.json'
if (!mayHaveGpu() && existsSync(softwareDriver)) {
  process.env['VK_ICD_FILENAMES'] ??= softwareDriver
  process.env['XDG_RUNTIME_DIR'] ??= tmpdir()
}

const found = await nodeAdapter()

/**
 * The variants that run by default. Together with the golden data they have every kernel;
 * `BASIN_WEBGPU_TESTS=all` runs all variants, and more of everything else.
 */
const enough = [
  'latent residual amortized, K 4',
  'latent residual exact, noise',
  'latent residual, K 1, anchored by its draft',
  'latent potential, draft, adaln',
  'vocab head, K 4, adaln',
]
export const everything = process.env['BASIN_WEBGPU_TESTS'] === 'all'
export const chosen = everything ? variants : variants.filter(({ label }) => enough.includes(label))

/** Where there is no adapter, tests are skipped and say why. */
export const describeWebgpu = (name: string, tests: () => void): void => {
  if ('missing' in found) describe.skip(`${name} (${found.missing})`, tests)
  else describe(name, tests)
}

const devices = new Map<number | undefined, Promise<Device>>()

/** One device for each choice of kernels (`busyThreads`; undefined: the adapter's own). */
function deviceOf(busyThreads?: number): Promise<Device> {
  const known = devices.get(busyThreads)
  if (known) return known
  const made = openDevice(busyThreads)
  devices.set(busyThreads, made)
  return made
}

/** An adapter gives one device only. */
async function openDevice(busyThreads?: number): Promise<Device> {
  const adapter = await nodeAdapter()
  if ('missing' in adapter) throw new Error(adapter.missing)
  const device = await Device.open(adapter, undefined, busyThreads)
  device.enter()
  return device
}

afterAll(async () => {
  for (const device of devices.values()) await (await device).leave()
})

export async function openWebgpu(
  checkpoint: Checkpoint,
  { busyThreads, ...options }: Partial<WebgpuOptions> & { busyThreads?: number } = {},
): Promise<WebgpuEngine> {
  const capacity = { slots: 16, contexts: 16, pages: 64 }
  return WebgpuEngine.open(checkpoint, await deviceOf(busyThreads), {
    capacity,
    reason: 'test',
    identity: modelIdentity(checkpoint, 'f32'),
    ...options,
  })
}
