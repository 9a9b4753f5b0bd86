/** Tokenizers as Hugging Face's library writes them. */
import type { Ranks } from '../../src/tokenizer/ranks.js'

// GPT-2's mapping from bytes to characters, as published.
const printable = [...range(33, 127), ...range(161, 173), ...range(174, 256)]
const others = range(0, 256).filter((byte) => !printable.includes(byte))
const letters = new Map([
  ...printable.map((byte) => [byte, String.fromCharCode(byte)] as const),
  ...others.map((byte, i) => [byte, String.fromCharCode(256 + i)] as const),
])
const spelled = (bytes: Uint8Array) => Array.from(bytes, (byte) => letters.get(byte)).join('')
export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i)
}

/** The two tokens from which each token is merged: what earlier merges make of its bytes. */
function mergesOf(ranks: Ranks): [string, string][] {
  const rankOf = new Map(Array.from(ranks, ([rank, bytes]) => [spelled(bytes), rank]))
  return Array.from(ranks).flatMap(([rank, bytes]): [string, string][] => {
    const parts = Array.from(spelled(bytes))
    if (parts.length === 1) return []
    while (parts.length > 2) {
      let best = { at: -1, rank }
      parts.forEach((part, at) => {
        const found = rankOf.get(part + (parts[at + 1] ?? '?'.repeat(99))) ?? Infinity
        if (found < best.rank) best = { at, rank: found }
      })
      parts.splice(best.at, 2, (parts[best.at] as string) + (parts[best.at + 1] as string))
    }
    return [[parts[0] as string, parts[1] as string]]
  })
}

/** The tokenizer.json of a byte-level BPE. `changes`: of its fields. */
export function huggingFace(
  { ranks, special }: { ranks: Ranks; special: ReadonlyMap<string, number> },
  changes: object = {},
): object {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: Array.from(special, ([content, id]) => ({
      id,
      content,
      special: true,
      normalized: false,
      single_word: false,
      lstrip: false,
      rstrip: false,
    })),
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true },
    post_processor: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false },
    decoder: { type: 'ByteLevel' },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      vocab: Object.fromEntries(Array.from(ranks, ([rank, bytes]) => [spelled(bytes), rank])),
      merges: mergesOf(ranks),
    },
    ...changes,
  }
}
