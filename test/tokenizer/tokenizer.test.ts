import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { BasinError } from '../../src/errors.js'
import { IncrementalDecoder } from '../../src/tokenizer/incremental-decoder.js'
import {
  canonicalTemplate,
  encodeTemplate,
  encodeTemplateOf,
} from '../../src/tokenizer/answer-template.js'
import { openTokenizer } from '../../src/tokenizer/tokenizer.js'
import { DEFAULT_PATTERN, END_OF_TEXT } from '../../src/tokenizer/bpe-training.js'
import { openSmall, samples, story, temporaryDirectory } from './samples.js'

const allBytes = Array.from({ length: 256 }, (_, byte) => Buffer.of(byte).toString('base64'))
const rankLines = allBytes.map((token, rank) => `${token} ${rank}`)

const tiktoken = {
  format: 'basin-tokenizer/1',
  kind: 'tiktoken',
  ranks: 'tokenizer.tiktoken',
  pattern: DEFAULT_PATTERN,
  special: { [END_OF_TEXT]: 256 },
  bos: END_OF_TEXT,
}
const digits = {
  format: 'basin-tokenizer/1',
  kind: 'characters',
  alphabet: ['1', '2', '3', '😀'],
  special: { [END_OF_TEXT]: 4 },
  bos: END_OF_TEXT,
}

function open(descriptor: unknown, ranks: readonly string[] = rankLines) {
  const directory = temporaryDirectory()
  const json = typeof descriptor === 'string' ? descriptor : JSON.stringify(descriptor)
  writeFileSync(join(directory, 'tokenizer.json'), json)
  writeFileSync(join(directory, 'tokenizer.tiktoken'), ranks.join('\n'))
  return openTokenizer(directory)
}

describe('a trained tokenizer', () => {
  const tokenizer = openSmall()

  it('reads blanks of free text with the space before them, and how many tokens they stand for', () => {
    const blanks = (count: number) => new Array<number>(count).fill(-1)
    const read = (text: string) => encodeTemplateOf({}, tokenizer, text)
    const [there, girl] = [tokenizer.encode('there was a'), tokenizer.encode(' girl.')]
    expect(tokenizer.encode(' a')).toHaveLength(1)
    expect(read('there was a _ girl.')).toEqual([...there, -1, ...girl])
    expect(read('there was a_{3} girl.')).toEqual([...there, ...blanks(3), ...girl])
    expect(read('__ _{12}')).toEqual(blanks(14))
    expect(read('_{0}')).toEqual([-1, ...tokenizer.encode('{0}')])
    const form = { template: { blank: ' _' } }
    expect(encodeTemplateOf(form, tokenizer, '_ _')).toEqual([...tokenizer.encode('_'), -1])
  })

  it.each(samples.map((text, i) => [i, text] as const))('round-trips sample %i', (_, text) => {
    const tokens = tokenizer.encode(text)
    expect(tokenizer.decode(tokens)).toBe(text)
    expect(Buffer.from(tokenizer.decodeBytes(tokens))).toEqual(Buffer.from(text))
    expect(tokens.every((token) => token < 598)).toBe(true)
  })

  it('reads a lone surrogate as U+FFFD', () => {
    const text = 'a\ud83d b\ude00\ud83d'
    expect(tokenizer.decode(tokenizer.encode(text))).toBe('a\ufffd b\ufffd\ufffd')
  })

  it('recognizes special tokens in the text only when asked to', () => {
    const text = `one${END_OF_TEXT}${END_OF_TEXT}two<|pad|>`
    const tokens = tokenizer.encode(text, { special: 'all' })
    expect(tokens.filter((token) => token >= 598)).toEqual([598, 598, 599])
    expect(tokenizer.decode(tokens)).toBe(text)
    expect(tokenizer.encode(text).some((token) => token >= 598)).toBe(false)
  })

  it('has its size, its special tokens and its begin-of-text token', () => {
    expect(tokenizer.vocabSize).toBe(600)
    expect(tokenizer.special.get('<|pad|>')).toBe(599)
    expect(tokenizer.bos).toBe(598)
  })

  it('shows part of a character as U+FFFD', () => {
    expect(tokenizer.tokenText(0xf0)).toBe('\ufffd')
    expect(tokenizer.tokenText(65)).toBe('A')
    expect(tokenizer.tokenText(598)).toBe(END_OF_TEXT)
  })

  it.each([-1, 600, 0.5, NaN, 1e308])('refuses to decode token %s', (token) => {
    expect(() => tokenizer.decode([65, token])).toThrow(/token must be an integer from 0 to 599/)
  })

  it('decodes incrementally to the same text, wherever the tokens are split', () => {
    for (const text of samples) {
      const tokens = tokenizer.encode(text.slice(0, 400))
      for (let split = 0; split <= tokens.length; split++) {
        const decoder = new IncrementalDecoder(tokenizer)
        const parts = [
          decoder.feed(tokens.slice(0, split)),
          decoder.feed(tokens.slice(split)),
          decoder.flush(),
        ]
        expect(parts.join('')).toBe(tokenizer.decode(tokens))
      }
    }
  })

  it('never emits part of a character, even of bytes that are not UTF-8', () => {
    const emoji = [...Buffer.from('é😀')]
    const decoder = new IncrementalDecoder(tokenizer)
    expect(emoji.map((byte) => decoder.feed([byte]))).toEqual(['', 'é', '', '', '', '😀'])
    expect(decoder.flush()).toBe('')
    const broken = [0xf0, 0x9f, 0x41, 0x80, 0xe2, 0x82]
    const text = broken.map((byte) => decoder.feed([byte])).join('') + decoder.flush()
    expect(text).toBe(tokenizer.decode(broken))
    expect(text).toBe('\ufffdA\ufffd\ufffd')
  })

  it('takes linear time on runs that the pattern does not cut', () => {
    const text = 'ab'.repeat(300_000) + ' '.repeat(1_000_000) + 'x'
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text)
  })
})

