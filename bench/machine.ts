/** What this machine can do at most, measured in the same run as what is compared with it. */
import { execFileSync } from 'node:child_process'
import { availableParallelism, cpus, loadavg } from 'node:os'
import type { Tf } from '../src/energy/tfjs/backend.js'

export interface Machine {
  cpu: string
  cores: number
  /** One-minute load before the run: above 0 others were at work too. */
  load: number
  node: string
  commit: string
  /** Memory that one core reads while it compares two buffers larger than any cache, GB/s. */
  readGBs: number
}

const best = (runs: number, seconds: () => number): number =>
  Math.min(...Array.from({ length: runs }, seconds))

export function timed(act: () => void): number {
  const began = performance.now()
  act()
  return (performance.now() - began) / 1000
}

export function measureMachine(): Machine {
  const bytes = 2 ** 28
  const [a, b] = [Buffer.alloc(bytes, 7), Buffer.alloc(bytes, 7)]
  const seconds = best(5, () => timed(() => Buffer.compare(a, b)))
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    load: loadavg()[0] ?? 0,
    node: process.version,
    commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
    readGBs: (2 * bytes) / seconds / 1e9,
  }
}

/** The fastest matrix product of a TensorFlow.js backend, GFLOP/s: what its steps can hope for. */
export function productPeak(tf: Tf): number {
  const size = 1024
  const [a, b] = [tf.ones([size, size]), tf.ones([size, size])]
  const seconds = best(6, () =>
    timed(() => {
      const product = tf.matMul(a, b)
      product.dataSync()
      product.dispose()
    }),
  )
  a.dispose()
  b.dispose()
  return (2 * size ** 3) / seconds / 1e9
}
