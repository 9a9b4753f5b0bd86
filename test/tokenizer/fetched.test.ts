/** Tokenizers made of fetched files, as a browser makes them, beside those that a server opens. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { BasinError } from '../../src/errors.js'
import { END_OF_TEXT, writeTokenizer } from '../../src/tokenizer/bpe-training.js'
import type { TokenizerDescriptor } from '../../src/tokenizer/descriptor.js'
import { fileBeside, runsInBrowsers, tokenizerFrom } from '../../src/tokenizer/fetched-tokenizer.js'
import { openTokenizer } from '../../src/tokenizer/tokenizer.js'
import { shipped, shippedModels } from '../support/process.js'
import { samples, temporaryDirectory, trainSmall } from './samples.js'

function fetched(directory: string) {
  const read = (file: string) => readFileSync(join(directory, file), 'utf8')
  const descriptor = JSON.parse(read('tokenizer.json')) as TokenizerDescriptor
  const file = fileBeside(descriptor)
  return tokenizerFrom(descriptor, file === undefined ? '' : read(file))
}

function trained(): string {
  const directory = temporaryDirectory()
  writeTokenizer(directory, trainSmall(), END_OF_TEXT)
  return directory
}

describe('a tokenizer of byte pairs', () => {
  const directories = [trained(), ...(shipped ? [join(shippedModels, 'stories')] : [])]

  it.each(directories)('gives the tokens of the tiktoken library: %s', (directory) => {
    const [ours, library] = [fetched(directory), openTokenizer(directory)]
    for (const text of [...samples, 'a\ud83d b\ude00\ud83d'])
      expect(ours.encode(text)).toEqual(library.encode(text))
    const special = `one${END_OF_TEXT}two`
    expect(ours.encode(special, { special: 'all' })).toEqual(
      library.encode(special, { special: 'all' }),
    )
    expect([ours.vocabSize, ours.bos]).toEqual([library.vocabSize, library.bos])
  })

  it('refuses a pattern that leaves text out, or that is none', () => {
    const descriptor = {
      format: 'basin-tokenizer/1',
      kind: 'tiktoken',
      ranks: 'ranks',
      special: {},
    } as const
    const ranks = Array.from(
      { length: 256 },
      (_, byte) => `${Buffer.of(byte).toString('base64')} ${byte}`,
    ).join('\n')
    const some = tokenizerFrom({ ...descriptor, pattern: '[a-z]+' }, ranks)
    expect(some.encode('abc')).toEqual([97, 98, 99])
    expect(() => some.encode('a b')).toThrow(/leaves a part/)
    expect(() => tokenizerFrom({ ...descriptor, pattern: '(' }, ranks)).toThrow(BasinError)
  })
})

it('a tokenizer of characters gives the tokens that a server gives', () => {
  const directory = join(shippedModels, 'sudoku9')
  const [ours, theirs] = [fetched(directory), openTokenizer(directory)]
  expect(ours.encode('123456789')).toEqual(theirs.encode('123456789'))
  expect(ours.decode([0, 8])).toBe('19')
  expect(() => ours.encode('0')).toThrow(/alphabet/)
})

it('kinds that need a library of Node’s are refused', () => {
  const descriptor = {
    format: 'basin-tokenizer/1',
    kind: 'encoding',
    encoding: 'gpt2',
    special: {},
  } as const
  expect(runsInBrowsers(descriptor)).toBe(false)
  expect(() => tokenizerFrom(descriptor, '')).toThrow(
    expect.objectContaining({ code: 'not_supported' }) as Error,
  )
})
