/** The encodings that tiktoken's package contains: ranks, pattern and special tokens. */
import { createRequire } from 'node:module'
import type { EncodingName } from './descriptor.js'
import type { Ranks } from './ranks.js'

export interface Encoding {
  ranks: Ranks
  pattern: string
  special: ReadonlyMap<string, number>
}

interface PackagedEncoding {
  pat_str: string
  special_tokens: Record<string, number>
  /** Lines of the form `! first base64 base64 ...`: the tokens of ranks first, first + 1, ... */
  bpe_ranks: string
}

// Loaded at first use: the largest encoding has 2.3 MB.
const require = createRequire(import.meta.url)

export function openEncoding(name: EncodingName): Encoding {
  const packaged = require(`tiktoken/encoders/${name}.json`) as PackagedEncoding
  const ranks = new Map<number, Uint8Array>()
  for (const line of packaged.bpe_ranks.split('\n')) {
    const [, first, ...tokens] = line.split(' ')
    tokens.forEach((token, place) => {
      ranks.set(Number(first) + place, Buffer.from(token, 'base64'))
    })
  }
  const special = new Map(Object.entries(packaged.special_tokens))
  return { ranks, pattern: packaged.pat_str, special }
}
