import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { cutLongRuns } from '../../src/tokenizer/pieces.js'
import { openTokenizer } from '../../src/tokenizer/tokenizer.js'
import {
  DEFAULT_PATTERN,
  trainBpe,
  writeTokenizer,
  type RankedVocabulary,
} from '../../src/tokenizer/bpe-training.js'
import { samples, story, temporaryDirectory, trainSmall } from './samples.js'

const latin1 = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1')

/** Byte-pair encoding by its definition: merge the adjacent pair of lowest rank until no pair has a rank. */
function slowEncode(text: string, { ranks, pattern }: RankedVocabulary): number[] {
  const byBytes = new Map(Array.from(ranks, ([rank, bytes]) => [latin1(bytes), rank]))
  const pieces = cutLongRuns(text).flatMap((part) => part.match(new RegExp(pattern, 'gu')) ?? [])
  return pieces.flatMap((piece) => {
    const parts = Array.from(Buffer.from(piece), (byte) => latin1(Uint8Array.of(byte)))
    for (;;) {
      const turns = parts.slice(1).map((part, i) => byBytes.get(`${parts[i]}${part}`) ?? Infinity)
      const first = Math.min(...turns)
      if (first === Infinity) return parts.map((part) => byBytes.get(part) as number)
      const place = turns.indexOf(first)
      parts.splice(place, 2, `${parts[place]}${parts[place + 1]}`)
    }
  })
}

/** Byte-pair training by its definition: count all pairs, merge the most frequent, repeat. */
function slowTrain(text: string, size: number): string[] {
  const words = (text.match(new RegExp(DEFAULT_PATTERN, 'gu')) ?? []).map((w) => [
    ...Buffer.from(w),
  ])
  const tokens = Array.from({ length: 256 }, (_, byte) => latin1(Uint8Array.of(byte)))
  while (tokens.length < size) {
    const counts = new Map<number, number>()
    for (const word of words) {
      word.slice(1).forEach((right, i) => {
        const key = (word[i] as number) * 1e6 + right
        counts.set(key, (counts.get(key) ?? 0) + 1)
      })
    }
    const [best] = [...counts].sort(([k, n], [l, m]) => m - n || k - l)
    if (!best || best[1] < 2) break
    const [left, right] = [Math.floor(best[0] / 1e6), best[0] % 1e6]
    for (const word of words) {
      for (let i = 0; i + 1 < word.length; i++) {
        if (word[i] === left && word[i + 1] === right) word.splice(i, 2, tokens.length)
      }
    }
    tokens.push(`${tokens[left]}${tokens[right]}`)
  }
  return tokens
}

describe('trainBpe', () => {
  it('learns the same as a direct implementation of the definition', () => {
    const text = samples
      .filter((sample) => sample.length < 600 && !sample.includes('<|'))
      .join('\n')
    const doubled = text.repeat(2)
    const { ranks } = trainBpe([doubled], {
      vocabSize: 400,
      pattern: DEFAULT_PATTERN,
      special: [],
    })
    expect([...ranks.values()].map(latin1)).toEqual(slowTrain(doubled, 400))
  })

  it('holds all bytes, then merges, then special tokens', () => {
    const { ranks, special } = trainSmall()
    for (let byte = 0; byte < 256; byte++) expect(ranks.get(byte)).toEqual(Uint8Array.of(byte))
    expect(ranks.size).toBe(598)
    expect([...special]).toEqual([
      ['<|endoftext|>', 598],
      ['<|pad|>', 599],
    ])
    expect(new Set([...ranks.values()].map(latin1)).size).toBe(598)
  })

  it('does not learn across special tokens or from their names', () => {
    const { ranks } = trainBpe(['<|pad|>'.repeat(50) + 'ab'.repeat(3)], {
      vocabSize: 1000,
      pattern: DEFAULT_PATTERN,
      special: ['<|pad|>'],
    })
    expect([...ranks.values()].slice(256).map(latin1)).toEqual(['ab', 'abab'])
  })

  it('ends when no pair occurs twice', () => {
    const { ranks } = trainBpe(['abcdef'], { vocabSize: 1000, pattern: '.', special: [] })
    expect(ranks.size).toBe(256)
  })

  it.each([NaN, 0, -1, 256, 300.5, 1e308, 1_000_001])('refuses a vocabulary of %s', (vocabSize) => {
    const train = () => trainBpe([story], { vocabSize, pattern: DEFAULT_PATTERN, special: ['x'] })
    expect(train).toThrow(/vocab-size must be an integer from 257 to 1000000/)
  })

  it('writes the same files for the same texts', () => {
    const [one, other] = [temporaryDirectory(), temporaryDirectory()]
    writeTokenizer(one, trainSmall(), '<|endoftext|>')
    writeTokenizer(other, trainSmall(), '<|endoftext|>')
    for (const file of ['tokenizer.json', 'tokenizer.tiktoken']) {
      expect(readFileSync(join(one, file))).toEqual(readFileSync(join(other, file)))
    }
  })

  it('cuts and merges as the encoding library does', () => {
    const vocabulary = trainSmall()
    const directory = temporaryDirectory()
    writeTokenizer(directory, vocabulary)
    const tokenizer = openTokenizer(directory)
    for (const text of samples) {
      expect(tokenizer.encode(text)).toEqual(slowEncode(text, vocabulary))
    }
  })
})
