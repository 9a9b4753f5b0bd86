/**
 * CRC-32 (IEEE 802.3), by which saved states show that they are whole. Node's own is many times faster than
 * a table, and most of what it costs to save an answer is this; browsers, in which the WebGPU engine runs too, have none.
 */

/** The remainders of all bytes. */
const remainders = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte
  for (let bit = 0; bit < 8; bit++)
    remainder = remainder & 1 ? (remainder >>> 1) ^ 0xedb88320 : remainder >>> 1
  return remainder
})

/** `before`: the checksum of what precedes these bytes. */
export function crcByTable(bytes: Uint8Array, before = 0): number {
  let crc = ~before
  for (const byte of bytes) crc = (crc >>> 8) ^ (remainders[(crc ^ byte) & 255] as number)
  return ~crc >>> 0
}

const { process: node } = globalThis as { process?: Partial<NodeJS.Process> }
const crc32 = node?.getBuiltinModule?.('node:zlib').crc32 ?? crcByTable

/** Bytes of a checksum. */
const OWN_BYTES = 4

/** Over all bytes but the four from `at` on, where the checksum itself is kept. */
export const checksumAround = (bytes: Uint8Array, at: number): number =>
  crc32(bytes.subarray(at + OWN_BYTES), crc32(bytes.subarray(0, at)))
