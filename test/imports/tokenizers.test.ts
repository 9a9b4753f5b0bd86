/** Foreign tokenizers: Hugging Face's tokenizer.json, and the encodings of tiktoken. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { get_encoding } from 'tiktoken'
import { describe, expect, it } from 'vitest'
import { BasinError } from '../../src/errors.js'
import { importTokenizer } from '../../src/tokenizer/import-tokenizer.js'
import { encodingNames } from '../../src/tokenizer/descriptor.js'
import { openEncoding } from '../../src/tokenizer/encodings.js'
import { openTokenizer } from '../../src/tokenizer/tokenizer.js'
import { writeTokenizer } from '../../src/tokenizer/bpe-training.js'
import { huggingFace, range } from '../support/huggingface.js'
import { samples, trainSmall } from '../tokenizer/samples.js'

const temporary = () => mkdtempSync(join(tmpdir(), 'basin-adopt-'))

/** Runs of more than 512 characters are cut before they are encoded; the oracles do not cut them. */
const texts = samples.filter((text) => !/\S{513}|\s{513}/u.test(text))

function adopted(source: string, bos?: string) {
  const directory = temporary()
  importTokenizer(source, directory, bos)
  return openTokenizer(directory)
}

function written(json: unknown): string {
  const path = join(temporary(), 'tokenizer.json')
  writeFileSync(path, typeof json === 'string' ? json : JSON.stringify(json))
  return path
}

describe.each(encodingNames)('encoding %s', (name) => {
  const tokenizer = adopted(name)
  const oracle = get_encoding(name)

  it('encodes as tiktoken does, and decodes to the text', () => {
    for (const text of texts) {
      const tokens = tokenizer.encode(text)
      expect(tokens).toEqual([...oracle.encode_ordinary(text)])
      expect(tokenizer.decode(tokens)).toBe(text)
    }
    const special = `a<|endoftext|>b`
    expect(tokenizer.encode(special, { special: 'all' })).toEqual([
      ...oracle.encode(special, 'all'),
    ])
    expect(tokenizer.bos).toBeUndefined()
  })
})

describe('a Hugging Face tokenizer.json', () => {
  const gpt2 = openEncoding('gpt2')
  const path = written(huggingFace(gpt2))

  it('of GPT-2 encodes as tiktoken does', () => {
    const tokenizer = adopted(path, '<|endoftext|>')
    const oracle = get_encoding('gpt2')
    for (const text of texts)
      expect(tokenizer.encode(text)).toEqual([...oracle.encode_ordinary(text)])
    expect(tokenizer.vocabSize).toBe(50257)
    expect(tokenizer.bos).toBe(50256)
    expect(tokenizer.special).toEqual(new Map([['<|endoftext|>', 50256]]))
  })

  it('distinguishes special tokens from text with their names', () => {
    const tokenizer = adopted(path)
    const text = 'one<|endoftext|>two'
    expect(tokenizer.encode(text)).not.toContain(50256)
    expect(tokenizer.encode(text, { special: 'all' })).toContain(50256)
    for (const special of ['all', 'none'] as const)
      expect(tokenizer.decode(tokenizer.encode(text, { special }))).toBe(text)
    expect(Buffer.from(tokenizer.decodeBytes(tokenizer.encode('é😀')))).toEqual(Buffer.from('é😀'))
    expect(tokenizer.decode(tokenizer.encode('a\ud83d'))).toBe('a\ufffd')
  })

  it('normalizes text and finds added tokens as GPT-NeoX does', () => {
    const run = (id: number, content: string) => ({
      id,
      content,
      special: false,
      normalized: true,
      single_word: false,
      lstrip: false,
      rstrip: false,
    })
    const { added_tokens: added } = huggingFace(gpt2) as { added_tokens: object[] }
    const tokenizer = adopted(
      written(
        huggingFace(gpt2, {
          normalizer: { type: 'NFC' },
          added_tokens: [...added, run(50257, '    '), run(50258, '  ')],
        }),
      ),
    )
    expect(tokenizer.vocabSize).toBe(50259)
    const tokens = tokenizer.encode('e\u0301      x')
    expect(tokenizer.decode(tokens)).toBe('\u00e9      x')
    expect(tokens.filter((token) => token > 50256)).toEqual([50257, 50258])
    expect(tokenizer.special.size).toBe(1)
  })

  it('stays fast when its cache is full and when runs are long', () => {
    const tokenizer = adopted(path)
    tokenizer.encode(
      range(0, 60_000)
        .map((i) => `w${i.toString(36)}`)
        .join(' '),
    )
    const words = 'ab '.repeat(100_000)
    expect(tokenizer.decode(tokenizer.encode(words))).toBe(words)
    const long = 'a'.repeat(200_000) + ' '.repeat(200_000)
    expect(tokenizer.decode(tokenizer.encode(long))).toBe(long)
  })

  it('is copied beside its descriptor, and can be imported from there', () => {
    const [first, second] = [temporary(), temporary()]
    importTokenizer(path, first, '<|endoftext|>')
    importTokenizer(first, second)
    expect(readdirSync(second).sort()).toEqual(['tokenizer.huggingface.json', 'tokenizer.json'])
    expect(readFileSync(join(second, 'tokenizer.json'))).toEqual(
      readFileSync(join(first, 'tokenizer.json')),
    )
    expect(openTokenizer(second).bos).toBe(50256)
  })
})

