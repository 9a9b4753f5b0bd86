/**
 * Byte-pair encoding in JavaScript, for where the tiktoken library's WebAssembly is not: in browsers. The
 * tokens are the library's as far as the pattern means the same to both regular expression engines.
 */
import { BasinError } from '../errors.js'
import { cutLongRuns } from './pieces.js'

const utf8 = new TextEncoder()

/** Bytes as a text of one character each, which a Map can find. */
const keyOf = (bytes: Uint8Array): string => String.fromCharCode(...bytes)

/** Merges the bytes of a piece, pair by pair, the pair of lowest rank first; returns the ranks. */
function merge(piece: string, ranks: ReadonlyMap<string, number>): number[] {
  const parts = Array.from(piece)
  for (;;) {
    let lowest = Infinity
    let at = -1
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = ranks.get((parts[i] as string) + (parts[i + 1] as string)) ?? Infinity
      if (rank < lowest) [lowest, at] = [rank, i]
    }
    if (at < 0) return parts.map((part) => ranks.get(part) as number)
    parts.splice(at, 2, (parts[at] as string) + (parts[at + 1] as string))
  }
}

/**
 * `ranks`: the bytes of each rank, all single bytes among them. `path`: the descriptor that has the pattern.
 * Throws `invalid_tokenizer` where the pattern is none here, or leaves a part of a text out.
 */
export function bytePairEncoder(
  ranks: ReadonlyMap<number, Uint8Array>,
  pattern: string,
  path: string,
): (text: string) => number[] {
  const fail = (reason: string, cause?: unknown) =>
    new BasinError('invalid_tokenizer', { path, reason }, { cause })
  let expression: RegExp
  try {
    expression = new RegExp(pattern, 'gu')
  } catch (cause) {
    throw fail('pattern is not a regular expression of JavaScript', cause)
  }
  const byKey = new Map(Array.from(ranks, ([rank, bytes]) => [keyOf(bytes), rank]))
  return (text) =>
    // A lone surrogate is read as U+FFFD, as UTF-8 cannot express it.
    cutLongRuns(text.replace(/\p{Surrogate}/gu, '\ufffd')).flatMap((part) => {
      const pieces = part.match(expression) ?? []
      if (pieces.join('').length !== part.length)
        throw fail('pattern leaves a part of this text out')
      return pieces.flatMap((piece) => {
        const bytes = keyOf(utf8.encode(piece))
        const whole = byKey.get(bytes)
        return whole === undefined ? merge(bytes, byKey) : [whole]
      })
    })
}
