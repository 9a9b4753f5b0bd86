/**
 * A tokenizer from its vocabulary and from the function that encodes ordinary text, wherever they come from.
 * Imports nothing that a browser lacks.
 */
import { BasinError } from '../errors.js'
import { characterEncoder } from './characters.js'
import { splitSpecial } from './pieces.js'

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
export function assemble(
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

/** One token for each character. */
export const characterTokenizer = (
  alphabet: readonly string[],
  special: ReadonlyMap<string, number>,
  bos: number | undefined,
): Tokenizer => {
  const ordinary = new Map(alphabet.map((text, id) => [id, utf8.encode(text)]))
  return assemble(ordinary, special, bos, characterEncoder(alphabet))
}