describe('a small tokenizer', () => {
  const small = trainSmall()
  const llama =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
  const split = {
    type: 'Sequence',
    pretokenizers: [
      { type: 'Split', pattern: { Regex: llama }, behavior: 'Isolated', invert: false },
      { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    ],
  }

  it('with the pattern of Llama 3 encodes as tiktoken does with its ranks', () => {
    const directory = temporary()
    writeTokenizer(directory, { ...small, pattern: llama })
    const [ours, theirs] = [
      openTokenizer(directory),
      adopted(written(huggingFace(small, { pre_tokenizer: split }))),
    ]
    for (const text of texts) expect(theirs.encode(text)).toEqual(ours.encode(text))
  })

  it("of Basin's is copied with its ranks", () => {
    const directory = temporary()
    writeTokenizer(directory, small, '<|endoftext|>')
    const tokenizer = adopted(directory)
    expect(tokenizer.encode('the wind')).toEqual(openTokenizer(directory).encode('the wind'))
    expect(tokenizer.bos).toBe(598)
  })

  const json = huggingFace(small) as {
    model: { vocab: object; merges: unknown[] }
    added_tokens: object[]
  }
  const model = (changes: object) => ({ ...json, model: { ...json.model, ...changes } })
  const vocab = (changes: object) => model({ vocab: { ...json.model.vocab, ...changes } })
  const added = (changes: object) => ({
    ...json,
    added_tokens: [...json.added_tokens, { id: 700, content: 'x y', special: false, ...changes }],
  })
  const without = Object.fromEntries(
    Object.entries(json.model.vocab).filter(([token]) => token !== 'a'),
  )
  const bad: [string, unknown][] = [
    ['JSON', '{"model":'],
    ['must', '[]'],
    ['must', 'null'],
    ['only byte-level BPE is supported', model({ type: 'WordPiece' })],
    ['only byte-level BPE is supported', model({ type: 'Unigram' })],
    ['byte_fallback', model({ byte_fallback: true })],
    ['end_of_word_suffix', model({ end_of_word_suffix: '</w>' })],
    ['pre_tokenizer', { ...json, pre_tokenizer: null }],
    ['pre_tokenizer', { ...json, pre_tokenizer: { type: 'Metaspace' } }],
    ['pre_tokenizer', { ...json, pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true } }],
    [
      'pre_tokenizer',
      {
        ...json,
        pre_tokenizer: {
          type: 'Sequence',
          pretokenizers: [
            { type: 'Split', pattern: { Regex: '(a+)+$' }, behavior: 'Isolated', invert: false },
          ],
        },
      },
    ],
    ['normalizer', { ...json, normalizer: { type: 'Lowercase' } }],
    ['id must be an integer from 0 to 999999', vocab({ aa: 1e9 })],
    ['id must be an integer', vocab({ aa: -1 })],
    ['id must be an integer', vocab({ aa: '7' })],
    ['id 97 has two tokens', vocab({ zzzz: 97 })],
    ['is not byte-level', vocab({ 'a b': 900 })],
    ['more than 1024 characters', vocab({ ['a'.repeat(1025)]: 900 })],
    ['no token for byte 97', model({ vocab: without })],
    ['merge 0 is not of two tokens', model({ merges: [['a', 'ÿÿÿ']] })],
    ['merge 1 is not of two tokens', model({ merges: ['Ġ t', 'Ġ t t'] })],
    ['merges has texts and pairs', model({ merges: ['Ġ t', ['Ġ', 't']] })],
    ['merge 0 is not of two tokens', model({ merges: [null] })],
    ['lstrip', added({ lstrip: true })],
    ['content', added({ content: '' })],
    ['id 97 has two tokens', added({ id: 97 })],
    ['the same content twice', added({ content: '<|pad|>' })],
    ['has two ids', added({ content: 'a' })],
  ]
  it.each(bad)('refuses with: %s (%#)', (reason, json) => {
    let thrown: unknown
    try {
      adopted(written(json))
    } catch (error) {
      thrown = error
    }
    expect(thrown).toBeInstanceOf(BasinError)
    expect((thrown as BasinError).code).toBe('invalid_tokenizer')
    expect((thrown as BasinError).message).toContain(reason)
  })

  it('names what is missing', () => {
    expect(() => adopted('gpt3')).toThrow(/gpt3: there is no such file.*gpt2, cl100k_base/)
    expect(() => adopted(temporary())).toThrow(/ENOENT/)
    expect(() => adopted('gpt2', '<s>')).toThrow(/<s> is not one of its special tokens/)
    expect(existsSync('gpt3')).toBe(false)
  })

  it('refuses a descriptor with special tokens that the file does not have', () => {
    const directory = temporary()
    importTokenizer('gpt2', directory)
    const path = join(directory, 'tokenizer.json')
    const descriptor = JSON.parse(readFileSync(path, 'utf8')) as object
    writeFileSync(path, JSON.stringify({ ...descriptor, special: { '<s>': 5 } }))
    expect(() => openTokenizer(directory)).toThrow(/"<s>" is not token 5/)
  })
})