describe('a tokenizer of characters', () => {
  const tokenizer = open(digits)

  it('has one token per character', () => {
    expect(tokenizer.encode('31😀2')).toEqual([2, 0, 3, 1])
    expect(tokenizer.decode([2, 0, 3, 1])).toBe('31😀2')
    expect(tokenizer.encode(`1${END_OF_TEXT}`, { special: 'all' })).toEqual([0, 4])
    expect(tokenizer.vocabSize).toBe(5)
  })

  it.each([
    ['4', '"4"'],
    ['1 2', '" "'],
    ['1😁', '"😁"'],
    ['\ud83d', '"\\\\ud83d"'],
  ])('refuses %s, naming the character', (text, name) => {
    expect(() => tokenizer.encode(text, { param: 'prompt' })).toThrow(
      new RegExp(`^prompt: ${name} is not in the model's alphabet`),
    )
  })

  it('encodes templates as known tokens and blanks', () => {
    expect(encodeTemplate(tokenizer, '_1__3', '_')).toEqual([-1, 0, -1, -1, 2])
    expect(encodeTemplate(tokenizer, '12', '_')).toEqual([0, 1])
    expect(encodeTemplate(tokenizer, '1[?]2[?]', '[?]')).toEqual([0, -1, 1, -1])
    expect(() => encodeTemplate(tokenizer, '1x_', '_')).toThrow(/^template: "x" is not/)
  })

  it.each([
    ['1_3\n_2_\r\n', '1_3_2_'],
    ['1.3 .2.', '1_3_2_'],
    ['103\t020', '1_3_2_'],
    ['1x3_', '1x3_'],
  ])('reads the puzzle %j as %s', (written, canonical) => {
    expect(canonicalTemplate(tokenizer, written, '_')).toBe(canonical)
  })

  it('keeps what the model has tokens for in puzzles', () => {
    const sums = open({
      ...digits,
      alphabet: ['0', '1', '.', '+', ' '],
      special: { [END_OF_TEXT]: 5 },
    })
    expect(canonicalTemplate(sums, '10. +_\n', '_')).toBe('10. +_')
  })
})

describe('openTokenizer on bad files', () => {
  const line = (index: number, text: string) => rankLines.with(index, text)
  const bad: [string, unknown, (readonly string[])?][] = [
    ['JSON', '{"format":'],
    ['must', { ...tiktoken, format: 'basin-tokenizer/2' }],
    ['must', { ...tiktoken, kind: 'pickle' }],
    ['must', { ...tiktoken, ranks: '../../etc/passwd' }],
    ['must', { ...tiktoken, special: { [END_OF_TEXT]: 1e308 } }],
    ['must', { ...tiktoken, special: { [END_OF_TEXT]: -1 } }],
    ['bos is not a special token', { ...tiktoken, bos: 'toString' }],
    ['special gives one id to two tokens', { ...tiktoken, special: { a: 300, b: 300 }, bos: 'a' }],
    ['line 257: rank 256 is the id of a special token', tiktoken, [...rankLines, 'YWI= 256']],
    ['no token for byte 7', tiktoken, rankLines.toSpliced(7, 1)],
    ['line 4 is not `base64 rank`', tiktoken, line(3, 'Aw==')],
    ['line 4 is not `base64 rank`', tiktoken, line(3, 'Aw== -3')],
    ['line 4 is not `base64 rank`', tiktoken, line(3, 'Aw== 99999999999')],
    ['line 4 is not canonical base64', tiktoken, line(3, 'A 3')],
    ['line 4: rank must be below 1000000', tiktoken, line(3, 'Aw== 1000000')],
    ['line 4: rank 2 occurs twice', tiktoken, line(3, 'Aw== 2')],
    ['line 257: token Aw== occurs twice', tiktoken, [...rankLines, 'Aw== 300']],
    ['exceeds 1024 bytes', tiktoken, [...rankLines, `${'AAAA'.repeat(400)} 300`]],
    ['pattern is not a regular expression', { ...tiktoken, pattern: '(' }],
    ['alphabet holds a character twice', { ...digits, alphabet: ['1', '1'] }],
    ['alphabet: "12" is not one character', { ...digits, alphabet: ['1', '12'] }],
    ['is not one character', { ...digits, alphabet: ['1', '\ud83d'] }],
    ['special takes an id of the alphabet', { ...digits, special: { [END_OF_TEXT]: 3 } }],
  ]

  it.each(bad)('refuses with: %s (%#)', (reason, descriptor, ranks) => {
    let thrown: unknown
    try {
      open(descriptor, ranks)
    } catch (error) {
      thrown = error
    }
    expect(thrown).toBeInstanceOf(BasinError)
    expect((thrown as BasinError).code).toBe('invalid_tokenizer')
    expect((thrown as BasinError).message).toContain(reason)
  })

  it('names a missing file', () => {
    expect(() => openTokenizer(join(temporaryDirectory(), 'none'))).toThrow(/none.*ENOENT/)
  })

  it('fails when the pattern leaves text out', () => {
    const tokenizer = open({ ...tiktoken, pattern: '[a-z]+' })
    expect(tokenizer.decode(tokenizer.encode('abc'))).toBe('abc')
    expect(() => tokenizer.encode(story)).toThrow(/pattern leaves a part of this text out/)
  })
})
