/**
 * Files of the safetensors format (tensors.ts): read into one buffer, with sizes that are checked against
 * the file before memory is allocated; written so that a reader never sees half a file.
 */
import { closeSync, fsyncSync, openSync, readSync, renameSync, writeSync } from 'node:fs'
import { floatsToHalves } from './half.js'
import { refuseBeyondMemory } from './memory-limit.js'
import { withRegularFile } from './regular-file.js'
import {
  bytesPerElement,
  fail,
  type Float32Tensor,
  MAX_HEADER_BYTES,
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

/** The data begins at a multiple of this, so that typed arrays can view it without a copy. */
const ALIGNMENT_BYTES = 64

function readExactly(fd: number, buffer: Uint8Array, position: number, path: string): void {
  for (let done = 0; done < buffer.length;) {
    // The operating system reads at most 2^31 - 1 bytes at once.
    const wanted = Math.min(buffer.length - done, 1 << 30)
    const got = readSync(fd, buffer, done, wanted, position + done)
    if (got === 0) fail(path, `ends ${String(buffer.length - done)} bytes early`)
    done += got
  }
}

/**
 * Reads a whole file into one buffer; throws `invalid_checkpoint` on anything malformed, and for a file that
 * memory cannot hold. `check`: called with the shapes before the data is read.
 */
export function readSafetensors(
  path: string,
  check: (shapes: ReadonlyMap<string, readonly number[]>) => void = () => undefined,
): TensorFile {
  return withRegularFile(path, (fd, size) => {
    if (size < 8) fail(path, 'shorter than a safetensors header')
    const prefix = new Uint8Array(8)
    readExactly(fd, prefix, 0, path)
    const headerBytes = Number(new DataView(prefix.buffer).getBigUint64(0, true))
    if (headerBytes > Math.min(size - 8, MAX_HEADER_BYTES))
      fail(path, `header of ${String(headerBytes)} bytes exceeds the file or the limit`)
    const header = new Uint8Array(headerBytes)
    readExactly(fd, header, 8, path)
    const dataBytes = size - 8 - headerBytes
    const parsed = parseHeader(new TextDecoder().decode(header), dataBytes, path)
    check(new Map([...parsed.entries].map(([name, { shape }]) => [name, shape])))
    refuseBeyondMemory(path, 'its tensors', dataBytes)
    const data = new Uint8Array(dataBytes)
    readExactly(fd, data, 8 + headerBytes, path)
    return viewed(parsed, data)
  })
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
