/**
 * Damaged and hostile inputs give errors of the error table and nothing else. This is a short run; the
 * long one is BASIN_FUZZ=100000 npx vitest run test/imports/fuzz.test.ts
 */
import { existsSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { BasinError } from '../../src/errors.js'
import { readHuggingFace } from '../../src/tokenizer/huggingface.js'
import { importAll, settings } from './corpus.js'
import { checkpointInput, pick, randomFrom, tokenizerInput } from './mutations.js'

const inputs = Number(process.env['BASIN_FUZZ'] ?? 3000)
const seed = Number(process.env['BASIN_FUZZ_SEED'] ?? 1)
/** A run of 100,000 takes minutes. */
const timeout = 60_000 + inputs * 60

/** How much memory a run may add to the process: twice the 500,000 objects of a pickle. */
const MOST_MEMORY = 512 * 1024 * 1024

const directory = mkdtempSync(join(tmpdir(), 'basin-fuzz-'))

interface Tally {
  accepted: number
  refused: number
  /** Reasons without their numbers and quotations. */
  reasons: Map<string, number>
  mostMemory: number
}

function run(
  count: number,
  code: string,
  make: (random: () => number) => Buffer,
  read: (path: string) => unknown,
): Tally {
  const path = join(directory, code)
  const tally: Tally = { accepted: 0, refused: 0, reasons: new Map(), mostMemory: 0 }
  const before = process.memoryUsage().rss
  for (let index = 0; index < count; index++) {
    const bytes = make(randomFrom(seed * 1_000_003 + index))
    writeFileSync(path, bytes)
    try {
      read(path)
      tally.accepted++
    } catch (error) {
      if (!(error instanceof BasinError) || error.code !== code)
        throw new Error(`input ${index} of seed ${seed}`, { cause: error })
      tally.refused++
      const reason = error.message.slice(path.length + 2).replace(/"[^"]*"|[\d.]+|\[.*?\]/g, '_')
      tally.reasons.set(reason, (tally.reasons.get(reason) ?? 0) + 1)
    }
    if (index % 64 === 0)
      tally.mostMemory = Math.max(tally.mostMemory, process.memoryUsage().rss - before)
  }
  if (inputs > 3000) console.log({ count, ...tally, reasons: tally.reasons.size })
  return tally
}

describe(`${inputs} damaged and hostile inputs`, () => {
  it(
    'checkpoints: a model or an error that says why, in bounded memory, with nothing run',
    () => {
      const { accepted, mostMemory, reasons, refused } = run(
        inputs,
        'invalid_checkpoint',
        checkpointInput,
        (path) => importAll(path, settings),
      )
      expect(accepted + refused).toBe(inputs)
      // Some inputs are still valid, and the others fail in many different places.
      expect(accepted).toBeGreaterThan(0)
      expect(reasons.size).toBeGreaterThan(20)
      expect(mostMemory).toBeLessThan(MOST_MEMORY)
      expect(existsSync('/tmp/basin-executed')).toBe(false)
    },
    timeout,
  )

  it(
    'tokenizers: a vocabulary or an error that says why',
    () => {
      const json = small()
      const texts = ['Once upon a time', 'é😀\u0000  ', '<|endoftext|>', 'e\u0301']
      const { accepted, mostMemory, reasons } = run(
        Math.ceil(inputs / 4),
        'invalid_tokenizer',
        (random) => tokenizerInput(json, random),
        (path) => readHuggingFace(path).encode(pick(randomFrom(1), texts)),
      )
      expect(accepted).toBeGreaterThan(0)
      expect(reasons.size).toBeGreaterThan(20)
      expect(mostMemory).toBeLessThan(MOST_MEMORY)
    },
    timeout,
  )
})

/** A byte-level BPE tokenizer with 256 bytes and a few merges. */
function small(): object {
  const characters = Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173)
    const before = byte < 127 ? Math.min(byte, 33) : byte < 161 ? byte - 94 : 67
    return String.fromCharCode(printable ? byte : 256 + before)
  })
  const merges = ['t h', 'Ġ t', 'i n', 'th e', 'Ġ a', 'o n']
  const tokens = [...characters, ...merges.map((merge) => merge.replace(' ', ''))]
  return {
    added_tokens: [
      {
        id: 300,
        content: '<|endoftext|>',
        special: true,
        normalized: false,
        single_word: false,
        lstrip: false,
        rstrip: false,
      },
      {
        id: 301,
        content: '  ',
        special: false,
        normalized: true,
        single_word: false,
        lstrip: false,
        rstrip: false,
      },
    ],
    normalizer: { type: 'NFC' },
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true },
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  }
}
