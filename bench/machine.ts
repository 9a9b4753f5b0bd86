/** The machine that a benchmark runs on, and what it can do at most, measured in the same run. */
import { execFileSync } from 'node:child_process'
import { availableParallelism, cpus, loadavg } from 'node:os'

export interface Machine {
  cpu: string
  cores: number
  /** Mean load of the minute before the run: above 0, other processes were running too. */
  load: number
  node: string
  commit: string
  /** Memory that one core reads while it compares two buffers larger than any cache, GB/s. */
  readGBs: number
}

/** Seconds on the clock. */
export function timed(act: () => void): number {
  const began = performance.now()
  act()
  return (performance.now() - began) / 1000
}

/** Seconds on the clock until it is done. */
export async function timedUntilDone(act: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await act()
  return (performance.now() - began) / 1000
}

/** Seconds on the clock (`wall`), and of all threads of this process (`cpu`). */
export async function timedWithProcessor(
  act: () => Promise<unknown>,
): Promise<{ wall: number; cpu: number }> {
  const before = process.cpuUsage()
  const wall = await timedUntilDone(act)
  const { user, system } = process.cpuUsage(before)
  return { wall, cpu: (user + system) / 1e6 }
}

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN

export function measureMachine(): Machine {
  const bytes = 2 ** 28
  const [a, b] = [Buffer.alloc(bytes, 7), Buffer.alloc(bytes, 7)]
  const times = Array.from({ length: 5 }, () => timed(() => Buffer.compare(a, b)))
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    load: loadavg()[0] ?? 0,
    node: process.version,
    commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
    readGBs: (2 * bytes) / Math.min(...times) / 1e9,
  }
}

/** The line that every benchmark begins with. */
export const describeMachine = ({ cpu, cores, load, node, commit, readGBs }: Machine): string =>
  `${cpu}, ${cores} cores, load ${load.toFixed(1)}, one core reads ${readGBs.toFixed(0)} GB/s, ` +
  `Node ${node}, commit ${commit}`
