/** Reads training text, whole or in pieces that need little memory. It knows files, and no tokens. */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { BasinError } from '../../errors.js'

const unreadable = (path: string, cause: unknown): BasinError =>
  new BasinError('invalid_data', { path, reason: (cause as Error).message }, { cause })

/** Throws `invalid_data` if the file cannot be read or is not UTF-8. */
export function readText(path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path))
  } catch (cause) {
    throw unreadable(path, cause)
  }
}

/** Exactly `count` bytes. Throws `invalid_data` if the file has become shorter since it was opened. */
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

/** Bytes that are read at a time. */
const CHUNK_BYTES = 1 << 22

/** The bytes of a file, in chunks. A chunk is valid until the next one is asked for. */
function* readChunks(path: string): Generator<Uint8Array> {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (cause) {
    throw unreadable(path, cause)
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
    throw cause instanceof BasinError ? cause : unreadable(path, cause)
  }
}

export interface Piece {
  text: string
  /** True for the first piece of a document. */
  begins: boolean
}

/** A document of more than twice as many characters is given in pieces of at most so many. */
export const MAX_PIECE_CHARACTERS = 1 << 20

/**
 * The documents of a file: the text between separators, without the line ends around it. Empty
 * documents are left out. Without a separator the file is one document. A long document is given in
 * pieces, each cut before its last line end, so that a few pieces and one chunk are all that is held
 * in memory.
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

/**
 * Where to cut: before the last run of line ends up to `limit`. Where there is none, at `limit`, or one
 * earlier if that would cut a surrogate pair in two.
 */
function cutBefore(text: string, limit: number): number {
  let cut = text.lastIndexOf('\n', limit)
  while (cut > 0 && /[\r\n]/.test(text.charAt(cut - 1))) cut--
  if (cut > 0) return cut
  const last = text.charCodeAt(limit - 1)
  const isHighSurrogate = last >= 0xd800 && last < 0xdc00
  return isHighSurrogate ? limit - 1 : limit
}

export interface Line {
  /** 1-based. */
  number: number
  /** Offset of its first byte in the file. */
  offset: number
  /** Bytes of the line, without its line end. */
  bytes: number
  text: string
}

/** The lines of a file, one at a time. Throws `invalid_data` for a line that is not UTF-8. */
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
