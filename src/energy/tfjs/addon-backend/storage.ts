/**
 * The memory of tensors: blocks that are taken once and used again. The block given back last is used
 * first, while caches still hold it. A training step asks for the same sizes as the one before, so that
 * after the first nothing is allocated. Sizes are rounded up to eighths of a power of two, which wastes an
 * eighth at most.
 */
import type { DataType, TypedArray } from '@tensorflow/tfjs-core'
import type { Calls, NumberType } from './calls.js'

export interface Block {
  readonly id: number
  readonly bytes: number
  /** The block as JavaScript sees it; null until it is asked for. */
  view: ArrayBuffer | null
}

/** Bytes in use and idle may be this multiple of the most that was ever in use, and are this many at least. */
const HELD_AT_MOST = 1.5
const HELD_AT_LEAST_BYTES = 2 ** 26

function roomFor(bytes: number): number {
  if (bytes <= 512) return Math.max(64, Math.ceil(bytes / 64) * 64)
  const eighth = 2 ** (Math.floor(Math.log2(bytes - 1)) - 3)
  return Math.ceil(bytes / eighth) * eighth
}

export class Storage {
  private readonly idle = new Map<number, Block[]>()
  private idleBytes = 0
  private usedBytes = 0
  private mostUsed = 0

  constructor(private readonly calls: Calls) {}

  take(bytes: number): Block {
    const room = roomFor(bytes)
    this.usedBytes += room
    if (this.usedBytes > this.mostUsed) this.mostUsed = this.usedBytes
    const known = this.idle.get(room)?.pop()
    if (known === undefined) return { id: this.calls.take(room), bytes: room, view: null }
    this.idleBytes -= room
    return known
  }

  give(block: Block): void {
    const { bytes } = block
    this.usedBytes -= bytes
    this.idleBytes += bytes
    const list = this.idle.get(bytes)
    if (list) list.push(block)
    else this.idle.set(bytes, [block])
    const most = Math.max(HELD_AT_LEAST_BYTES, HELD_AT_MOST * this.mostUsed)
    if (this.usedBytes + this.idleBytes > most) this.trim()
  }

  viewOf(block: Block): ArrayBuffer {
    return (block.view ??= this.calls.view(block.id))
  }

  bytes(): { used: number; idle: number } {
    return { used: this.usedBytes, idle: this.idleBytes }
  }

  /** Drops half of every list, the blocks that were used longest ago. */
  private trim(): void {
    for (const [bytes, list] of this.idle)
      for (const block of list.splice(0, Math.ceil(list.length / 2))) {
        this.calls.drop(block.id)
        this.idleBytes -= bytes
      }
  }
}

export const widthOf = (dtype: NumberType): number => (dtype === 'bool' ? 1 : 4)

/** The data of a tensor. The kernels of the CPU backend read `values`. */
export class TensorData {
  refCount = 1

  constructor(
    private readonly storage: Storage,
    readonly block: Block,
    readonly dtype: NumberType,
    readonly size: number,
  ) {}

  get values(): TypedArray {
    const view = this.storage.viewOf(this.block)
    if (this.dtype === 'float32') return new Float32Array(view, 0, this.size)
    if (this.dtype === 'int32') return new Int32Array(view, 0, this.size)
    return new Uint8Array(view, 0, this.size)
  }
}

export const isNumberType = (dtype: DataType): dtype is NumberType =>
  dtype === 'float32' || dtype === 'int32' || dtype === 'bool'
