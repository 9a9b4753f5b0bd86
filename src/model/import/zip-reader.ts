/**
 * Reads the part of the zip format that torch writes: stored entries, with or without zip64, found by the
 * central directory. The file is untrusted: every size and offset is checked against the file before
 * memory is allocated. Compressed entries are refused, so the reader never holds more than the size of
 * the archive. It knows no tensors.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import {
  CENTRAL_HEADER_BYTES,
  END64_BYTES,
  END64_LOCATOR_BYTES,
  END_BYTES,
  IN_ZIP64_16,
  IN_ZIP64_32,
  LOCAL_HEADER_BYTES,
  SIGNATURE,
  ZIP64_EXTRA,
} from '../zip-format.js'
import { quote, refuse } from './refusal.js'

/** A bit of the flags in a header. */
const ENCRYPTED = 0x0001
const MAX_COMMENT_BYTES = 0xffff
const MAX_DIRECTORY_BYTES = 16 * 1024 * 1024
const MAX_ENTRIES = 100_000
const CRC_CHUNK_BYTES = 4 * 1024 * 1024

interface Entry {
  name: string
  size: number
  crc: number
  /** Offset of its local header. */
  header: number
}

interface Directory {
  offset: number
  size: number
  entries: number
}

export class ZipArchive {
  private readonly entries = new Map<string, Entry>()
  private readonly verified = new Set<string>()
  private readonly directory: Directory

  private constructor(
    readonly path: string,
    private readonly fd: number,
    readonly bytes: number,
  ) {
    this.directory = this.findDirectory()
    this.readEntries()
  }

