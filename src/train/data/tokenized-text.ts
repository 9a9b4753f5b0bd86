/**
 * Text files as tokens laid end to end, each document behind the start token. Tokenised as they are
 * read, a piece at a time; kept in memory, or in a cache file that is read where it is needed, so that
 * neither text nor tokens need to fit into memory.
 */
import { createHash } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import type { Tokenizer } from '../../tokenizer/tokenizer.js'
import { readBytes, readPieces } from './text-files.js'

export interface TokenizedText {
  readonly paths: readonly string[]
  readonly length: number
  readonly documents: number
  /** UTF-8 bytes of all documents, separators left out. */
  readonly bytes: number
  read(start: number, count: number): Int32Array
  /** Bytes of text that tokens stand for. */
  bytesOf(tokens: Iterable<number>): number
}

export interface TokenCache {
  /** Where cache files go. */
  directory: string
  /** The tokenizer's directory: another tokenizer makes another file. */
  tokenizer: string
}

/** Throws `invalid_data` for a file that is not there or is not UTF-8 text. */
export function openTokenizedText(
  paths: readonly string[],
  tokenizer: Tokenizer,
  cache?: TokenCache,
): TokenizedText {
  return cache ? cached(paths, tokenizer, cache) : inMemory(paths, tokenizer)
}

type TokenArray = Uint16Array | Uint32Array

/** Ids below 2^16 take two bytes. */
const bytesPerToken = (tokenizer: Tokenizer): 2 | 4 => (tokenizer.vocabSize <= 65_536 ? 2 : 4)
const tokenArray = (tokens: readonly number[], width: 2 | 4): TokenArray =>
  width === 2 ? Uint16Array.from(tokens) : Uint32Array.from(tokens)

interface TextTotals {
  length: number
  documents: number
  bytes: number
}

/** Bytes of text by token id; special tokens count none. */
function byteCounter(tokenizer: Tokenizer): TokenizedText['bytesOf'] {
  const lengths = Uint16Array.from(
    { length: tokenizer.vocabSize },
    (_, id) => tokenizer.decodeBytes([id]).length,
  )
  for (const id of tokenizer.special.values()) lengths[id] = 0
  return (tokens) => {
    let sum = 0
    for (const token of tokens) sum += lengths[token] as number
    return sum
  }
}

/** Gives every piece's tokens to `sink`, in order. */
function tokenize(
  paths: readonly string[],
  tokenizer: Tokenizer,
  bytesOf: TokenizedText['bytesOf'],
  sink: (words: TokenArray) => void,
): TextTotals {
  const { bos } = tokenizer
  const separator = [...tokenizer.special].find(([, id]) => id === bos)?.[0]
  const counts = { length: 0, documents: 0, bytes: 0 }
  for (const path of paths) {
    for (const { text, begins } of readPieces(path, separator)) {
      const tokens = tokenizer.encode(text, { param: path })
      if (begins && bos !== undefined) tokens.unshift(bos)
      counts.length += tokens.length
      counts.documents += begins ? 1 : 0
      counts.bytes += bytesOf(tokens)
      sink(tokenArray(tokens, bytesPerToken(tokenizer)))
    }
  }
  return counts
}

function inMemory(paths: readonly string[], tokenizer: Tokenizer): TokenizedText {
  const bytesOf = byteCounter(tokenizer)
  const parts: TokenArray[] = []
  const counts = tokenize(paths, tokenizer, bytesOf, (words) => parts.push(words))
  const all =
    bytesPerToken(tokenizer) === 2 ? new Uint16Array(counts.length) : new Uint32Array(counts.length)
  let end = 0
  for (const part of parts.splice(0)) {
    all.set(part, end)
    end += part.length
  }
  const read = (start: number, count: number) => Int32Array.from(all.subarray(start, start + count))
  return { paths, ...counts, read, bytesOf }
}

function cached(paths: readonly string[], tokenizer: Tokenizer, cache: TokenCache): TokenizedText {
  const bytesOf = byteCounter(tokenizer)
  const width = bytesPerToken(tokenizer)
  const name = join(cache.directory, cacheKey(paths, cache))
  if (!existsSync(`${name}.json`)) {
    mkdirSync(cache.directory, { recursive: true })
    const fd = openSync(`${name}.tmp`, 'w')
    const counts = tokenize(paths, tokenizer, bytesOf, (words) => {
      writeAll(fd, Buffer.from(words.buffer, words.byteOffset, words.byteLength))
    })
    fsyncSync(fd)
    closeSync(fd)
    renameSync(`${name}.tmp`, `${name}.tokens`)
    // Last: a cache without it is made anew.
    writeFileSync(`${name}.json`, JSON.stringify(counts))
  }
  const counts = JSON.parse(readFileSync(`${name}.json`, 'utf8')) as TextTotals
  const path = `${name}.tokens`
  const fd = openSync(path, 'r')
  const read = (start: number, count: number): Int32Array => {
    const kept = Math.max(0, Math.min(count, counts.length - start))
    const { buffer } = readBytes(fd, start * width, kept * width, path)
    return Int32Array.from(width === 2 ? new Uint16Array(buffer) : new Uint32Array(buffer))
  }
  return { paths, ...counts, read, bytesOf }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done)
}

/** Of the files' names, sizes and times, and of the tokenizer's content. */
function cacheKey(paths: readonly string[], { tokenizer }: TokenCache): string {
  const hash = createHash('sha256').update('tokens/1')
  for (const path of paths) {
    const { size, mtimeMs } = statSync(path)
    hash.update(JSON.stringify([resolve(path), size, mtimeMs]))
  }
  const files = readdirSync(tokenizer).filter((file) => file.startsWith('tokenizer.'))
  for (const file of files.sort()) hash.update(file).update(readFileSync(join(tokenizer, file)))
  return hash.digest('hex').slice(0, 32)
}
