/**
 * The `native` backend of TensorFlow.js. Tensors are in the addon's memory (storage.ts), and ops are computed
 * by its kernels (kernels/). Ops without one are computed by the kernels of the CPU backend on the same
 * memory; a profile counts those calls.
 */
import type { MathBackendCPU as CpuBackend } from '@tensorflow/tfjs-backend-cpu'
import type { DataType, TensorInfo, backend_util } from '@tensorflow/tfjs-core'
import { createRequire } from 'node:module'
import { types, type Calls, type NumberType, type Op } from './calls.js'
import { Storage, TensorData, isNumberType, widthOf } from './storage.js'

const require = createRequire(import.meta.url)
const { MathBackendCPU } = require('@tensorflow/tfjs-backend-cpu') as {
  MathBackendCPU: typeof CpuBackend
}

type Values = backend_util.BackendValues
/** The data of strings and complex numbers, as the CPU backend holds them. */
interface PlainData {
  values?: Values
  dtype: DataType
  refCount: number
  complexTensorInfos?: { real: TensorInfo; imag: TensorInfo }
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

export class NativeBackend extends MathBackendCPU {
  /** Calls of kernels of the CPU backend, by name. */
  readonly inherited = new Map<string, number>()
  private readonly storage: Storage
  private ids = 0

  constructor(private readonly calls: Calls) {
    super()
    this.storage = new Storage(calls)
  }

  run(op: Op, numbers: readonly number[]): void {
    this.calls.run(op, numbers)
  }

  /** A new tensor, whose data is not written yet. */
  output(shape: number[], dtype: NumberType): TensorInfo {
    const dataId = { id: this.ids++ }
    const size = sizeOf(shape)
    const block = this.storage.take(size * widthOf(dtype))
    this.data.set(dataId, new TensorData(this.storage, block, dtype, size))
    return { dataId, shape, dtype }
  }

  /** The number of the block of a tensor. */
  block({ dataId }: TensorInfo): number {
    return (this.data.get(dataId) as unknown as TensorData).block.id
  }

  /** The same data under another shape. */
  alias({ dataId, dtype }: TensorInfo, shape: number[]): TensorInfo {
    this.incRef(dataId)
    return { dataId, shape, dtype }
  }

  countInherited(kernel: string): void {
    this.inherited.set(kernel, (this.inherited.get(kernel) ?? 0) + 1)
  }

  /** Bytes of tensors, and of idle blocks. */
  bytes(): { used: number; idle: number } {
    return this.storage.bytes()
  }

  override write(values: Values, shape: number[], dtype: DataType): { id: number } {
    const dataId = { id: this.ids++ }
    this.put(dataId, values, shape, dtype, 1)
    return dataId
  }

  override move(
    dataId: object,
    values: Values,
    shape: number[],
    dtype: DataType,
    refCount: number,
  ): void {
    this.put(dataId, values, shape, dtype, refCount)
  }

  /** A copy, because the block may be another tensor's as soon as this tensor is disposed of. */
  override readSync(dataId: object): Values {
    const found: unknown = this.data.get(dataId)
    return found instanceof TensorData ? found.values.slice() : super.readSync(dataId)
  }

  override disposeData(dataId: object, force = false): boolean {
    if (!this.data.has(dataId)) return true
    const found = this.data.get(dataId) as unknown
    if (!(found instanceof TensorData)) return super.disposeData(dataId, force)
    found.refCount--
    if (!force && found.refCount > 0) return false
    this.data.delete(dataId)
    this.storage.give(found.block)
    return true
  }

  override memory(): { unreliable: boolean; reasons: string[] } {
    return { unreliable: false, reasons: [] }
  }

  private put(
    dataId: object,
    values: Values | undefined,
    shape: number[],
    dtype: DataType,
    refCount: number,
  ): void {
    if (!isNumberType(dtype) || values === undefined) {
      const plain: PlainData = { dtype, refCount, ...(values && { values }) }
      this.data.set(dataId, plain)
      return
    }
    const size = sizeOf(shape)
    const block = this.storage.take(size * widthOf(dtype))
    const entry = new TensorData(this.storage, block, dtype, size)
    entry.refCount = refCount
    entry.values.set(values as ArrayLike<number>)
    this.data.set(dataId, entry)
  }
}

export const typeOf = (dtype: DataType): number => types[dtype as NumberType]
