/**
 * Files of the safetensors format (tensors.ts): read into one buffer, whose sizes are checked against the
 * file before anything is allocated; written so that a reader never sees half of one.
 */
import { closeSync, fstatSync, fsyncSync, openSync, readSync, renameSync, writeSync } from 'node:fs'
import { BasinError } from '../errors.js'
import { floatsToHalves } from './half.js'
import {
  bytesPerElement,
  fail,
  type Float32Tensor,
  maxHeaderBytes,
  parseHeader,
  type TensorFile,
  viewed,
} from './tensors.js'

export {
  asFloat32,
  bytesPerElement,
  type Dtype,
  type Float32Tensor,
  type StoredTensor,
  type TensorFile,
} from './tensors.js'

/** Data starts at a multiple of this, so that float views need no copy. */
const alignment = 64

function readExactly(fd: number, buffer: Uint8Array, position: number, path: string): void {
  for (let done = 0; done < buffer.length;) {
    // A read takes at most 2^31 - 1 bytes.
    const wanted = Math.min(buffer.length - done, 1 << 30)
    const got = readSync(fd, buffer, done, wanted, position + done)
    if (got === 0) fail(path, `ends ${String(buffer.length - done)} bytes early`)
    done += got
  }
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
    if (headerBytes > Math.min(size - 8, maxHeaderBytes))
      fail(path, `header of ${String(headerBytes)} bytes exceeds the file or the limit`)
    const header = new Uint8Array(headerBytes)
    readExactly(fd, header, 8, path)
    const dataBytes = size - 8 - headerBytes
    const parsed = parseHeader(new TextDecoder().decode(header), dataBytes, path)
    const data = new Uint8Array(dataBytes)
    readExactly(fd, data, 8 + headerBytes, path)
    return viewed(parsed, data)
  } finally {
    closeSync(fd)
  }
}

/**
 * Writes tensors beside the target, flushes, then renames: a reader never sees half a file.
 * Each `data` is asked for once, in order, so that tensors may be made as they are written.
 * Throws `invalid_checkpoint` for a number that float16 has not.
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
  const text = Buffer.from(json + ' '.repeat((alignment - (unpadded % alignment)) % alignment))
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
