/** The checksum of saved states, which browsers compute by a table. */
import { crc32 } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { checksumAround, crcByTable } from '../../src/energy/crc.js'

const bytes = Uint8Array.from({ length: 1000 }, (_, i) => (i * i * 31) >> 3)

describe('the checksum of a saved state', () => {
  it('is the same by table and by zlib', () => {
    for (const length of [0, 1, 4, 5, 999, 1000]) {
      const part = bytes.subarray(0, length)
      expect(crcByTable(part)).toBe(crc32(part))
      expect(crcByTable(part, 0xcbf43926)).toBe(crc32(part, 0xcbf43926))
    }
  })

  it('is over all bytes but the four in which it stands', () => {
    const sum = checksumAround(bytes, 60)
    const changed = (at: number) =>
      Uint8Array.from(bytes, (byte, i) => (i === at ? byte ^ 1 : byte))
    for (const at of [60, 61, 62, 63]) expect(checksumAround(changed(at), 60)).toBe(sum)
    for (const at of [0, 59, 64, 999]) expect(checksumAround(changed(at), 60)).not.toBe(sum)
  })
})
