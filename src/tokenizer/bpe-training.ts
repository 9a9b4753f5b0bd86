/**
 * Trains a byte-pair tokenizer: it repeatedly merges the most frequent pair of adjacent tokens. Pair
 * counts are updated only for the words that a merge changes. Deterministic: of equally frequent pairs
 * the one with the lowest ids is merged.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BasinError } from '../errors.js'
import { MAX_VOCABULARY, type TokenizerDescriptor } from './descriptor.js'
import { cutLongRuns, splitSpecial } from './pieces.js'
import { PairQueue, pairKey } from './pair-queue.js'
import { formatRanks, type Ranks } from './ranks.js'

/**
 * The pieces: contractions; a word with the space before it; a single digit; punctuation with the space
 * before it and the line ends after it; white space except its last space, which belongs to the next
 * word. \p{White_Space} is used because \s differs between JavaScript and the encoding library.
 */
export const DEFAULT_PATTERN =
  "'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])" +
  '| ?[\\p{L}\\p{M}]+' +
  '|\\p{N}' +
  '| ?[^\\p{White_Space}\\p{L}\\p{M}\\p{N}]+[\\r\\n]*' +
  '|\\p{White_Space}+(?!\\P{White_Space})' +
  '|\\p{White_Space}+'

export const END_OF_TEXT = '<|endoftext|>'

export interface BpeOptions {
  /** Most tokens, including special ones. At least 256 + the number of special tokens. */
  vocabSize: number
  /** Cuts text into words. It must match every character of every text. */
  pattern: string
  /** Names of special tokens. They are cut out of the texts, and their ids follow the ranks. */
  special: readonly string[]
  /** Called after each merge with the number of ranks. */
  onMerge?: (ranks: number) => void
}

export interface RankedVocabulary {
  ranks: Ranks
  pattern: string
  special: ReadonlyMap<string, number>
}

/** How often each word occurs. */
function countWords(
  texts: Iterable<string>,
  pattern: string,
  special: readonly string[],
): Map<string, number> {
  const word = new RegExp(pattern, 'gu')
  const reserved = new Map(special.map((name, place) => [name, place]))
  const counts = new Map<string, number>()
  for (const text of texts) {
    for (const piece of splitSpecial(text, reserved)) {
      if (typeof piece === 'number') continue
      for (const part of cutLongRuns(piece)) {
        for (const [found] of part.matchAll(word)) counts.set(found, (counts.get(found) ?? 0) + 1)
      }
    }
  }
  return counts
}

/** Replaces every [left, right] in `symbols`, from left to right, by `merged`. */
function replacePair(symbols: number[], left: number, right: number, merged: number): number[] {
  const out: number[] = []
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] === left && symbols[i + 1] === right) {
      out.push(merged)
      i++
    } else out.push(symbols[i] as number)
  }
  return out
}

/** The corpus: its distinct words, how often each occurs, and the pairs in them. */
class Words {
  readonly pairs = new PairQueue()
  readonly #symbols: number[][] = []
  readonly #counts: number[] = []
  /** For each pair the words that contain it or once did. */
  readonly #holders = new Map<number, Set<number>>()

  constructor(counts: ReadonlyMap<string, number>) {
    for (const [text, count] of counts) {
      const word = this.#symbols.push([...Buffer.from(text, 'utf8')]) - 1
      this.#counts.push(count)
      this.#tally(word, 1)
    }
    this.pairs.flushRisen()
  }

  /** Adds the pairs of a word to the counts (sign 1) or subtracts them (sign -1). */
  #tally(word: number, sign: 1 | -1): void {
    const symbols = this.#symbols[word] as number[]
    const change = sign * (this.#counts[word] as number)
    for (let i = 1; i < symbols.length; i++) {
      const key = pairKey(symbols[i - 1] as number, symbols[i] as number)
      this.pairs.add(key, change)
      if (sign < 0) continue
      const holders = this.#holders.get(key)
      if (holders) holders.add(word)
      else this.#holders.set(key, new Set([word]))
    }
  }

  merge(left: number, right: number, merged: number): void {
    const key = pairKey(left, right)
    for (const word of this.#holders.get(key) ?? []) {
      this.#tally(word, -1)
      this.#symbols[word] = replacePair(this.#symbols[word] as number[], left, right, merged)
      this.#tally(word, 1)
    }
    this.#holders.delete(key)
    this.pairs.flushRisen()
  }
}

/**
 * Learns at most `vocabSize` tokens: all 256 bytes, then merges, then the special tokens. It ends early
 * when no pair occurs twice. Throws `out_of_range` where `vocabSize` is too small for bytes and special
 * tokens.
 */
export function trainBpe(texts: Iterable<string>, options: BpeOptions): RankedVocabulary {
  const { vocabSize, pattern, special, onMerge } = options
  const least = 256 + special.length
  if (!Number.isInteger(vocabSize) || vocabSize < least || vocabSize > MAX_VOCABULARY) {
    throw new BasinError('out_of_range', {
      param: 'vocab-size',
      bound: `an integer from ${least} to ${MAX_VOCABULARY}`,
      value: vocabSize,
    })
  }
  const words = new Words(countWords(texts, pattern, special))
  const ranks = new Map<number, Uint8Array>()
  for (let byte = 0; byte < 256; byte++) ranks.set(byte, Uint8Array.of(byte))
  while (ranks.size < vocabSize - special.length) {
    const best = words.pairs.takeMostFrequent()
    if (best === undefined || best.count < 2) break
    const { left, right } = best
    const merged = ranks.size
    ranks.set(
      merged,
      Uint8Array.of(...(ranks.get(left) as Uint8Array), ...(ranks.get(right) as Uint8Array)),
    )
    words.merge(left, right, merged)
    onMerge?.(ranks.size)
  }
  const ids = new Map(special.map((name, place) => [name, ranks.size + place]))
  return { ranks, pattern, special: ids }
}

/** Writes `tokenizer.json` and its ranks file. `bos` must be one of the special tokens. */
export function writeTokenizer(
  directory: string,
  vocabulary: RankedVocabulary,
  bos?: string,
): void {
  const descriptor: TokenizerDescriptor = {
    format: 'basin-tokenizer/1',
    kind: 'tiktoken',
    ranks: 'tokenizer.tiktoken',
    pattern: vocabulary.pattern,
    special: Object.fromEntries(vocabulary.special),
    ...(bos === undefined ? {} : { bos }),
  }
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, descriptor.ranks), formatRanks(vocabulary.ranks))
  writeFileSync(join(directory, 'tokenizer.json'), `${JSON.stringify(descriptor, null, 2)}\n`)
}
