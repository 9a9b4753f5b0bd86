/**
 * Reads torch's file format: a zip whose `data.pkl` describes tensors as views into storages, each of which
 * is an entry `data/<key>` of raw elements. A tensor's elements are read when it is asked for.
 */
import { asFloat32, bytesPerElement } from '../safetensors.js'
import { readPickle } from './pickle-reader.js'
import { quote, refuse } from './refusal.js'
import type { TensorRef, Value } from './pickle-values.js'
import { ZipArchive } from './zip-reader.js'

const MAX_PICKLE_BYTES = 16 * 1024 * 1024
/** Storages are converted to float32 in parts of this size, so that never all of both is in memory. */
const CHUNK_ELEMENTS = 1024 * 1024

/** A tensor of a foreign file. `read` returns its elements, row-major, and keeps no copy. */
export interface ForeignTensor {
  readonly shape: readonly number[]
  /** Bytes of its elements in the file. */
  readonly bytes: number
  read(): Float32Array
}

export class TorchFile {
  /** The pickled object: for a checkpoint, a dict. */
  readonly root: Value
  private readonly folder: string

  private constructor(private readonly zip: ZipArchive) {
    this.folder = folderOf(zip)
    this.checkByteOrder()
    this.root = readPickle(zip.read(`${this.folder}data.pkl`, MAX_PICKLE_BYTES), zip.path)
  }

  /** Throws `invalid_checkpoint`. The caller must close the result. */
  static open(path: string): TorchFile {
    const zip = ZipArchive.open(path)
    try {
      return new TorchFile(zip)
    } catch (error) {
      zip.close()
      throw error
    }
  }

  get bytes(): number {
    return this.zip.bytes
  }

  tensor(name: string, ref: TensorRef): ForeignTensor {
    const { zip, folder } = this
    const { storage, offset, shape } = ref
    const width = bytesPerElement[storage.dtype]
    const elements = shape.reduce((a, b) => a * b, 1)
    const entry = `${folder}data/${storage.key}`
    const held =
      (zip.size(entry) ?? refuse(zip.path, `${quote(name)}: ${quote(entry)} is missing`)) / width
    if (offset + elements > held || storage.elements > held)
      refuse(zip.path, `${quote(name)} does not fit its storage of ${Math.floor(held)} elements`)
    const order = memoryOrder(ref)
    if (!order)
      refuse(zip.path, `${quote(name)} is a view with gaps or repeats; save it contiguous`)
    return {
      shape,
      bytes: elements * width,
      read() {
        const data = new Float32Array(elements)
        for (let from = 0; from < elements; from += CHUNK_ELEMENTS) {
          const count = Math.min(CHUNK_ELEMENTS, elements - from)
          const bytes = zip.readRange(entry, (offset + from) * width, count * width)
          data.set(asFloat32({ dtype: storage.dtype, shape: [count], bytes }, name, zip.path), from)
        }
        return isRowMajor(order) ? data : rowMajor(data, ref)
      },
    }
  }

  close(): void {
    this.zip.close()
  }

  private checkByteOrder(): void {
    const name = `${this.folder}byteorder`
    if (this.zip.size(name) === undefined) return
    const order = new TextDecoder().decode(this.zip.read(name, 16))
    if (order !== 'little') refuse(this.zip.path, `byte order ${quote(order)} is not supported`)
  }
}

function folderOf(zip: ZipArchive): string {
  const pickles = zip.names.filter((name) => /^([^/]*\/)?data\.pkl$/.test(name))
  const [name] = pickles
  if (name === undefined || pickles.length > 1)
    refuse(zip.path, `has ${pickles.length} entries data.pkl; a file of torch has one`)
  const folder = name.slice(0, -'data.pkl'.length)
  if (zip.size(`${folder}constants.pkl`) !== undefined)
    refuse(zip.path, 'is a TorchScript program, which is not supported; save its state dict')
  return folder
}

/**
 * The dimensions in memory order, outermost first, if the view covers a block of its storage without gap
 * or repetition (row-major, transposed or permuted); else undefined.
 */
function memoryOrder({ shape, strides }: TensorRef): readonly number[] | undefined {
  const order = shape
    .map((_, dimension) => dimension)
    .filter((dimension) => shape[dimension] !== 1)
    .sort((a, b) => (strides[b] as number) - (strides[a] as number) || a - b)
  if (shape.includes(0)) return order
  let block = 1
  for (const dimension of order.toReversed()) {
    if (strides[dimension] !== block) return undefined
    block *= shape[dimension] as number
  }
  return order
}

const isRowMajor = (order: readonly number[]): boolean =>
  order.every((dimension, place) => place === 0 || (order[place - 1] as number) < dimension)

/** Copies elements from memory order into row-major order. */
function rowMajor(memory: Float32Array, { shape, strides }: TensorRef): Float32Array {
  const out = new Float32Array(memory.length)
  const index = shape.map(() => 0)
  let from = 0
  for (let to = 0; to < out.length; to++) {
    out[to] = memory[from] as number
    for (let d = shape.length - 1; d >= 0; d--) {
      const [size, stride] = [shape[d] as number, strides[d] as number]
      from += stride
      index[d] = (index[d] as number) + 1
      if ((index[d] as number) < size) break
      from -= size * stride
      index[d] = 0
    }
  }
  return out
}
