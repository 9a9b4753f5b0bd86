/**
 * Turns text into tokens and tokens into text. It knows bytes and ids; it knows no model, no engine and
 * no request.
 *
 * Every string can be encoded: a lone surrogate, which UTF-8 cannot express, is read as U+FFFD. A
 * `tiktoken` tokenizer decodes to the text that it encoded (except lone surrogates); a `huggingface`
 * tokenizer decodes to the normalized text (GPT-NeoX: NFC); a `characters` tokenizer refuses characters
 * outside its alphabet.
 */
import { join } from 'node:path'
import { BasinError } from '../errors.js'
import { characterEncoder } from './characters.js'
import { readDescriptor } from './descriptor.js'
import { openEncoding } from './encodings.js'
import { readHuggingFace } from './huggingface.js'
import { splitSpecial } from './pieces.js'
import { readRanks } from './ranks.js'
import { tiktokenEncoder } from './tiktoken.js'

export interface EncodeOptions {
  /** `all`: names of special tokens in the text become those tokens. Default `none`: they stay text. */
  special?: 'none' | 'all'
  /** The request's field that holds the text, named in errors. Default `text`. */
  param?: string
}

export interface Tokenizer {
  /** Highest id + 1. */
  readonly vocabSize: number
  /** Id by name. */
  readonly special: ReadonlyMap<string, number>
  /** The token before every document; it also marks the end of the document before. */
  readonly bos: number | undefined
  /** Throws `invalid_request` where the text contains a character without a token. */
  encode(text: string, options?: EncodeOptions): number[]
  /** Bytes that are not UTF-8 come out as U+FFFD. Throws `out_of_range` for an unknown id. */
  decode(tokens: readonly number[]): string
  decodeBytes(tokens: readonly number[]): Uint8Array
  /** The text of a single token, for display. Part of a character comes out as U+FFFD. */
  tokenText(id: number): string
}

/** Turns ordinary text, without special tokens, into ids. */
type TextEncoding = (text: string, param: string) => number[]

const utf8 = new TextEncoder()
const lossy = new TextDecoder('utf-8', { ignoreBOM: true })

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts
  if (only && parts.length === 1) return only.slice()
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let end = 0
  for (const part of parts) {
    whole.set(part, end)
    end += part.length
  }
  return whole
}

/** `ordinary`: the bytes of each id. An id that the vocabulary skips has no bytes. */
function assemble(
  ordinary: ReadonlyMap<number, Uint8Array>,
  special: ReadonlyMap<string, number>,
  bos: number | undefined,
  encodeText: TextEncoding,
): Tokenizer {
  const bytes = new Map(ordinary)
  for (const [name, id] of special) bytes.set(id, utf8.encode(name))
  const vocabSize = Array.from(bytes.keys()).reduce((highest, id) => Math.max(highest, id), -1) + 1
  const none = new Uint8Array(0)
  const bytesOf = (id: number): Uint8Array => {
    if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
      throw new BasinError('out_of_range', {
        param: 'token',
        bound: `an integer from 0 to ${vocabSize - 1}`,
        value: id,
      })
    }
    return bytes.get(id) ?? none
  }
  const decodeBytes = (tokens: readonly number[]): Uint8Array => concatenate(tokens.map(bytesOf))
  return Object.freeze({
    vocabSize,
    special,
    bos,
    encode: (text: string, { special: allowed = 'none', param = 'text' }: EncodeOptions = {}) => {
      if (allowed === 'none') return encodeText(text, param)
      return splitSpecial(text, special).flatMap((piece) =>
        typeof piece === 'number' ? [piece] : encodeText(piece, param),
      )
    },
    decode: (tokens: readonly number[]) => lossy.decode(decodeBytes(tokens)),
    decodeBytes,
    tokenText: (id: number) => lossy.decode(bytesOf(id)),
  })
}

/**
 * Opens `tokenizer.json` in a model directory. The files are untrusted input: throws
 * `invalid_tokenizer` naming the file and what is wrong with it.
 */
export function openTokenizer(directory: string): Tokenizer {
  const { path, descriptor, special } = readDescriptor(directory)
  const bos = descriptor.bos === undefined ? undefined : special.get(descriptor.bos)
  switch (descriptor.kind) {
    case 'characters': {
      const ordinary = new Map(descriptor.alphabet.map((text, id) => [id, utf8.encode(text)]))
      return assemble(ordinary, special, bos, characterEncoder(descriptor.alphabet))
    }
    case 'tiktoken': {
      const ranks = readRanks(directory, descriptor.ranks, special)
      return assemble(ranks, special, bos, tiktokenEncoder(ranks, descriptor.pattern, path))
    }
    case 'encoding': {
      const { pattern, ranks, special: own } = openEncoding(descriptor.encoding)
      checkSpecial(special, own, path)
      return assemble(ranks, own, bos, tiktokenEncoder(ranks, pattern, path))
    }
    case 'huggingface': {
      const { encode, ordinary, special: own } = readHuggingFace(join(directory, descriptor.file))
      checkSpecial(special, own, path)
      return assemble(ordinary, own, bos, encode)
    }
  }
}

/** Checks that the descriptor's special tokens are among those of the tokenizer itself. */
function checkSpecial(
  described: ReadonlyMap<string, number>,
  own: ReadonlyMap<string, number>,
  path: string,
): void {
  for (const [name, id] of described) {
    if (own.get(name) === id) continue
    throw new BasinError('invalid_tokenizer', {
      path,
      reason: `special: ${JSON.stringify(name)} is not token ${id} of the tokenizer`,
    })
  }
}
