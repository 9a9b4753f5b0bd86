/** An engine's end, its device's end, and that neither takes anything along or leaves anything behind. */
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterAll, expect, it } from 'vitest'
import { BasinError } from '../../src/errors.js'
import { modelIdentity } from '../../src/energy/model-identity.js'
import { openEngine } from '../../src/energy/open-engine.js'
import { Device } from '../../src/energy/webgpu/device.js'
import { WebgpuEngine } from '../../src/energy/webgpu/engine.js'
import { nodeAdapter } from '../../src/energy/webgpu/node.js'
import { writeSafetensors } from '../../src/model/safetensors.js'
import { modelOf } from '../support/models.js'
import { describeWebgpu, everything, openWebgpu } from './support.js'

const root = new URL('../..', import.meta.url).pathname
const checkpoint = modelOf('latent residual amortized, K 4')
const capacity = { slots: 2, contexts: 2, pages: 8 }
const steps = (from: number, count: number) =>
  Array.from({ length: count }, (_, i) => ({ slot: 0, landscape: 0, noise: 0.01, step: from + i }))

/** An adapter whose device can be ended from without, as a driver does that is reset. */
async function mortalDevice(): Promise<{ device: Device; end: () => void }> {
  const found = await nodeAdapter()
  if ('missing' in found) throw new Error(found.missing)
  const { adapter } = found
  let made: GPUDevice | undefined
  const spied = {
    limits: adapter.limits,
    info: adapter.info,
    requestDevice: async (wanted?: GPUDeviceDescriptor) =>
      (made = await adapter.requestDevice(wanted)),
  }
  const device = await Device.open({ ...found, adapter: spied as unknown as GPUAdapter })
  return { device, end: () => made?.destroy() }
}

const directory = mkdtempSync(join(tmpdir(), 'basin-webgpu-'))
afterAll(() => rmSync(directory, { recursive: true }))
writeFileSync(join(directory, 'config.json'), JSON.stringify(checkpoint.config))
writeSafetensors(join(directory, 'model.safetensors'), checkpoint.tensors)

describeWebgpu('the life of an engine', () => {
  it('ends in the middle of a descent, in thread after thread, and the process lives', async () => {
    for (let i = 0; i < (everything ? 20 : 2); i++) {
      const thread = new Worker(new URL('closing-thread.mjs', import.meta.url), {
        workerData: { directory, root },
      })
      expect(await once(thread, 'message')).toEqual(['descends'])
      thread.postMessage('close')
      const told = await Promise.all([once(thread, 'message'), once(thread, 'exit')])
      expect(told).toEqual([[expect.stringMatching(/was closed/)], [0]])
    }
  }, 600_000)

  it('ends its thread with the error when its device is lost, so that another begins', async () => {
    const thread = new Worker(new URL('closing-thread.mjs', import.meta.url), {
      workerData: { directory, root },
    })
    await once(thread, 'message')
    // In either order: `once` of a message would reject where the error comes first.
    const message = new Promise((resolve) => thread.once('message', resolve))
    const error = new Promise((resolve) => thread.once('error', resolve))
    thread.postMessage('lose')
    expect(await message).toMatch(/device was lost/)
    expect(await error).toMatchObject({ code: 'engine_failed' })
  }, 600_000)

  it('fails the calls under way with engine_failed when its device is lost', async () => {
    const { device, end } = await mortalDevice()
    const identity = modelIdentity(checkpoint, 'f32')
    const options = { capacity, reason: 'test', identity }
    const engine = await WebgpuEngine.open(checkpoint, device, options)
    engine.begin([{ slot: 0, contextId: 0, seed: 1, candidate: 0 }])
    const descending = engine.descend(steps(0, 64))
    end()
    await expect(descending).rejects.toMatchObject({ code: 'engine_failed' })
    await expect(engine.read([{ slot: 0, which: 'best', top: 1 }])).rejects.toThrow(
      /WebGPU: .*lost/,
    )
    await engine.close()
  })

  it('ends twice without harm, and refuses calls after it', async () => {
    const engine = await openWebgpu(checkpoint)
    await engine.close()
    await engine.close()
    expect(() => engine.observe([{ contextId: 0, tokens: [1], pages: [0] }])).toThrow(BasinError)
    await expect(engine.descend(steps(0, 1))).rejects.toMatchObject({ code: 'engine_failed' })
  })

  it('refuses a model that the adapter has no room for, and names what to do', async () => {
    const huge = { slots: 2 ** 26, contexts: 1, pages: 1 }
    const opening = openWebgpu(checkpoint, { capacity: huge })
    await expect(opening).rejects.toMatchObject({ code: 'backend_missing' })
    await expect(opening).rejects.toThrow(/fewer slots or pages/)
  })

  it('takes the same memory after thousands of steps', async () => {
    const engine = await openWebgpu(checkpoint, { capacity })
    engine.begin([{ slot: 0, contextId: 0, seed: 1, candidate: 0 }])
    await engine.descend(steps(0, 200))
    const [held, resident] = [engine.memory(), process.memoryUsage.rss()]
    const many = everything ? 10_000 : 500
    for (let step = 200; step < many; step += 100) await engine.descend(steps(step, 100))
    expect(engine.memory()).toBe(held)
    expect(process.memoryUsage.rss() - resident).toBeLessThan(64 * 2 ** 20)
    await engine.close()
  }, 600_000)

  it('begins on a software adapter only where it is asked for by name', async () => {
    const options = { directory, threads: 1, ...capacity }
    const [asked, auto] = [
      await openEngine({ ...options, engine: 'webgpu' }),
      await openEngine({ ...options, engine: 'auto' }),
    ]
    expect(asked.info).toMatchObject({ name: 'webgpu', reason: 'asked for' })
    const software = /swiftshader|llvmpipe/i.test(asked.info.backend)
    expect(auto.info.name === 'webgpu').toBe(!software)
    if (software) expect(auto.info.reason).toMatch(/no WebGPU: /)
    await asked.close()
    await auto.close()
    await expect(
      Promise.resolve(openEngine({ ...options, engine: 'webgpu', weights: 'int8' })),
    ).rejects.toThrow(/f32 numbers only, not int8 weights/)
  })
})
