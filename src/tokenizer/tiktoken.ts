/**
 * Byte-pair encoding by the tiktoken library, over a model's own ranks. The pattern is untrusted
 * input, and the library answers a bad one by trapping: both calls into it are turned into
 * `invalid_tokenizer` here.
 */
import { Tiktoken } from 'tiktoken/lite'
import { BasinError } from '../errors.js'
import { cutLongRuns } from './pieces.js'
import { formatRanks, type Ranks } from './ranks.js'

const utf8Length = (text: string): number => Buffer.byteLength(text, 'utf8')

/** `path` is what errors name: the descriptor that holds the pattern. */
export function tiktokenEncoder(
  ranks: Ranks,
  pattern: string,
  path: string,
): (text: string) => number[] {
  const fail = (reason: string, cause?: unknown) =>
    new BasinError('invalid_tokenizer', { path, reason }, { cause })
  let encoding: Tiktoken
  try {
    encoding = new Tiktoken(formatRanks(ranks), {}, pattern)
  } catch (cause) {
    throw fail('pattern is not a regular expression', cause)
  }
  const lengths = new Map(Array.from(ranks, ([rank, bytes]) => [rank, bytes.length]))

  const encodePart = (part: string): Uint32Array => {
    try {
      return encoding.encode_ordinary(part)
    } catch (cause) {
      throw fail('pattern backtracks too far on this text', cause)
    }
  }
  return (text) => {
    const tokens: number[] = []
    let covered = 0
    for (const part of cutLongRuns(text)) {
      for (const token of encodePart(part)) {
        tokens.push(token)
        covered += lengths.get(token) as number
      }
    }
    // The library drops what the pattern does not match.
    if (covered !== utf8Length(text)) throw fail('pattern leaves a part of this text out')
    return tokens
  }
}
