/**
 * Measures the time of a training by kernel. The kernels of the current backend are registered again with
 * a clock around them, so that a run without a profile costs nothing more. It is meant for backends that
 * compute before they return, which a GPU does not.
 */
import type { Backend } from './backend.js'

export interface KernelTime {
  kernel: string
  calls: number
  seconds: number
  /** Calls that the native backend took from the CPU backend. */
  inherited: number
}

export class Profile {
  private readonly began = performance.now()
  private readonly times = new Map<string, { calls: number; seconds: number }>()
  private readonly inherited: ReadonlyMap<string, number>

  constructor({ tf, inherited }: Pick<Backend, 'tf' | 'inherited'>) {
    this.inherited = inherited ?? new Map<string, number>()
    const backendName = tf.getBackend()
    for (const config of tf.getKernelsForBackend(backendName)) {
      tf.unregisterKernel(config.kernelName, backendName)
      tf.registerKernel({
        ...config,
        kernelFunc: (call) => this.time(config.kernelName, () => config.kernelFunc(call)),
      })
    }
  }

  /** Seconds since the profile was started. */
  get seconds(): number {
    return (performance.now() - this.began) / 1000
  }

  /** Longest first. The rest of the time is spent in JavaScript: the tape, the objective, the data. */
  kernels(): KernelTime[] {
    return [...this.times]
      .map(([kernel, time]) => ({ kernel, ...time, inherited: this.inherited.get(kernel) ?? 0 }))
      .sort((a, b) => b.seconds - a.seconds)
  }

  /** A table, with shares of all time. */
  table(): string {
    const { seconds } = this
    const row = (name: string, calls: string, taken: number): string =>
      `${name.padEnd(26)} ${calls.padStart(9)} ${(1000 * taken).toFixed(1).padStart(11)} ${((100 * taken) / seconds).toFixed(1).padStart(6)} %`
    const kernels = this.kernels()
    const inKernels = kernels.reduce((sum, k) => sum + k.seconds, 0)
    return [
      `${'kernel'.padEnd(26)} ${'calls'.padStart(9)} ${'ms'.padStart(11)}    share`,
      ...kernels.map(
        (k) =>
          row(k.kernel, String(k.calls), k.seconds) +
          (k.inherited > 0 ? `  ${k.inherited} by the CPU backend` : ''),
      ),
      row('between kernels', '', seconds - inKernels),
    ].join('\n')
  }

  private time<T>(kernel: string, compute: () => T): T {
    const from = performance.now()
    const result = compute()
    const seconds = (performance.now() - from) / 1000
    const known = this.times.get(kernel)
    if (known) {
      known.calls++
      known.seconds += seconds
    } else {
      this.times.set(kernel, { calls: 1, seconds })
    }
    return result
  }
}
