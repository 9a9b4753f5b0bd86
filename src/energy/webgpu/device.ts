/**
 * One WebGPU device: its compiled kernels, submissions and what is read back. Knows no model. Several
 * engines may use one, and share its kernels.
 * Runs wherever `GPU` is: in a browser, or in Node (node.ts). Whatever the device refuses or loses
 * becomes an error of the table.
 */
import { BasinError } from '../../errors.js'
import type { Binding, KernelSource } from './kernels/source.js'

/** Bits of the WebGPU specification: outside browsers its constants are no globals. */
export const usage = {
  mapRead: 1,
  copySource: 4,
  copyTarget: 8,
  uniform: 64,
  storage: 128,
} as const
const visibleToCompute = 4
const mapForReading = 1

/** Bytes between the uniforms of two passes: the largest alignment that an adapter may ask for. */
export const uniformStride = 256

export interface Adapter {
  name: string
  /** Computes on the CPU: for tests, not for speed. */
  software: boolean
  adapter: GPUAdapter
}

/** The adapter that the platform prefers, or why there is none. */
export async function findAdapter(gpu: GPU): Promise<Adapter | { missing: string }> {
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' })
  if (!adapter) return { missing: 'WebGPU finds no adapter: is a GPU with its driver installed?' }
  const { architecture, description, isFallbackAdapter, vendor } = adapter.info
  const name = [vendor, description || architecture].filter((word) => word !== '').join(' ')
  const software = isFallbackAdapter || /swiftshader|llvmpipe|software/i.test(name)
  return { adapter, name: name || 'unnamed adapter', software }
}

export interface Kernel {
  pipeline: GPUComputePipeline
  layout: GPUBindGroupLayout
}

/** A range to read back after a submission. */
export interface ReadBack {
  buffer: GPUBuffer
  from: number
  bytes: number
}

export const webgpuFailed = (reason: string, cause?: unknown): BasinError =>
  new BasinError('engine_failed', { reason: `WebGPU: ${reason}` }, { cause })

/** A device whose limits of these names are all that the adapter allows. Throws `backend_missing`. */
export async function requestDevice(
  { adapter, name }: Adapter,
  engine: string,
  limits: readonly Exclude<keyof GPUSupportedLimits, '__brand'>[],
): Promise<GPUDevice> {
  try {
    return await adapter.requestDevice({
      requiredLimits: Object.fromEntries(
        limits.map((limit) => [limit, adapter.limits[limit] as number]),
      ),
    })
  } catch (cause) {
    const reason = `${name} gives no device: ${(cause as Error).message}`
    throw new BasinError('backend_missing', { engine, reason }, { cause })
  }
}

export class Device {
  /** Engines that use it; the last to leave destroys it. */
  private users = 0
  private readonly kernels = new Map<string, Promise<Kernel>>()
  private readonly layouts = new Map<string, GPUBindGroupLayout>()
  /** Buffers for reading back that nobody uses, by size. */
  private readonly idle = new Map<number, GPUBuffer[]>()
  private readonly pending = new Set<Promise<unknown>>()
  /** The first thing that went wrong; nothing works after it. */
  private fault: string | undefined
  private closed = false

  private constructor(
    readonly adapter: Adapter,
    private readonly device: GPUDevice,
    lost: (error: BasinError) => void,
    /** Threads that keep it busy: kernels give each thread less where there are fewer. 0: it computes on the CPU. */
    readonly busyThreads: number,
  ) {
    device.addEventListener('uncapturederror', ({ error }) => {
      this.fault ??= error.message
    })
    void device.lost.then(({ message, reason }) => {
      if (this.closed) return
      this.fault = `the device was lost (${message || reason})`
      const error = webgpuFailed(this.fault)
      void this.settled().then(() => lost(error))
    })
  }

  /**
   * With all that the adapter allows. `lost`: called when the device is gone for good, a driver's reset
   * for example; all calls fail from then on. Throws `backend_missing` where the adapter gives no device.
   */
  static async open(
    adapter: Adapter,
    lost: (error: BasinError) => void = () => undefined,
    busyThreads = adapter.software ? 0 : 16_384,
  ): Promise<Device> {
    const device = await requestDevice(adapter, 'webgpu', [
      'maxStorageBufferBindingSize',
      'maxBufferSize',
      'maxComputeWorkgroupsPerDimension',
    ])
    return new Device(adapter, device, lost, busyThreads)
  }

  /** Most bytes of one buffer. */
  get largestBuffer(): number {
    const { maxBufferSize, maxStorageBufferBindingSize } = this.device.limits
    return Math.min(maxBufferSize, maxStorageBufferBindingSize)
  }

  /** Throws `engine_failed` if anything went wrong so far. */
  check(): void {
    if (this.fault !== undefined) throw webgpuFailed(this.fault)
    if (this.closed) throw webgpuFailed('the device was closed')
  }

  /** Runs `work`, and returns why the device refused it: too little memory, or something invalid. */
  async catchingErrors<T>(work: () => T): Promise<{ made: T; error: GPUError | null }> {
    this.device.pushErrorScope('out-of-memory')
    this.device.pushErrorScope('validation')
    const made = work()
    const errors = await Promise.all([this.device.popErrorScope(), this.device.popErrorScope()])
    return { made, error: errors[1] ?? errors[0] }
  }

