/**
 * The safetensors format as bytes, wherever they come from: an 8-byte little-endian header length, a JSON
 * header, raw tensor data. Bytes are untrusted: every size and offset is checked before anything is viewed.
 * Tensors are views into one buffer; nothing is copied. Imports nothing that a browser lacks.
 */
import { BasinError } from '../errors.js'
import { halvesToFloats } from './half.js'

export const bytesPerElement = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const
export type Dtype = keyof typeof bytesPerElement

export interface StoredTensor {
  dtype: Dtype
  shape: readonly number[]
  /** Little-endian elements, row-major. */
  bytes: Uint8Array
}

export interface TensorFile {
  tensors: ReadonlyMap<string, StoredTensor>
  metadata: Readonly<Record<string, string>>
}

export const MAX_HEADER_BYTES = 64 * 1024 * 1024
const MAX_RANK = 8

export function fail(path: string, reason: string): never {
  throw new BasinError('invalid_checkpoint', { path, reason })
}

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0

interface HeaderEntry {
  dtype: Dtype
  shape: number[]
  begin: number
  end: number
}

function checkEntry(name: string, entry: unknown, dataBytes: number, path: string): HeaderEntry {
  const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>
  if (typeof dtype !== 'string' || !Object.hasOwn(bytesPerElement, dtype))
    fail(path, `${name}: unknown dtype`)
  if (!Array.isArray(shape) || shape.length > MAX_RANK || !shape.every(isCount))
    fail(path, `${name}: bad shape`)
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount))
    fail(path, `${name}: bad data_offsets`)
  const [begin, end] = offsets as [number, number]
  if (begin > end || end > dataBytes)
    fail(
      path,
      `${name}: data_offsets ${String(begin)}..${String(end)} exceed the ${String(dataBytes)} bytes of data`,
    )
  const bytes = shape.reduce((a, b) => a * b, 1) * bytesPerElement[dtype as Dtype]
  if (bytes !== end - begin)
    fail(
      path,
      `${name}: shape needs ${String(bytes)} bytes, data_offsets give ${String(end - begin)}`,
    )
  return { dtype: dtype as Dtype, shape: shape, begin, end }
}

/** `dataBytes`: the number of bytes after the header. */
export function parseHeader(
  text: string,
  dataBytes: number,
  path: string,
): { entries: Map<string, HeaderEntry>; metadata: Record<string, string> } {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw new BasinError(
      'invalid_checkpoint',
      { path, reason: 'the header is not JSON' },
      { cause },
    )
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    fail(path, 'the header is not an object')
  const entries = new Map<string, HeaderEntry>()
  let metadata: Record<string, string> = {}
  for (const [name, entry] of Object.entries(json as Record<string, unknown>)) {
    if (typeof entry !== 'object' || entry === null) fail(path, `${name}: not an object`)
    if (name === '__metadata__')
      metadata = Object.fromEntries(Object.entries(entry).map(([k, v]) => [k, String(v)]))
    else entries.set(name, checkEntry(name, entry, dataBytes, path))
  }
  let covered = 0
  for (const { begin, end } of [...entries.values()].sort((a, b) => a.begin - b.begin)) {
    if (begin !== covered) fail(path, 'tensors overlap or leave gaps')
    covered = end
  }
  if (covered !== dataBytes) fail(path, `${String(dataBytes - covered)} bytes belong to no tensor`)
  return { entries, metadata }
}

/** The tensors of a whole file. Throws `invalid_checkpoint` on anything malformed; `path` names the file. */
export function parseSafetensors(file: ArrayBuffer, path: string): TensorFile {
  if (file.byteLength < 8) fail(path, 'shorter than a safetensors header')
  const headerBytes = Number(new DataView(file).getBigUint64(0, true))
  if (headerBytes > Math.min(file.byteLength - 8, MAX_HEADER_BYTES))
    fail(path, `header of ${String(headerBytes)} bytes exceeds the file or the limit`)
  const header = new TextDecoder().decode(new Uint8Array(file, 8, headerBytes))
  const data = new Uint8Array(file, 8 + headerBytes)
  return viewed(parseHeader(header, data.length, path), data)
}

/** The tensors that a header describes, as views into `data`. */
export function viewed(
  { entries, metadata }: ReturnType<typeof parseHeader>,
  data: Uint8Array,
): TensorFile {
  const tensors = new Map<string, StoredTensor>()
  for (const [name, { dtype, shape, begin, end }] of entries)
    tensors.set(name, { dtype, shape, bytes: data.subarray(begin, end) })
  return { tensors, metadata }
}

/** The elements of a tensor as float32: a view of its bytes where possible, else a converted copy. */
export function asFloat32(tensor: StoredTensor, name: string, path: string): Float32Array {
  const { bytes, dtype } = tensor
  const elements = bytes.byteLength / bytesPerElement[dtype]
  if (dtype === 'F32') {
    const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice()
    return new Float32Array(aligned.buffer, aligned.byteOffset, elements)
  }
  if (dtype === 'F16') {
    const aligned = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice()
    return halvesToFloats(new Uint16Array(aligned.buffer, aligned.byteOffset, elements))
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const out = new Float32Array(elements)
  if (dtype === 'BF16') {
    const bits = new Uint32Array(out.buffer)
    for (let i = 0; i < elements; i++) bits[i] = view.getUint16(2 * i, true) << 16
  } else if (dtype === 'F64') {
    for (let i = 0; i < elements; i++) out[i] = view.getFloat64(8 * i, true)
  } else fail(path, `${name}: expected floating point, found ${dtype}`)
  return out
}

export interface Float32Tensor {
  shape: readonly number[]
  data: Float32Array
}
