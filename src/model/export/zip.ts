/**
 * Writes zip archives as torch does: entries stored as they are, their data aligned to 64 bytes so
 * that it can be mapped, zip64 where offsets need it. One entry is in memory at a time.
 */
import { closeSync, fsyncSync, openSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { BasinError } from '../../errors.js'
import { writeFully } from '../safetensors.js'

const ALIGNMENT = 64
const LOCAL_BYTES = 30
/** 'FB': the extra field in which torch pads. */
const PADDING_EXTRA = 0x4246
const ZIP64_EXTRA = 0x0001
/** Version 4.5 of the format: zip64. */
const VERSION = 45
const SATURATED_32 = 0xffffffff
const SATURATED_16 = 0xffff
const LARGEST_ENTRY = SATURATED_32 - 1

interface Written {
  name: Buffer
  size: number
  crc: number
  header: number
}

export class ZipWriter {
  private readonly fd: number
  private readonly entries: Written[] = []
  private position = 0

  /** Offsets from `zip64From` on are written in zip64's fields. */
  constructor(
    private readonly path: string,
    private readonly zip64From = SATURATED_32,
  ) {
    this.fd = openSync(path, 'w')
  }

  /** Throws `invalid_checkpoint` for an entry of 4 GiB or more. */
  add(name: string, data: Uint8Array): void {
    if (data.length > LARGEST_ENTRY)
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

  /** Writes the directory. The archive is complete only now. */
  finish(): void {
    const offset = this.position
    for (const entry of this.entries) this.write(centralHeader(entry, this.zip64From))
    const size = this.position - offset
    const count = this.entries.length
    const wide = offset >= this.zip64From || count >= SATURATED_16
    if (wide) this.write(end64(count, size, offset, this.position))
    this.write(end(wide ? SATURATED_16 : count, size, wide ? SATURATED_32 : offset))
  }

  /** To the disk, so that a rename after it never shows half a file. */
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

/** Fields common to both headers, from `version needed` on. */
function commonFields({ crc, name, size }: Written, extraBytes: number): Buffer {
  const fields = Buffer.alloc(26)
  fields.writeUInt16LE(VERSION, 0)
  fields.writeUInt32LE(crc, 10)
  fields.writeUInt32LE(size, 14)
  fields.writeUInt32LE(size, 18)
  fields.writeUInt16LE(name.length, 22)
  fields.writeUInt16LE(extraBytes, 24)
  return fields
}

function localHeader(entry: Written): Buffer {
  const bare = entry.header + LOCAL_BYTES + entry.name.length + 4
  const padding = Buffer.alloc(4 + ((ALIGNMENT - (bare % ALIGNMENT)) % ALIGNMENT))
  padding.writeUInt16LE(PADDING_EXTRA, 0)
  padding.writeUInt16LE(padding.length - 4, 2)
  const signature = Buffer.from('PK\x03\x04', 'latin1')
  return Buffer.concat([signature, commonFields(entry, padding.length), entry.name, padding])
}

function centralHeader(entry: Written, zip64From: number): Buffer {
  const wide = entry.header >= zip64From
  const extra = Buffer.alloc(wide ? 12 : 0)
  if (wide) {
    extra.writeUInt16LE(ZIP64_EXTRA, 0)
    extra.writeUInt16LE(8, 2)
    extra.writeBigUInt64LE(BigInt(entry.header), 4)
  }
  const start = Buffer.from('PK\x01\x02', 'latin1')
  const madeBy = Buffer.from([VERSION, 0])
  const rest = Buffer.alloc(14)
  rest.writeUInt32LE(wide ? SATURATED_32 : entry.header, 10)
  return Buffer.concat([start, madeBy, commonFields(entry, extra.length), rest, entry.name, extra])
}

/** The zip64 end record, 56 bytes, and its locator. `at`: where they begin. */
function end64(count: number, size: number, offset: number, at: number): Buffer {
  const record = Buffer.alloc(56 + 20)
  record.write('PK\x06\x06', 0, 'latin1')
  record.writeBigUInt64LE(44n, 4)
  record.writeUInt16LE(VERSION, 12)
  record.writeUInt16LE(VERSION, 14)
  record.writeBigUInt64LE(BigInt(count), 24)
  record.writeBigUInt64LE(BigInt(count), 32)
  record.writeBigUInt64LE(BigInt(size), 40)
  record.writeBigUInt64LE(BigInt(offset), 48)
  record.write('PK\x06\x07', 56, 'latin1')
  record.writeBigUInt64LE(BigInt(at), 64)
  record.writeUInt32LE(1, 72)
  return record
}

function end(count: number, size: number, offset: number): Buffer {
  const record = Buffer.alloc(22)
  record.write('PK\x05\x06', 0, 'latin1')
  record.writeUInt16LE(count, 8)
  record.writeUInt16LE(count, 10)
  record.writeUInt32LE(size, 12)
  record.writeUInt32LE(offset, 16)
  return record
}