  /** Throws `invalid_checkpoint`. The caller closes it. */
  static open(path: string): ZipArchive {
    const fd = openFile(path)
    try {
      return new ZipArchive(path, fd, fstatSync(fd).size)
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }

  get names(): string[] {
    return [...this.entries.keys()]
  }

  /** Size of an entry in bytes, or undefined when there is none of this name. */
  size(name: string): number | undefined {
    return this.entries.get(name)?.size
  }

  /** A whole entry, which must have at most `limit` bytes. */
  read(name: string, limit: number): Uint8Array {
    const size = this.entry(name).size
    if (size > limit) refuse(this.path, `${quote(name)} has ${size} bytes, ${limit} are allowed`)
    return this.readRange(name, 0, size)
  }

  /** `length` bytes of an entry from offset `from` on. Its checksum is verified at the first read. */
  readRange(name: string, from: number, length: number): Uint8Array {
    const entry = this.entry(name)
    if (from < 0 || length < 0 || from + length > entry.size)
      refuse(this.path, `${quote(name)} has ${entry.size} bytes, ${from + length} are needed`)
    const start = this.dataOf(entry)
    if (!this.verified.has(name)) this.verify(entry, start)
    this.verified.add(name)
    return this.at(start + from, length)
  }

  close(): void {
    closeSync(this.fd)
  }

  private entry(name: string): Entry {
    return this.entries.get(name) ?? refuse(this.path, `${quote(name)} is missing from the archive`)
  }

  private at(position: number, length: number): Uint8Array {
    if (position < 0 || length < 0 || position + length > this.bytes)
      refuse(this.path, 'is cut short: an offset points beyond its end')
    const buffer = new Uint8Array(length)
    this.fill(buffer, position)
    return buffer
  }

  private fill(buffer: Uint8Array, position: number): void {
    for (let done = 0; done < buffer.length;) {
      // The operating system reads at most 2^31 - 1 bytes at once.
      const wanted = Math.min(buffer.length - done, 1 << 30)
      const got = readSync(this.fd, buffer, done, wanted, position + done)
      if (got === 0) refuse(this.path, 'became shorter while it was read')
      done += got
    }
  }

  private view(position: number, length: number): DataView {
    const { buffer, byteOffset, byteLength } = this.at(position, length)
    return new DataView(buffer, byteOffset, byteLength)
  }

  private findDirectory(): Directory {
    const tail = Math.min(this.bytes, END_BYTES + MAX_COMMENT_BYTES)
    const view = this.view(this.bytes - tail, tail)
    for (let at = tail - END_BYTES; at >= 0; at--) {
      if (view.getUint32(at, true) !== SIGNATURE.end) continue
      if (view.getUint16(at + 20, true) !== tail - at - END_BYTES) continue
      const end = this.bytes - tail + at
      const directory = {
        entries: view.getUint16(at + 10, true),
        size: view.getUint32(at + 12, true),
        offset: view.getUint32(at + 16, true),
      }
      const isZip64 =
        directory.entries === IN_ZIP64_16 ||
        directory.size === IN_ZIP64_32 ||
        directory.offset === IN_ZIP64_32
      return this.checked(isZip64 ? this.directory64(end) : directory, end)
    }
    return refuse(
      this.path,
      'is not a zip archive (or is cut short); torch writes one since 1.6, older files are not read',
    )
  }

  private directory64(end: number): Directory {
    const locator = this.view(end - END64_LOCATOR_BYTES, END64_LOCATOR_BYTES)
    if (locator.getUint32(0, true) !== SIGNATURE.end64Locator)
      refuse(this.path, 'has no zip64 locator')
    const record = this.view(this.count(locator, 8), END64_BYTES)
    if (record.getUint32(0, true) !== SIGNATURE.end64) refuse(this.path, 'has no zip64 end record')
    return {
      entries: this.count(record, 32),
      size: this.count(record, 40),
      offset: this.count(record, 48),
    }
  }

  private checked(directory: Directory, end: number): Directory {
    const { entries, offset, size } = directory
    if (offset + size > end) refuse(this.path, 'its zip directory does not fit the file')
    if (size > MAX_DIRECTORY_BYTES || entries > MAX_ENTRIES)
      refuse(this.path, `its zip directory exceeds ${MAX_ENTRIES} entries or 16 MiB`)
    return directory
  }

  private readEntries(): void {
    const { offset, size, entries } = this.directory
    const view = this.view(offset, size)
    let at = 0
    for (let index = 0; index < entries; index++) {
      if (at + CENTRAL_HEADER_BYTES > size || view.getUint32(at, true) !== SIGNATURE.centralHeader)
        refuse(this.path, `entry ${index} of its zip directory is broken`)
      const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) =>
        view.getUint16(at + field, true),
      ) as [number, number, number]
      const next = at + CENTRAL_HEADER_BYTES + nameBytes + extraBytes + commentBytes
      if (next > size) refuse(this.path, `entry ${index} of its zip directory is broken`)
      const name = new TextDecoder().decode(
        new Uint8Array(view.buffer, view.byteOffset + at + CENTRAL_HEADER_BYTES, nameBytes),
      )
      if (this.entries.has(name)) refuse(this.path, `${quote(name)} is in the archive twice`)
      this.entries.set(name, this.entryAt(view, at, name, extraBytes))
      at = next
    }
  }

  private entryAt(view: DataView, at: number, name: string, extraBytes: number): Entry {
    const fail = (what: string) => refuse(this.path, `${quote(name)} ${what}`)
    if (view.getUint16(at + 8, true) & ENCRYPTED) fail('is encrypted')
    if (view.getUint16(at + 10, true) !== 0)
      fail('is compressed; torch stores its entries as they are')
    const zip64 = this.zip64Fields(view, at, extraBytes)
    const field = (place: number): number => {
      const value = view.getUint32(at + place, true)
      return value === IN_ZIP64_32 ? (zip64.shift() ?? fail('lacks its zip64 sizes')) : value
    }
    // The zip64 extra field has only the numbers that do not fit the header, in this order.
    const size = field(24)
    const stored = field(20)
    const header = field(42)
    if (stored !== size) fail('has two sizes')
    if (header + LOCAL_HEADER_BYTES + size > this.directory.offset) fail('does not fit the file')
    return { name, size, header, crc: view.getUint32(at + 16, true) }
  }

  private zip64Fields(view: DataView, at: number, extraBytes: number): number[] {
    const nameBytes = view.getUint16(at + 28, true)
    const end = at + CENTRAL_HEADER_BYTES + nameBytes + extraBytes
    for (let place = end - extraBytes; place + 4 <= end;) {
      const length = view.getUint16(place + 2, true)
      if (view.getUint16(place, true) === ZIP64_EXTRA && place + 4 + length <= end)
        return Array.from({ length: Math.min(3, Math.floor(length / 8)) }, (_, i) =>
          this.count(view, place + 4 + 8 * i),
        )
      place += 4 + length
    }
    return []
  }

  private dataOf({ name, size, header }: Entry): number {
    const local = this.view(header, LOCAL_HEADER_BYTES)
    if (local.getUint32(0, true) !== SIGNATURE.localHeader)
      refuse(this.path, `${quote(name)} is misplaced`)
    const start =
      header + LOCAL_HEADER_BYTES + local.getUint16(26, true) + local.getUint16(28, true)
    if (start + size > this.directory.offset)
      refuse(this.path, `${quote(name)} does not fit the file`)
    return start
  }

  private verify({ name, size, crc }: Entry, start: number): void {
    const chunk = new Uint8Array(Math.min(size, CRC_CHUNK_BYTES))
    let sum = 0
    for (let done = 0; done < size; done += CRC_CHUNK_BYTES) {
      const part = chunk.subarray(0, Math.min(CRC_CHUNK_BYTES, size - done))
      this.fill(part, start + done)
      sum = crc32(part, sum)
    }
    if (sum !== crc) refuse(this.path, `${quote(name)} is damaged: its checksum does not match`)
  }

  private count(view: DataView, at: number): number {
    const value = Number(view.getBigUint64(at, true))
    return Number.isSafeInteger(value) ? value : refuse(this.path, 'has a size beyond 2^53')
  }
}

function openFile(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (cause) {
    return refuse(path, (cause as Error).message, cause)
  }
}
