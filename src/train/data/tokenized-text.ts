/**
 * Text files as one sequence of tokens, in which each document follows a start token. Files are
 * tokenised piece by piece while they are read. The tokens are kept in memory, or in a cache file of
 * which only the requested parts are read; then neither the text nor the tokens need to fit in memory.
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
  /** UTF-8 bytes of all documents, without separators. */
  readonly bytes: number
  /** `count` tokens from `start` on; fewer at the end of the text. */
  read(start: number, count: number): Int32Array
  /** UTF-8 bytes of text that these tokens stand for. */
  bytesOf(tokens: Iterable<number>): number
}

export interface TokenCache {
  /** Directory of the cache files. */
  directory: string
  /** The tokenizer's directory. Its content is part of the cache's key. */
  tokenizer: string
}

/** Throws `invalid_data` for a file that does not exist or is not UTF-8 text. */
export function openTokenizedText(
  paths: readonly string[],
  tokenizer: Tokenizer,
  cache?: TokenCache,
): TokenizedText {
  return cache ? cached(paths, tokenizer, cache) : inMemory(paths, tokenizer)
}

type TokenArray = Uint16Array | Uint32Array

/** Token ids below 2^16 fit in two bytes. */
const bytesPerToken = (tokenizer: Tokenizer): 2 | 4 => (tokenizer.vocabSize <= 65_536 ? 2 : 4)
const tokenArray = (tokens: readonly number[], width: 2 | 4): TokenArray =>
  width === 2 ? Uint16Array.from(tokens) : Uint32Array.from(tokens)

interface TextTotals {
  length: number
  documents: number
  bytes: number
}

/** Counts the UTF-8 bytes that tokens stand for; a special token stands for none. */
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

/** Tokenises all files and gives the tokens of each piece to `sink`, in order. */
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
    // The totals are written last: a cache without them is incomplete, and is made again.
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

/** Depends on the names, sizes and modification times of the files, and on the tokenizer's content. */
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
