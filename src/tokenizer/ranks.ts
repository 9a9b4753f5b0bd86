/**
 * The ranks file of byte-pair encoding, in tiktoken's format: a line `base64(token) rank` for each token.
 * The rank is the token's id and also its priority in merging.
 */
import { join } from 'node:path'
import { BasinError } from '../errors.js'
import { MAX_VOCABULARY, readBounded } from './descriptor.js'

/** Bytes of the token of each rank. They include all 256 single bytes, so every text can be encoded. */
export type Ranks = ReadonlyMap<number, Uint8Array>

const MAX_RANKS_BYTES = 64 * 1024 * 1024
const MAX_TOKEN_BYTES = 1024
const LINE = /^([A-Za-z0-9+/]+={0,2}) (0|[1-9][0-9]{0,6})$/

export const formatRanks = (ranks: Ranks): string =>
  Array.from(ranks, ([rank, bytes]) => `${Buffer.from(bytes).toString('base64')} ${rank}\n`).join(
    '',
  )

/** Reads and checks a ranks file. Throws `invalid_tokenizer` with the number of the wrong line. */
export function readRanks(
  directory: string,
  file: string,
  special: ReadonlyMap<string, number>,
): Ranks {
  const path = join(directory, file)
  const fail = (reason: string) => new BasinError('invalid_tokenizer', { path, reason })
  const reserved = new Set(special.values())
  const ranks = new Map<number, Uint8Array>()
  const seen = new Set<string>()
  const lines = readBounded(path, MAX_RANKS_BYTES).toString('latin1').split('\n')
  for (const [index, line] of lines.entries()) {
    if (line === '') continue
    const [, token, digits] = LINE.exec(line) ?? []
    const at = `line ${index + 1}`
    if (token === undefined) throw fail(`${at} is not \`base64 rank\``)
    const bytes = Buffer.from(token, 'base64')
    const rank = Number(digits)
    if (bytes.toString('base64') !== token) throw fail(`${at} is not canonical base64`)
    if (bytes.length > MAX_TOKEN_BYTES) throw fail(`${at} exceeds ${MAX_TOKEN_BYTES} bytes`)
    if (rank >= MAX_VOCABULARY) throw fail(`${at}: rank must be below ${MAX_VOCABULARY}`)
    if (ranks.has(rank)) throw fail(`${at}: rank ${rank} occurs twice`)
    if (seen.has(token)) throw fail(`${at}: token ${token} occurs twice`)
    if (reserved.has(rank)) throw fail(`${at}: rank ${rank} is the id of a special token`)
    ranks.set(rank, bytes)
    seen.add(token)
  }
  for (let byte = 0; byte < 256; byte++) {
    if (!seen.has(Buffer.of(byte).toString('base64'))) throw fail(`no token for byte ${byte}`)
  }
  return ranks
}
