/** CRC-32 (IEEE 802.3), by which saved states show that they are whole. Needs nothing of Node's. */

/** The remainders of all bytes. */
const remainders = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte
  for (let bit = 0; bit < 8; bit++)
    remainder = remainder & 1 ? (remainder >>> 1) ^ 0xedb88320 : remainder >>> 1
  return remainder
})

/** Bytes of a checksum. */
const OWN_BYTES = 4

/** The remainder after bytes [from, to), from that `before` them. */
function advance(before: number, bytes: Uint8Array, from: number, to: number): number {
  let crc = before
  for (let i = from; i < to; i++)
    crc = (crc >>> 8) ^ (remainders[(crc ^ (bytes[i] as number)) & 255] as number)
  return crc
}

/** Over all bytes but the four from `at` on, where the checksum itself is kept. */
export function checksumAround(bytes: Uint8Array, at: number): number {
  const { length } = bytes
  const before = advance(0xffffffff, bytes, 0, at)
  return (advance(before, bytes, Math.min(length, at + OWN_BYTES), length) ^ 0xffffffff) >>> 0
}
