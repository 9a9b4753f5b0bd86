/** Reading training text, whole or as it streams by. Knows files; knows no token. */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { BasinError } from '../../errors.js'

const refuse = (path: string, cause: unknown): BasinError =>
  new BasinError('invalid_data', { path, reason: (cause as Error).message }, { cause })

/** Throws `invalid_data` where the file cannot be read or is not UTF-8. */
export function readText(path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path))
  } catch (cause) {
    throw refuse(path, cause)
  }
}

/** Exactly `count` bytes. Throws `invalid_data` where the file has become shorter. */
export function readBytes(fd: number, offset: number, count: number, path: string): Uint8Array {
  const bytes = new Uint8Array(count)
  for (let done = 0; done < count;) {
    const got = readSync(fd, bytes, done, count - done, offset + done)
    if (got === 0)
      throw new BasinError('invalid_data', { path, reason: 'became shorter while in use' })
    done += got
  }
  return bytes
}

/** Bytes read at a time. */
const CHUNK_BYTES = 1 << 22

/** The bytes of a file; each chunk is valid until the next. */
function* readChunks(path: string): Generator<Uint8Array> {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (cause) {
    throw refuse(path, cause)
  }
  try {
    const chunk = new Uint8Array(CHUNK_BYTES)
    for (;;) {
      const got = readSync(fd, chunk)
      if (got === 0) return
      yield chunk.subarray(0, got)
    }
  } finally {
    closeSync(fd)
  }
}

function* decodeChunks(path: string): Generator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  try {
    for (const chunk of readChunks(path)) yield decoder.decode(chunk, { stream: true })
    yield decoder.decode()
  } catch (cause) {
    throw cause instanceof BasinError ? cause : refuse(path, cause)
  }
}

export interface Piece {
  text: string
  /** True for the first piece of a document. */
  begins: boolean
}

/** Characters of a document from which on it comes in pieces. */
export const MAX_PIECE_CHARACTERS = 1 << 20

/**
 * The documents of a file between separators, without the line ends around them; empty ones are left
 * out. Without a separator the file is one document. A long document comes in pieces, cut before its
 * last line end, so that no more than a piece and a chunk are in memory.
 */
export function* readPieces(
  path: string,
  separator: string | undefined,
  longest = MAX_PIECE_CHARACTERS,
): Generator<Piece> {
  let rest = ''
  let begins = true
  const trimStart = (text: string): string =>
    separator !== undefined && begins ? text.replace(/^[\r\n]+/, '') : text
  const trimEnd = (text: string): string =>
    separator === undefined ? text : text.replace(/[\r\n]+$/, '')
  for (const text of decodeChunks(path)) {
    rest += text
    const documents = separator === undefined ? [rest] : rest.split(separator)
    rest = documents.pop() as string
    for (const document of documents) {
      const whole = trimEnd(trimStart(document))
      if (whole !== '') yield { text: whole, begins }
      begins = true
    }
    rest = trimStart(rest)
    while (rest.length > 2 * longest) {
      const cut = cutBefore(rest, longest)
      yield { text: rest.slice(0, cut), begins }
      rest = rest.slice(cut)
      begins = false
    }
  }
  const last = trimEnd(trimStart(rest))
  if (last !== '') yield { text: last, begins }
}

/** The last run of line ends up to `limit`, else the limit, not between two halves of a character. */
function cutBefore(text: string, limit: number): number {
  let cut = text.lastIndexOf('\n', limit)
  while (cut > 0 && /[\r\n]/.test(text.charAt(cut - 1))) cut--
  if (cut > 0) return cut
  const high = text.charCodeAt(limit - 1)
  return high >= 0xd800 && high < 0xdc00 ? limit - 1 : limit
}

export interface Line {
  /** 1-based. */
  number: number
  /** Where its bytes stand, the line end left out. */
  offset: number
  bytes: number
  text: string
}

/** The lines of a file, one at a time. */
export function* readLines(path: string): Generator<Line> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let held = Buffer.alloc(0)
  let offset = 0
  let number = 0
  const lineOf = (bytes: Uint8Array): Line => {
    try {
      return { number: ++number, offset, bytes: bytes.length, text: decoder.decode(bytes) }
    } catch (cause) {
      throw new BasinError(
        'invalid_data',
        { path, reason: `line ${number}: ${(cause as Error).message}` },
        { cause },
      )
    }
  }
  for (const chunk of readChunks(path)) {
    const all = Buffer.concat([held, chunk])
    let from = 0
    for (let to = all.indexOf(10); to >= 0; to = all.indexOf(10, from)) {
      yield lineOf(all.subarray(from, to))
      offset += to + 1 - from
      from = to + 1
    }
    held = all.subarray(from)
  }
  if (held.length > 0) yield lineOf(held)
}
