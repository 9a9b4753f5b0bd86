/**
 * Writes zip archives as torch does: entries are stored without compression, their data is aligned to 64
 * bytes so that it can be memory-mapped, and zip64 is used where offsets need it. One entry is in memory
 * at a time.
 */
import { closeSync, fsyncSync, openSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { BasinError } from '../../errors.js'
import { writeFully } from '../safetensors.js'
import {
  END64_BYTES,
  END64_LOCATOR_BYTES,
  END_BYTES,
  IN_ZIP64_16,
  IN_ZIP64_32,
  LOCAL_HEADER_BYTES,
  SIGNATURE,
  ZIP64_EXTRA,
} from '../zip-format.js'

const ALIGNMENT_BYTES = 64
/** 'FB': the id of the extra field with which torch pads. */
const PADDING_EXTRA = 0x4246
/** Version 4.5 of the format, the first with zip64. */
const VERSION = 45
const MAX_ENTRY_BYTES = IN_ZIP64_32 - 1

interface WrittenEntry {
  name: Buffer
  size: number
  crc: number
  /** Offset of its local header. */
  header: number
}

export class ZipWriter {
  private readonly fd: number
  private readonly entries: WrittenEntry[] = []
  private position = 0

  /** Offsets from `zip64From` on are written in zip64 fields. */
  constructor(
    private readonly path: string,
    private readonly zip64From = IN_ZIP64_32,
  ) {
    this.fd = openSync(path, 'w')
  }

  /** Throws `invalid_checkpoint` for an entry of 4 GiB or more. */
  add(name: string, data: Uint8Array): void {
    if (data.length > MAX_ENTRY_BYTES)
      throw new BasinError('invalid_checkpoint', {
        path: this.path,
        reason: `${name} has ${data.length} bytes; entries of 4 GiB and more are not written`,
      })
    const entry = {
      name: Buffer.from(name),
      size: data.length,
      crc: crc32(data),
      header: this.position,
    }
    this.entries.push(entry)
    this.write(localHeader(entry))
    this.write(data)
  }

  /** Writes the central directory, which completes the archive. */
  finish(): void {
    const offset = this.position
    for (const entry of this.entries) this.write(centralHeader(entry, this.zip64From))
    const size = this.position - offset
    const count = this.entries.length
    const isZip64 = offset >= this.zip64From || count >= IN_ZIP64_16
    if (isZip64) this.write(end64(count, size, offset, this.position))
    this.write(end(isZip64 ? IN_ZIP64_16 : count, size, isZip64 ? IN_ZIP64_32 : offset))
  }

  /** Flushes to the disk, so that after a rename no reader sees half a file. */
  flush(): void {
    fsyncSync(this.fd)
  }

  close(): void {
    closeSync(this.fd)
  }

  private write(bytes: Uint8Array): void {
    writeFully(this.fd, bytes)
    this.position += bytes.length
  }
}

/** The fields that both headers have, from `version needed` on. */
function commonFields({ crc, name, size }: WrittenEntry, extraBytes: number): Buffer {
  const fields = Buffer.alloc(26)
  fields.writeUInt16LE(VERSION, 0)
  fields.writeUInt32LE(crc, 10)
  fields.writeUInt32LE(size, 14)
  fields.writeUInt32LE(size, 18)
  fields.writeUInt16LE(name.length, 22)
  fields.writeUInt16LE(extraBytes, 24)
  return fields
}

function signature(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function localHeader(entry: WrittenEntry): Buffer {
  const bare = entry.header + LOCAL_HEADER_BYTES + entry.name.length + 4
  const padding = Buffer.alloc(4 + ((ALIGNMENT_BYTES - (bare % ALIGNMENT_BYTES)) % ALIGNMENT_BYTES))
  padding.writeUInt16LE(PADDING_EXTRA, 0)
  padding.writeUInt16LE(padding.length - 4, 2)
  return Buffer.concat([
    signature(SIGNATURE.localHeader),
    commonFields(entry, padding.length),
    entry.name,
    padding,
  ])
}

function centralHeader(entry: WrittenEntry, zip64From: number): Buffer {
  const isZip64 = entry.header >= zip64From
  const extra = Buffer.alloc(isZip64 ? 12 : 0)
  if (isZip64) {
    extra.writeUInt16LE(ZIP64_EXTRA, 0)
    extra.writeUInt16LE(8, 2)
    extra.writeBigUInt64LE(BigInt(entry.header), 4)
  }
  const madeBy = Buffer.from([VERSION, 0])
  const rest = Buffer.alloc(14)
  rest.writeUInt32LE(isZip64 ? IN_ZIP64_32 : entry.header, 10)
  return Buffer.concat([
    signature(SIGNATURE.centralHeader),
    madeBy,
    commonFields(entry, extra.length),
    rest,
    entry.name,
    extra,
  ])
}

/** The zip64 end record and its locator. `at`: the offset at which they begin. */
function end64(count: number, size: number, offset: number, at: number): Buffer {
  const record = Buffer.alloc(END64_BYTES + END64_LOCATOR_BYTES)
  record.writeUInt32LE(SIGNATURE.end64, 0)
  // The size of the record after this field.
  record.writeBigUInt64LE(BigInt(END64_BYTES - 12), 4)
  record.writeUInt16LE(VERSION, 12)
  record.writeUInt16LE(VERSION, 14)
  record.writeBigUInt64LE(BigInt(count), 24)
  record.writeBigUInt64LE(BigInt(count), 32)
  record.writeBigUInt64LE(BigInt(size), 40)
  record.writeBigUInt64LE(BigInt(offset), 48)
  const locator = record.subarray(END64_BYTES)
  locator.writeUInt32LE(SIGNATURE.end64Locator, 0)
  locator.writeBigUInt64LE(BigInt(at), 8)
  // Number of disks.
  locator.writeUInt32LE(1, 16)
  return record
}

function end(count: number, size: number, offset: number): Buffer {
  const record = Buffer.alloc(END_BYTES)
  record.writeUInt32LE(SIGNATURE.end, 0)
  record.writeUInt16LE(count, 8)
  record.writeUInt16LE(count, 10)
  record.writeUInt32LE(size, 12)
  record.writeUInt32LE(offset, 16)
  return record
}