  createBuffer(label: string, size: number, use: number): GPUBuffer {
    return this.device.createBuffer({ label, size, usage: use })
  }

  /** In order with submissions. `from` in bytes. */
  write(buffer: GPUBuffer, from: number, data: Float32Array | Uint32Array | Int32Array): void {
    this.device.queue.writeBuffer(buffer, from, data.buffer, data.byteOffset, data.byteLength)
  }

  /** Compiles each kernel once. Throws `engine_failed` where the adapter refuses one. */
  compile(source: KernelSource): Promise<Kernel> {
    const known = this.kernels.get(source.code)
    if (known) return known
    const kernel = this.compileNew(source)
    this.kernels.set(source.code, kernel)
    return kernel
  }

  /** `round`: the uniforms of passes, one of which is chosen when a pass is recorded. */
  bind(
    { layout }: Kernel,
    round: GPUBuffer,
    rows: GPUBuffer,
    buffers: readonly GPUBuffer[],
  ): GPUBindGroup {
    return this.device.createBindGroup({
      layout,
      entries: [
        { binding: 0, resource: { buffer: round, size: 32 } },
        ...[rows, ...buffers].map((buffer, i) => ({ binding: i + 1, resource: { buffer } })),
      ],
    })
  }

  encoder(): GPUCommandEncoder {
    return this.device.createCommandEncoder()
  }

  submit(encoder: GPUCommandEncoder): void {
    this.check()
    this.device.queue.submit([encoder.finish()])
  }

  /** Submits, waits, and returns what the ranges then hold. Throws `engine_failed`. */
  async submitAndRead(
    encoder: GPUCommandEncoder,
    ranges: readonly ReadBack[],
  ): Promise<ArrayBuffer[]> {
    this.check()
    const size =
      2 **
      Math.ceil(
        Math.log2(
          Math.max(
            256,
            ranges.reduce((sum, r) => sum + r.bytes, 0),
          ),
        ),
      )
    const staging =
      this.idle.get(size)?.pop() ??
      this.createBuffer('read-back', size, usage.mapRead | usage.copyTarget)
    let at = 0
    for (const { buffer, bytes, from } of ranges) {
      encoder.copyBufferToBuffer(buffer, from, staging, at, bytes)
      at += bytes
    }
    this.device.queue.submit([encoder.finish()])
    await this.waiting(staging.mapAsync(mapForReading, 0, Math.max(4, at)))
    this.check()
    const mapped = staging.getMappedRange(0, Math.max(4, at))
    at = 0
    const results = ranges.map(({ bytes }) => mapped.slice(at, (at += bytes)))
    staging.unmap()
    this.idle.set(size, [...(this.idle.get(size) ?? []), staging])
    return results
  }

  /** An engine begins to use it. */
  enter(): void {
    this.users++
  }

  /** An engine uses it no more. */
  async leave(): Promise<void> {
    this.users--
    if (this.users > 0) return
    this.closed = true
    await this.settled()
    this.device.destroy()
  }

  /** When nothing is under way: a thread that ends with a mapping pending aborts the process in Node. */
  private async settled(): Promise<void> {
    while (this.pending.size > 0) await Promise.allSettled(this.pending)
  }

  private async waiting<T>(work: Promise<T>): Promise<T> {
    this.pending.add(work)
    try {
      return await work
    } catch (cause) {
      throw webgpuFailed(this.fault ?? (cause as Error).message, cause)
    } finally {
      this.pending.delete(work)
    }
  }

  private async compileNew({ bindings, code, name }: KernelSource): Promise<Kernel> {
    const layout = this.layoutOf(bindings)
    const module = this.device.createShaderModule({ label: name, code })
    try {
      const pipeline = await this.waiting(
        this.device.createComputePipelineAsync({
          label: name,
          layout: this.device.createPipelineLayout({ bindGroupLayouts: [layout] }),
          compute: { module, entryPoint: 'main' },
        }),
      )
      return { layout, pipeline }
    } catch (cause) {
      const { messages } = await module.getCompilationInfo()
      const reasons = messages
        .map(({ lineNum, message }) => `line ${lineNum}: ${message}`)
        .join('; ')
      throw webgpuFailed(`${name} does not compile: ${reasons || (cause as Error).message}`, cause)
    }
  }

  private layoutOf(bindings: readonly Binding[]): GPUBindGroupLayout {
    const key = bindings.map(({ write }) => (write ? 'w' : 'r')).join('')
    const known = this.layouts.get(key)
    if (known) return known
    const kinds: GPUBufferBindingType[] = [
      'read-only-storage',
      ...bindings.map(
        ({ write }) => (write ? 'storage' : 'read-only-storage') as GPUBufferBindingType,
      ),
    ]
    const layout = this.device.createBindGroupLayout({
      entries: [
        {
          binding: 0,
          visibility: visibleToCompute,
          buffer: { type: 'uniform', hasDynamicOffset: true },
        },
        ...kinds.map((type, i) => ({
          binding: i + 1,
          visibility: visibleToCompute,
          buffer: { type },
        })),
      ],
    })
    this.layouts.set(key, layout)
    return layout
  }
}
