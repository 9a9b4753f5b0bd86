import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseConfig } from '../../src/model/config.js'
import { openData } from '../../src/train/data/training-data.js'
import type { Batch } from '../../src/train/data/training-batch.js'
import { TextSource } from '../../src/train/data/windows.js'
import { JsonlSource, type JsonlOptions } from '../../src/train/data/jsonl.js'
import { openTokenizedText } from '../../src/train/data/tokenized-text.js'
import { readPieces } from '../../src/train/data/text-files.js'
import { openTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js'
import {
  DEFAULT_PATTERN,
  END_OF_TEXT,
  trainBpe,
  writeTokenizer,
} from '../../src/tokenizer/bpe-training.js'

const directory = mkdtempSync(join(tmpdir(), 'basin-data-'))

function file(name: string, content: string | Uint8Array): string {
  const path = join(directory, name)
  writeFileSync(path, content)
  return path
}

/** A tokenizer whose tokens 0 to 255 are bytes; token 256 is the start token. */
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

const allOf = (tokens: ReturnType<typeof openTokenizedText>) => [...tokens.read(0, tokens.length)]

describe.each([
  ['in memory', undefined],
  ['in a cache', { directory: join(directory, 'cache'), tokenizer: directory }],
])('TextSource, tokens %s', (_, cache) => {
  const text = `one é\n${END_OF_TEXT}\ntwo\n\nlines\n${END_OF_TEXT}\n`
  const tokensOf = (...paths: string[]) => openTokenizedText(paths, tokenizer, cache)

  it('puts documents one after another, each after the start token', () => {
    const tokens = tokensOf(file('a.txt', text), file('b.txt', 'three'))
    const documents = ['one é', 'two\n\nlines', 'three']
    expect(allOf(tokens)).toEqual(documents.flatMap((document) => [bos, ...codes(document)]))
    expect(tokens.documents).toBe(3)
    expect(tokens.bytes).toBe(6 + 10 + 5)
  })

  it('draws windows of the text, the same for the same seed and update', () => {
    const long = tokensOf(file('long.txt', Array.from({ length: 500 }, (_, i) => `${i} `).join('')))
    const source = new TextSource(long, 5)
    const whole = allOf(long).join()
    const starts = new Set<string>()
    for (let update = 0; update < 50; update++) {
      const batch = source.batch(update, 4, 16)
      expect(batch).toEqual(new TextSource(long, 5).batch(update, 4, 16))
      for (let row = 0; row < 4; row++) {
        const window = batch.subarray(row * 17, (row + 1) * 17).join()
        expect(whole).toContain(window)
        starts.add(window)
      }
    }
    expect(starts.size).toBeGreaterThan(180)
    expect(new TextSource(long, 6).batch(0, 4, 16)).not.toEqual(source.batch(0, 4, 16))
  })

  it('can draw the first and the last window', () => {
    const source = new TextSource(tokensOf(file('short.txt', 'abc')), 1)
    const firsts = new Set(
      Array.from({ length: 40 }, (_, update) => source.batch(update, 1, 2).join()),
    )
    expect(firsts).toEqual(new Set(['256,97,98', '97,98,99']))
  })

  it('refuses a text that is shorter than a window', () => {
    const source = new TextSource(tokensOf(file('short.txt', 'abc')), 1)
    expect(() => source.batch(0, 1, 4)).toThrow(/short\.txt: holds 4 tokens, a window takes 5/)
  })

  it('predicts each token of the text once and counts its bytes', () => {
    const tokens = tokensOf(file('a.txt', text))
    const windows = [...new TextSource(tokens, 1).windows(6)]
    expect(windows).toHaveLength(2)
    const predicted = windows.flatMap((window) => [...window.tokens.subarray(1)])
    expect(predicted).toEqual(allOf(tokens).slice(1, 13))
    expect(windows.map(({ bytes }) => bytes)).toEqual([6, 5])
    expect(windows[1]?.tokens[0]).toBe(windows[0]?.tokens[6])
  })

  it('refuses a file that is not UTF-8 or does not exist', () => {
    const path = file('bytes.txt', Uint8Array.of(65, 0xff, 66))
    expect(() => tokensOf(path)).toThrow(/bytes\.txt/)
    expect(() => tokensOf(join(directory, 'none.txt'))).toThrow(/ENOENT/)
  })
})

describe('the cache of tokens', () => {
  const cache = { directory: join(directory, 'kept'), tokenizer: directory }
  const open = (path: string) => allOf(openTokenizedText([path], tokenizer, cache))

  it('is used while the text is the same, and made again when it changes', () => {
    const path = file('changing.txt', 'abc')
    expect(open(path)).toEqual([bos, 97, 98, 99])
    const [stored] = readdirSync(cache.directory).filter((name) => name.endsWith('.tokens'))
    writeFileSync(join(cache.directory, stored ?? ''), Uint16Array.of(bos, 120, 121, 122))
    expect(open(path)).toEqual([bos, 120, 121, 122])
    file('changing.txt', 'abcd')
    expect(open(path)).toEqual([bos, 97, 98, 99, 100])
  })

  it('is made again if making it was interrupted', () => {
    const path = file('broken.txt', 'xyz')
    expect(open(path)).toEqual([bos, 120, 121, 122])
    for (const name of readdirSync(cache.directory).filter((name) => name.endsWith('.json')))
      rmSync(join(cache.directory, name))
    expect(open(path)).toEqual([bos, 120, 121, 122])
  })
})

describe('readPieces', () => {
  const pieces = (content: string, separator?: string, longest?: number) => [
    ...readPieces(file('pieces.txt', content), separator, longest),
  ]

  it('cuts long documents before line ends, and loses no text', () => {
    const lines = Array.from({ length: 300 }, (_, i) => `line ${i} é 😀`).join('\n')
    const cut = pieces(lines, END_OF_TEXT, 100)
    expect(cut.length).toBeGreaterThan(10)
    expect(cut.map(({ text }) => text).join('')).toBe(lines)
    expect(cut.map(({ begins }) => begins)).toEqual(cut.map((_, i) => i === 0))
    expect(cut.slice(1).every(({ text }) => text.startsWith('\n'))).toBe(true)
  })

  it('cuts a text without line ends, and no character in two', () => {
    const text = 'a' + '😀'.repeat(300)
    expect(
      pieces(text, undefined, 100)
        .map((piece) => piece.text)
        .join(''),
    ).toBe(text)
    expect(
      pieces(text, undefined, 100).every(
        (piece) => Buffer.from(piece.text).toString() === piece.text,
      ),
    ).toBe(true)
  })

  it('finds a separator that begins in one chunk of the file and ends in the next', () => {
    const half = 'x'.repeat((1 << 22) - 5)
    const found = pieces(`${half}${END_OF_TEXT}after`, END_OF_TEXT, 1 << 23)
    expect(found.map(({ text }) => text.length)).toEqual([half.length, 5])
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

  it('clamps the positions that a template gives', () => {
    const source = open([{ template: '1_3_', completion: '1234' }])
    expect([...source.examples()]).toEqual([
      { context: [bos], answer: codes('1234'), clamped: [49, -1, 51, -1] },
    ])
  })

  it('divides an answer into blocks, each after all that precedes it, and adds the end', () => {
    const source = open([{ prompt: 'ab', completion: 'uvwxyz' }])
    const free = [-1, -1, -1, -1]
    expect([...source.examples()]).toEqual([
      { context: [bos, 97, 98], answer: codes('uvwx'), clamped: free },
      { context: [bos, ...codes('abuvwx')], answer: [...codes('yz'), bos, bos], clamped: free },
    ])
  })

  it('leaves out blocks in which all positions are given', () => {
    const source = open([{ template: '1234567_', completion: '12345678' }])
    expect([...source.examples()].map(({ answer }) => answer)).toEqual([codes('5678')])
  })

  it('reports bad lines with their numbers and keeps the good ones', () => {
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

  it('fails at the first bad line if strict, and if no line is good', () => {
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

  it('permutes interchangeable tokens, consistently within an example', () => {
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

describe('text of which a share is given', () => {
  const path = file('given.txt', Array.from({ length: 900 }, (_, i) => `${i} `).join(''))
  const open = (min: number, max: number, block = 8) =>
    openData({
      data: [path],
      valid: [path],
      rows: 4,
      window: 32,
      validRows: 8,
      seed: 3,
      relabel: [],
      given: { min, max },
      config: config(block),
      tokenizer,
    })
  /** The positions of each block that are inferred. */
  const inferred = ({ moving }: { moving: Float32Array }, block: number): number[][] =>
    Array.from({ length: moving.length / block }, (_, i) =>
      [...moving.subarray(i * block, (i + 1) * block).entries()].flatMap(([place, moves]) =>
        moves ? [place] : [],
      ),
    )

  it('has blocks of every share in the range, in runs and scattered', () => {
    const data = open(0.25, 0.75)
    const blocks = Array.from({ length: 40 }, (_, update) => inferred(data.batch(update), 8)).flat()
    const sizes = new Set(blocks.map(({ length }) => length))
    expect(sizes).toEqual(new Set([2, 3, 4, 5, 6]))
    const isRun = (places: number[]) => places.every((p, i) => p === (places[0] ?? 0) + i)
    const runs = blocks.filter(isRun).length / blocks.length
    expect(runs).toBeGreaterThan(0.45)
    expect(runs).toBeLessThan(0.7)
    for (let place = 0; place < 8; place++)
      expect(blocks.filter((places) => places.includes(place)).length).toBeGreaterThan(100)
  })

  it('infers one position at least, and all where nothing is given', () => {
    for (const places of inferred(open(1, 1).batch(0), 8)) expect(places).toHaveLength(1)
    for (const places of inferred(open(0, 0).batch(0), 8)) expect(places).toHaveLength(8)
    for (const places of inferred(open(0, 0, 1).batch(0), 1)) expect(places).toHaveLength(1)
  })

  it('is the same for the same seed and update, and has the tokens of the text', () => {
    const [one, other] = [open(0, 1), open(0, 1)]
    expect(one.batch(5)).toEqual(other.batch(5))
    expect(one.batch(5).moving).not.toEqual(one.batch(6).moving)
    expect(one.validation).toEqual(other.validation)
    expect(one.batch(5)).toMatchObject({ clamped: true, answers: 4 })
    expect(one.batch(5).targets).toHaveLength(4 * 32)
  })

  it('gives answers besides the templates to half of the examples in training', () => {
    const line = '{"template": "ab__ef__", "completion": "abcdefgh"}\n'
    const lines = file('given.jsonl', line.repeat(9))
    const { batch, validation } = openData({
      data: [lines],
      valid: [lines],
      rows: 4,
      window: 1,
      validRows: 4,
      seed: 3,
      relabel: [],
      given: { min: 0.5, max: 0.5 },
      config: config(8),
      tokenizer,
    })
    const template = [2, 3, 6, 7]
    const drawn = Array.from({ length: 60 }, (_, update) => inferred(batch(update), 8))
    for (const [first, second = [], third] of drawn) {
      expect([first, third]).toEqual([template, template])
      expect(template).toEqual(expect.arrayContaining(second))
    }
    expect(drawn.map((rows) => rows[1]?.length)).toEqual(expect.arrayContaining([1, 2, 3]))
    for (const places of inferred(validation[0] as Batch, 8)) expect(places).toEqual(template)
  })
})
