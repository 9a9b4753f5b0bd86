/**
 * Byte-pair encoding by the tiktoken library with a model's own ranks. The pattern is untrusted input and
 * a bad one makes the library's WebAssembly trap, so both calls into it turn errors into
 * `invalid_tokenizer`.
 */
import { Tiktoken } from 'tiktoken/lite'
import { BasinError } from '../errors.js'
import { cutLongRuns } from './pieces.js'
import { formatRanks, type Ranks } from './ranks.js'

const utf8Length = (text: string): number => Buffer.byteLength(text, 'utf8')

/** `path`: the descriptor that has the pattern, named in errors. */
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
    // The library silently drops text that the pattern does not match.
    if (covered !== utf8Length(text)) throw fail('pattern leaves a part of this text out')
    return tokens
  }
}
