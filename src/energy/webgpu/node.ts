/** WebGPU in Node: the optional package `webgpu`, which brings Dawn. */
import { existsSync, readdirSync } from 'node:fs'
import { notInstalled } from '../../optional-package.js'
import { findAdapter, type Adapter } from './device.js'

/** Held for as long as the process lives: where it is collected, its devices abort the process. */
let gpu: GPU | undefined

async function load(): Promise<GPU | { missing: string }> {
  if (gpu) return gpu
  try {
    const { create } = await import('webgpu')
    return (gpu = create([]))
  } catch (error) {
    const [reason = ''] = (error as Error).message.split('\n')
    return {
      missing: notInstalled('webgpu', error) ?? `the package webgpu does not load: ${reason}`,
    }
  }
}

/** An adapter for one device, or why there is none. */
export async function nodeAdapter(): Promise<Adapter | { missing: string }> {
  const found = await load()
  return 'missing' in found ? found : findAdapter(found)
}

/**
 * Whether the machine may have a GPU that computes, found out without loading anything. Linux has a device
 * file for each; elsewhere only the adapter itself can tell.
 */
export function mayHaveGpu(): boolean {
  if (process.platform !== 'linux') return true
  // NVIDIA's driver, Windows' GPUs under WSL, and all others.
  if (existsSync('/dev/nvidiactl') || existsSync('/dev/dxg')) return true
  return existsSync('/dev/dri') && readdirSync('/dev/dri').some((name) => name.startsWith('render'))
}
