/** The tokens of one tokenizer as tokens of another: those that stand for the same bytes. */
import type { Tokenizer } from './tokenizer.js'

export interface TokenMap {
  /** [V of the first] the token of the second, or -1 where it has none; so for special tokens. */
  readonly to: Int32Array
  /** Tokens of the first, special ones left out, that the second has no token for. */
  readonly missing: readonly number[]
}

/** Each byte as one character, so that tokens which are parts of characters can be told apart. */
const keyOf = (tokenizer: Tokenizer, id: number): string =>
  String.fromCharCode(...tokenizer.decodeBytes([id]))

/** Tokens that stand for text. Ids that a vocabulary skips have no bytes. */
export function* ordinaryTokens(tokenizer: Tokenizer): Generator<{ id: number; key: string }> {
  const special = new Set(tokenizer.special.values())
  for (let id = 0; id < tokenizer.vocabSize; id++) {
    if (special.has(id)) continue
    const key = keyOf(tokenizer, id)
    if (key !== '') yield { id, key }
  }
}

/** `vocab`: rows of the first model's read-out, which may be more than its tokenizer has tokens. */
export function mapTokens(from: Tokenizer, to: Tokenizer, vocab: number): TokenMap {
  const ids = new Map<string, number>()
  for (const { id, key } of ordinaryTokens(to)) if (!ids.has(key)) ids.set(key, id)
  const map = new Int32Array(vocab).fill(-1)
  const missing: number[] = []
  for (const { id, key } of ordinaryTokens(from)) {
    const found = ids.get(key)
    if (found === undefined) missing.push(id)
    else map[id] = found
  }
  return { to: map, missing }
}
