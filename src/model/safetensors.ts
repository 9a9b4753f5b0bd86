/**
 * The safetensors format: an 8-byte little-endian header length, a JSON header, raw tensor data.
 * Files are untrusted: every size and offset is checked against the file before memory is allocated or
 * viewed. Tensors are views into one buffer; nothing is copied.
 */
import { closeSync, fstatSync, fsyncSync, openSync, readSync, renameSync, writeSync } from 'node:fs'
import { BasinError } from '../errors.js'
import { floatsToHalves, halvesToFloats } from './half.js'

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

const MAX_HEADER_BYTES = 64 * 1024 * 1024
const MAX_RANK = 8
/** The data begins at a multiple of this, so that typed arrays can view it without a copy. */
const ALIGNMENT_BYTES = 64

function fail(path: string, reason: string): never {
  throw new BasinError('invalid_checkpoint', { path, reason })
}

function readExactly(fd: number, buffer: Uint8Array, position: number, path: string): void {
  for (let done = 0; done < buffer.length;) {
    // The operating system reads at most 2^31 - 1 bytes at once.
    const wanted = Math.min(buffer.length - done, 1 << 30)
    const got = readSync(fd, buffer, done, wanted, position + done)
    if (got === 0) fail(path, `ends ${String(buffer.length - done)} bytes early`)
    done += got
  }
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

function parseHeader(
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

/** Reads a whole file into one buffer; throws `invalid_checkpoint` on anything malformed. */
export function readSafetensors(path: string): TensorFile {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (cause) {
    throw new BasinError(
      'invalid_checkpoint',
      { path, reason: (cause as Error).message },
      { cause },
    )
  }
  try {
    const { size } = fstatSync(fd)
    if (size < 8) fail(path, 'shorter than a safetensors header')
    const prefix = new Uint8Array(8)
    readExactly(fd, prefix, 0, path)
    const headerBytes = Number(new DataView(prefix.buffer).getBigUint64(0, true))
    if (headerBytes > Math.min(size - 8, MAX_HEADER_BYTES))
      fail(path, `header of ${String(headerBytes)} bytes exceeds the file or the limit`)
    const header = new Uint8Array(headerBytes)
    readExactly(fd, header, 8, path)
    const dataBytes = size - 8 - headerBytes
    const { entries, metadata } = parseHeader(new TextDecoder().decode(header), dataBytes, path)
    const data = new Uint8Array(dataBytes)
    readExactly(fd, data, 8 + headerBytes, path)
    const tensors = new Map<string, StoredTensor>()
    for (const [name, { dtype, shape, begin, end }] of entries)
      tensors.set(name, { dtype, shape, bytes: data.subarray(begin, end) })
    return { tensors, metadata }
  } finally {
    closeSync(fd)
  }
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

/**
 * Writes to a temporary file, flushes it and renames it, so a reader never sees half a file. Each `data`
 * is read once, in order, so tensors may be computed while they are written. Throws `invalid_checkpoint`
 * for a number too large for float16.
 */
export function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Float32Tensor>,
  {
    metadata = {},
    dtype = 'F32',
  }: { metadata?: Readonly<Record<string, string>>; dtype?: 'F32' | 'F16' } = {},
): void {
  const header: Record<string, unknown> = { __metadata__: metadata }
  let offset = 0
  for (const [name, { shape }] of tensors) {
    const end = offset + shape.reduce((a, b) => a * b, 1) * bytesPerElement[dtype]
    header[name] = { dtype, shape, data_offsets: [offset, end] }
    offset = end
  }
  const json = JSON.stringify(header)
  const unpadded = 8 + Buffer.byteLength(json)
  const text = Buffer.from(
    json + ' '.repeat((ALIGNMENT_BYTES - (unpadded % ALIGNMENT_BYTES)) % ALIGNMENT_BYTES),
  )
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(text.length))
  const temporary = `${path}.tmp`
  const fd = openSync(temporary, 'w')
  try {
    writeFully(fd, prefix)
    writeFully(fd, text)
    for (const [name, { data }] of tensors) {
      const stored = dtype === 'F32' ? data : floatsToHalves(data)
      if (!stored) fail(path, `${name}: a number too large for float16`)
      writeFully(fd, new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength))
    }
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  renameSync(temporary, path)
}

export function writeFully(fd: number, part: Uint8Array): void {
  for (let done = 0; done < part.length;) done += writeSync(fd, part, done)
}
