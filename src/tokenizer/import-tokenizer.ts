/** Writes a foreign tokenizer, with a descriptor of Basin's, into a model's directory. */
import { copyFileSync, existsSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { BasinError } from '../errors.js'
import { encodingNames, readDescriptor, readJson, type TokenizerDescriptor } from './descriptor.js'
import { openEncoding } from './encodings.js'
import { huggingFaceFile, readHuggingFace } from './huggingface.js'

const MAX_FILE_BYTES = 64 * 1024 * 1024

/**
 * `source`: the name of a tiktoken encoding, a Hugging Face tokenizer.json (or its directory), or a
 * directory with a tokenizer of Basin's. `bos`: the special token to put before every text. Throws
 * `invalid_tokenizer`.
 */
export function importTokenizer(source: string, directory: string, bos?: string): void {
  const encoding = encodingNames.find((name) => name === source)
  if (encoding !== undefined) {
    const { special } = openEncoding(encoding)
    describe(directory, { kind: 'encoding', encoding }, special, bos)
    return
  }
  const path = fileOf(source)
  const json = readJson(path, MAX_FILE_BYTES)
  if ((json as { format?: unknown } | null)?.format === 'basin-tokenizer/1') {
    copyOwn(dirname(path), directory, bos)
    return
  }
  const { special } = readHuggingFace(path)
  copyFileSync(path, join(directory, huggingFaceFile))
  describe(directory, { kind: 'huggingface', file: huggingFaceFile }, special, bos)
}

function fileOf(source: string): string {
  const inside = join(source, 'tokenizer.json')
  if (!existsSync(source)) {
    const names = encodingNames.join(', ')
    const reason = `there is no such file or encoding; encodings: ${names}`
    throw new BasinError('invalid_tokenizer', { path: source, reason })
  }
  return statSync(source).isDirectory() ? inside : source
}

function copyOwn(from: string, to: string, bos: string | undefined): void {
  const { descriptor, special } = readDescriptor(from)
  if (descriptor.kind === 'tiktoken')
    copyFileSync(join(from, descriptor.ranks), join(to, descriptor.ranks))
  if (descriptor.kind === 'huggingface')
    copyFileSync(join(from, descriptor.file), join(to, descriptor.file))
  describe(to, descriptor, special, bos ?? descriptor.bos)
}

type Kind<T = TokenizerDescriptor> = T extends unknown
  ? Omit<T, 'format' | 'special' | 'bos'>
  : never

function describe(
  directory: string,
  kind: Kind,
  special: ReadonlyMap<string, number>,
  bos: string | undefined,
): void {
  const path = join(directory, 'tokenizer.json')
  if (bos !== undefined && !special.has(bos)) {
    const names = [...special.keys()].slice(0, 8).join(' ')
    const reason = `${bos} is not one of its special tokens: ${names}`
    throw new BasinError('invalid_tokenizer', { path, reason })
  }
  const descriptor = {
    format: 'basin-tokenizer/1',
    ...kind,
    special: Object.fromEntries(special),
    ...(bos !== undefined && { bos }),
  }
  writeFileSync(path, `${JSON.stringify(descriptor, null, 2)}\n`)
}
