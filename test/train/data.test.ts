import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseConfig } from '../../src/model/config.js'
import { JsonlSource, TextSource, type JsonlOptions } from '../../src/train/data.js'
import { openTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js'
import {
  DEFAULT_PATTERN,
  END_OF_TEXT,
  trainBpe,
  writeTokenizer,
} from '../../src/tokenizer/train.js'

const directory = mkdtempSync(join(tmpdir(), 'basin-data-'))

function file(name: string, content: string | Uint8Array): string {
  const path = join(directory, name)
  writeFileSync(path, content)
  return path
}

/** Bytes as tokens 0..255, the start token 256. */
function byteTokenizer(): Tokenizer {
  const options = { vocabSize: 257, pattern: DEFAULT_PATTERN, special: [END_OF_TEXT] }
  writeTokenizer(directory, trainBpe([], options), END_OF_TEXT)
  return openTokenizer(directory)
}

const tokenizer = byteTokenizer()
const bos = 256

const config = (block: number, contextLength = 64) =>
  parseConfig(
    {
      format: 'basin-ebt/1',
      name: 'test',
      description: '',
      created: 0,
      vocab_size: 257,
      dim: 8,
      layers: 1,
      heads: 2,
      ffn_dim: 8,
      context_length: contextLength,
      norm_eps: 1e-5,
      rope_theta: 10000,
      conditioning: 'none',
      landscapes: 1,
      steps: 1,
      answer: {
        space: 'latent',
        block,
        start: 'zeros',
        start_scale: 0,
        normalize: 'never',
        embed: 'embeddings',
      },
      energy: { kind: 'residual', direction: 'amortized', doubt: 0 },
    },
    'config.json',
  )

const codes = (text: string) => [...Buffer.from(text)]

describe('TextSource', () => {
  const text = `one é\n${END_OF_TEXT}\ntwo\n\nlines\n${END_OF_TEXT}\n`

  it('lays documents end to end, each behind the start token', () => {
    const source = new TextSource([file('a.txt', text), file('b.txt', 'three')], tokenizer, 1)
    const documents = ['one é', 'two\n\nlines', 'three']
    expect([...source.tokens]).toEqual(documents.flatMap((document) => [bos, ...codes(document)]))
    expect(source.documents).toBe(3)
    expect(source.bytes).toBe(6 + 10 + 5)
    expect(source.tokens).toBeInstanceOf(Uint16Array)
  })

  it('draws windows that stand in the text, the same for the same seed and update', () => {
    const long = file('long.txt', Array.from({ length: 500 }, (_, i) => `${i} `).join(''))
    const source = new TextSource([long], tokenizer, 5)
    const whole = [...source.tokens].join()
    const starts = new Set<string>()
    for (let update = 0; update < 50; update++) {
      const batch = source.batch(update, 4, 16)
      expect(batch).toEqual(new TextSource([long], tokenizer, 5).batch(update, 4, 16))
      for (let row = 0; row < 4; row++) {
        const window = batch.subarray(row * 17, (row + 1) * 17).join()
        expect(whole).toContain(window)
        starts.add(window)
      }
    }
    expect(starts.size).toBeGreaterThan(180)
    expect(new TextSource([long], tokenizer, 6).batch(0, 4, 16)).not.toEqual(source.batch(0, 4, 16))
  })

  it('reaches the first and the last window', () => {
    const source = new TextSource([file('short.txt', 'abc')], tokenizer, 1)
    const firsts = new Set(
      Array.from({ length: 40 }, (_, update) => source.batch(update, 1, 2).join()),
    )
    expect(firsts).toEqual(new Set(['256,97,98', '97,98,99']))
  })

  it('says when the text is shorter than a window', () => {
    const source = new TextSource([file('short.txt', 'abc')], tokenizer, 1)
    expect(() => source.batch(0, 1, 4)).toThrow(/short\.txt: holds 4 tokens, a window takes 5/)
  })

  it('walks through the text once and counts the bytes it predicts', () => {
    const source = new TextSource([file('a.txt', text)], tokenizer, 1)
    const windows = [...source.windows(6)]
    expect(windows).toHaveLength(2)
    const predicted = windows.flatMap(({ tokens }) => [...tokens.subarray(1)])
    expect(predicted).toEqual([...source.tokens].slice(1, 13))
    expect(windows.map(({ bytes }) => bytes)).toEqual([6, 5])
    expect(windows[1]?.tokens[0]).toBe(windows[0]?.tokens[6])
  })

  it('refuses what is not UTF-8 text or is not there', () => {
    const path = file('bytes.txt', Uint8Array.of(65, 0xff, 66))
    expect(() => new TextSource([path], tokenizer, 1)).toThrow(/bytes\.txt/)
    expect(() => new TextSource([join(directory, 'none.txt')], tokenizer, 1)).toThrow(/ENOENT/)
  })
})

describe('JsonlSource', () => {
  const open = (lines: readonly unknown[], options: Partial<JsonlOptions> = {}) =>
    new JsonlSource(
      file(
        'data.jsonl',
        lines.map((l) => (typeof l === 'string' ? l : JSON.stringify(l))).join('\n'),
      ),
      { tokenizer, config: config(4), seed: 1, ...options },
    )

  it('clamps what a template gives', () => {
    const source = open([{ template: '1_3_', completion: '1234' }])
    expect([...source.examples()]).toEqual([
      { context: [bos], answer: codes('1234'), clamped: [49, -1, 51, -1] },
    ])
  })

  it('cuts an answer into blocks, each behind all that precedes it, and ends it', () => {
    const source = open([{ prompt: 'ab', completion: 'uvwxyz' }])
    const free = [-1, -1, -1, -1]
    expect([...source.examples()]).toEqual([
      { context: [bos, 97, 98], answer: codes('uvwx'), clamped: free },
      { context: [bos, ...codes('abuvwx')], answer: [...codes('yz'), bos, bos], clamped: free },
    ])
  })

  it('leaves out blocks in which nothing is to be inferred', () => {
    const source = open([{ template: '1234567_', completion: '12345678' }])
    expect([...source.examples()].map(({ answer }) => answer)).toEqual([codes('5678')])
  })

  it('reports bad lines with their numbers and goes on', () => {
    const source = open([
      { template: '1_3_', completion: '1234' },
      '{"completion":',
      '',
      { completion: 7 },
      { template: '1_3', completion: '1234' },
      { template: '1_4_', completion: '1234' },
      { prompt: 'x'.repeat(70), completion: '1234' },
      { completion: '' },
    ])
    expect(source.length).toBe(1)
    expect(source.bad.map(({ line }) => line)).toEqual([2, 4, 5, 6, 7, 8])
    const reasons = source.bad.map(({ reason }) => reason)
    expect(reasons[1]).toMatch(/^completion must be string/)
    expect(reasons.slice(2, 5)).toEqual([
      'template takes 3 positions, completion 4 tokens',
      'template and completion differ in position 2',
      'takes 79 positions, the model has 64',
    ])
  })

  it('fails at the first bad line if strict, and without any good one', () => {
    const lines = [{ template: '_', completion: '1' }, { completion: 7 }]
    expect(() => open(lines, { strict: true })).toThrow(/data\.jsonl: line 2: completion must be/)
    expect(() => open([{ completion: 7 }])).toThrow(/no good line; line 1: completion must be/)
    expect(() => open([])).toThrow(/data\.jsonl: no line/)
  })

  it('draws the same examples for the same seed and update', () => {
    const lines = Array.from({ length: 300 }, (_, i) => ({ completion: String(100 + i) }))
    const [one, other, third] = [open(lines), open(lines), open(lines, { seed: 2 })]
    expect(one.batch(7, 8)).toEqual(other.batch(7, 8))
    expect(one.batch(7, 8)).not.toEqual(one.batch(8, 8))
    expect(one.batch(7, 8)).not.toEqual(third.batch(7, 8))
    const drawn = new Set(one.batch(0, 3000).map(({ answer }) => answer.join()))
    expect(drawn.size).toBe(300)
  })

  it('renames tokens that are mere names, consistently within an example', () => {
    const names = codes('1234')
    const source = open([{ prompt: '12a', template: '1__4', completion: '1324' }], {
      relabel: names,
    })
    const seen = new Set<string>()
    for (const { context, answer, clamped } of source.batch(0, 500)) {
      const [a, c, b, d] = answer
      expect([...answer].sort()).toEqual(names)
      expect(context).toEqual([bos, a, b, 97])
      expect(clamped).toEqual([a, -1, -1, d])
      seen.add([a, b, c, d].join())
    }
    expect(seen.size).toBe(24)
  })
})
