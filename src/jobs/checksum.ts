/** Stored texts carry a checksum, so that damage is found when they are read. */
import { crc32 } from 'node:zlib'

const DIGITS = 8

const checksumOf = (text: string): string => crc32(text).toString(16).padStart(DIGITS, '0')

/** The text behind its CRC-32 in eight hexadecimal digits. */
export const seal = (text: string): string => checksumOf(text) + text

/** The text of a sealed value; undefined where the checksum does not match. */
export function unseal(sealed: string): string | undefined {
  const text = sealed.slice(DIGITS)
  return sealed.slice(0, DIGITS) === checksumOf(text) ? text : undefined
}
