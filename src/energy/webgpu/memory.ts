/** The buffers of one engine: made together, counted, destroyed together. */
import { BasinError } from '../../errors.js'
import { type Device, uniformStride, usage } from './device.js'

export class Memory {
  bytes = 0
  private readonly buffers: GPUBuffer[] = []

  constructor(private readonly device: Device) {}

  /**
   * Makes buffers by `work` and waits until they are there. Throws `backend_missing` where memory does
   * not suffice or a buffer is larger than the adapter allows.
   */
  async making<T>(work: () => T): Promise<T> {
    const { error, made } = await this.device.catchingErrors(work)
    if (!error) return made
    const megabytes = Math.round(this.bytes / 2 ** 20)
    throw this.refused(
      `has no room for the ${megabytes} MB of this model with its slots and pages (${error.message.split('\n')[0] ?? ''})`,
    )
  }

  /** Of zeros. Throws `backend_missing` where the adapter allows no buffer of that size. */
  storage(label: string, numbers: number): GPUBuffer {
    const size = Math.max(4, numbers) * 4
    const { largestBuffer } = this.device
    if (size > largestBuffer)
      throw this.refused(
        `allows ${largestBuffer} bytes in one buffer, ${label} would take ${size}: serve with fewer slots or pages`,
      )
    return this.make(label, size, usage.storage | usage.copySource | usage.copyTarget)
  }

  uniforms(passes: number): GPUBuffer {
    return this.make('uniforms', passes * uniformStride, usage.uniform | usage.copyTarget)
  }

  upload(label: string, data: Float32Array | Uint32Array): GPUBuffer {
    const buffer = this.storage(label, data.length)
    this.device.write(buffer, 0, data)
    return buffer
  }

  /** What was submitted still has them. */
  free(): void {
    for (const buffer of this.buffers) buffer.destroy()
    this.buffers.length = 0
    this.bytes = 0
  }

  private make(label: string, size: number, use: number): GPUBuffer {
    this.bytes += size
    const buffer = this.device.createBuffer(label, size, use)
    this.buffers.push(buffer)
    return buffer
  }

  private refused(reason: string): BasinError {
    return new BasinError('backend_missing', {
      engine: 'webgpu',
      reason: `${this.device.adapter.name} ${reason}`,
    })
  }
}
