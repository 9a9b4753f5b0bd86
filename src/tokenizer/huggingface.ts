/**
 * Hugging Face's tokenizer.json: byte-level BPE, as GPT-NeoX and GPT-2 use it, encoded by the tokenizers
 * library. The file is untrusted input: everything that reaches the library is checked here first, and
 * its regular expressions must be on a list of known ones, because another could take exponential time.
 * A tokenizer that is not byte-level BPE is refused with the name of what is not supported.
 */
import * as library from '@huggingface/tokenizers'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { BasinError } from '../errors.js'
import { MAX_VOCABULARY, readJson } from './descriptor.js'
import { cutLongRuns } from './pieces.js'

/** The part of the library that is used. Its own types do not resolve from ES modules. */
const { Tokenizer: Library } = library as unknown as {
  Tokenizer: new (
    json: object,
    config: object,
  ) => {
    model: { cache: PieceCache }
    encode: (text: string, options: { add_special_tokens: false }) => { ids: number[] }
  }
}

/**
 * A cache from pieces of text to their tokens, emptied when it is full. It replaces the library's own,
 * which moves an entry at every hit and takes 60 us for that once it holds 10,000 entries.
 */
class PieceCache {
  private readonly pieces = new Map<string, string[]>()

  get(piece: string): string[] | undefined {
    return this.pieces.get(piece)
  }

  put(piece: string, tokens: string[]): void {
    if (this.pieces.size >= MAX_CACHED_PIECES) this.pieces.clear()
    this.pieces.set(piece, tokens)
  }
}

/** The name of the file in a model's directory, where `tokenizer.json` is Basin's descriptor. */
export const huggingFaceFile = 'tokenizer.huggingface.json'

const MAX_FILE_BYTES = 64 * 1024 * 1024
const MAX_ADDED_TOKENS = 16_384
const MAX_TOKEN_CHARACTERS = 1024
const MAX_ADDED_CHARACTERS = 128
const MAX_CACHED_PIECES = 20_000

/** The patterns of GPT-2, Llama 3 and Qwen 2; the last two differ in how many digits a piece may have. */
const knownPatterns = [
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
]

const id = Type.Integer({ minimum: 0, maximum: MAX_VOCABULARY - 1 })
const none = Type.Union([Type.Null(), Type.Literal('')])
const no = Type.Optional(Type.Literal(false))

const ByteLevel = Type.Object({
  type: Type.Literal('ByteLevel'),
  add_prefix_space: no,
  use_regex: Type.Optional(Type.Boolean()),
})
const Step = Type.Union([
  ByteLevel,
  Type.Object({ type: Type.Literal('Digits'), individual_digits: Type.Optional(Type.Boolean()) }),
  Type.Object({
    type: Type.Literal('Split'),
    pattern: Type.Object({ Regex: Type.Enum(knownPatterns) }),
    behavior: Type.Literal('Isolated'),
    invert: no,
  }),
])
const UnicodeForm = Type.Object({ type: Type.Enum(['NFC', 'NFD', 'NFKC', 'NFKD']) })

const AddedToken = Type.Object({
  id,
  content: Type.String({ minLength: 1, maxLength: MAX_ADDED_CHARACTERS }),
  special: Type.Boolean(),
  normalized: Type.Optional(Type.Boolean()),
  single_word: no,
  lstrip: no,
  rstrip: no,
})

const HuggingFaceJson = Type.Object({
  added_tokens: Type.Array(AddedToken, { maxItems: MAX_ADDED_TOKENS }),
  normalizer: Type.Union([
    Type.Null(),
    UnicodeForm,
    Type.Object({
      type: Type.Literal('Sequence'),
      normalizers: Type.Array(UnicodeForm, { maxItems: 4 }),
    }),
  ]),
  pre_tokenizer: Type.Union([
    ByteLevel,
    Type.Object({
      type: Type.Literal('Sequence'),
      pretokenizers: Type.Array(Step, { minItems: 1, maxItems: 8 }),
    }),
  ]),
  model: Type.Object({
    type: Type.Optional(Type.Literal('BPE')),
    // `checkVocabulary` and `checkMerges` check the entries, to name the wrong one in the error.
    vocab: Type.Object({}),
    merges: Type.Array(Type.Unknown(), { maxItems: MAX_VOCABULARY }),
    ignore_merges: Type.Optional(Type.Boolean()),
    byte_fallback: no,
    dropout: Type.Optional(Type.Null()),
    continuing_subword_prefix: Type.Optional(none),
    end_of_word_suffix: Type.Optional(none),
  }),
})
type HuggingFaceJson = Static<typeof HuggingFaceJson>

export interface HuggingFaceVocabulary {
  /** The bytes of every id that is not special. */
  ordinary: ReadonlyMap<number, Uint8Array>
  special: ReadonlyMap<string, number>
  /** Turns text into ids. Names of special tokens are treated as text. */
  encode: (text: string) => number[]
}

/** Throws `invalid_tokenizer` naming what is wrong or not supported. */
export function readHuggingFace(path: string): HuggingFaceVocabulary {
  const json = readJson(path, MAX_FILE_BYTES)
  if (!Value.Check(HuggingFaceJson, json)) throw invalid(path, shapeFlaw(json))
  const ids = checkVocabulary(json, path)
  checkMerges(json, ids, path)
  const ordinary = new Map(
    Array.from(ids, ([token, id]) => [id, bytesOf(token) ?? new Uint8Array(0)]),
  )
  const special = new Map<string, number>()
  for (const added of json.added_tokens) {
    if (added.special) {
      special.set(added.content, added.id)
      ordinary.delete(added.id)
    } else ordinary.set(added.id, new TextEncoder().encode(added.content))
  }
  let encode: ((text: string) => number[]) | undefined
  return {
    ordinary,
    special,
    // Made for the first text: for GPT-NeoX the library's tables take 0.2 s and 50 MB.
    encode: (text) => (encode ??= encoderOf(json))(text),
  }
}

/**
 * GPT-2's pattern with Unicode's definition of white space, as the original implementation has it. The
 * library uses JavaScript's \s instead, which differs in U+FEFF and U+0085.
 */
const gpt2Split = {
  type: 'Split',
  pattern: {
    Regex:
      "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\p{White_Space}\\p{L}\\p{N}]+" +
      '|\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+',
  },
  behavior: 'Isolated',
  invert: false,
}

function stepsOf({ pre_tokenizer }: HuggingFaceJson): object[] {
  const steps = pre_tokenizer.type === 'Sequence' ? pre_tokenizer.pretokenizers : [pre_tokenizer]
  return steps.flatMap((step): object[] =>
    step.type === 'ByteLevel' && step.use_regex !== false
      ? [gpt2Split, { ...step, use_regex: false }]
      : [step],
  )
}

/** The library's encoder, without special tokens: it would recognize their names in any text. */
function encoderOf(json: HuggingFaceJson): (text: string) => number[] {
  const { added_tokens, model, normalizer } = json
  const encoder = new Library(
    {
      added_tokens: added_tokens.filter(({ special }) => !special),
      normalizer,
      pre_tokenizer: { type: 'Sequence', pretokenizers: stepsOf(json) },
      post_processor: null,
      decoder: { type: 'ByteLevel' },
      model: { ...model, type: 'BPE' },
    },
    {},
  )
  encoder.model.cache = new PieceCache()
  return (text) =>
    cutLongRuns(text).flatMap((part) => encoder.encode(part, { add_special_tokens: false }).ids)
}

const isId = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < MAX_VOCABULARY

function checkVocabulary(json: HuggingFaceJson, path: string): ReadonlyMap<string, number> {
  const names = new Map<number, string>()
  const added = new Map(json.added_tokens.map(({ content, id }) => [content, id]))
  const ids = new Map<string, number>()
  const at = (token: string) => `vocab ${JSON.stringify(token.slice(0, 40))}`
  const enter = (token: string, value: unknown) => {
    // Without the schema's checker, which takes seconds for a million tokens.
    if (!isId(value))
      throw invalid(path, `${at(token)}: id must be an integer from 0 to ${MAX_VOCABULARY - 1}`)
    if ((names.get(value) ?? token) !== token) throw invalid(path, `id ${value} has two tokens`)
    names.set(value, token)
  }
  for (const [token, value] of Object.entries(json.model.vocab)) {
    enter(token, value)
    if (token.length > MAX_TOKEN_CHARACTERS)
      throw invalid(path, `vocab has a token of more than ${MAX_TOKEN_CHARACTERS} characters`)
    if ((added.get(token) ?? value) !== value)
      throw invalid(path, `${JSON.stringify(token)} has two ids`)
    if (!added.has(token) && !bytesOf(token)) throw invalid(path, `${at(token)} is not byte-level`)
    ids.set(token, value as number)
  }
  if (added.size < json.added_tokens.length)
    throw invalid(path, 'added_tokens has the same content twice')
  for (const [token, value] of added) enter(token, value)
  const missing = byteCharacters.findIndex(
    (character, byte) => occursInUtf8(byte) && !ids.has(character),
  )
  if (missing >= 0) throw invalid(path, `vocab has no token for byte ${missing}`)
  return ids
}

/** Checks that every merge makes a token: the library would drop anything else from the text. */
function checkMerges({ model }: HuggingFaceJson, ids: ReadonlyMap<string, number>, path: string) {
  const pair = (merge: unknown): readonly unknown[] =>
    typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? (merge as unknown[]) : []
  const kinds = new Set(model.merges.map((merge) => typeof merge))
  if (kinds.size > 1) throw invalid(path, 'merges has texts and pairs')
  for (const [index, merge] of model.merges.entries()) {
    const [left, right, ...rest] = pair(merge)
    const valid =
      typeof left === 'string' &&
      typeof right === 'string' &&
      rest.length === 0 &&
      [left, right, left + right].every((token) => ids.has(token))
    if (!valid) throw invalid(path, `merge ${index} is not of two tokens that make a third`)
  }
}

/**
 * The character that stands for each byte in byte-level BPE: printable Latin-1 characters for themselves,
 * characters from U+0100 on for the other bytes, in order.
 */
const byteCharacters: readonly string[] = (() => {
  const printable = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173)
  let next = 256
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode(printable(byte) ? byte : next++),
  )
})()
/** Other bytes occur in no UTF-8 text, and GPT-NeoX has no tokens for them. */
const occursInUtf8 = (byte: number): boolean => byte < 0xc0 || (byte > 0xc1 && byte < 0xf5)
const byteOf = new Map(byteCharacters.map((character, byte) => [character, byte]))

/** The bytes of a byte-level token; undefined if it is not one. */
function bytesOf(token: string): Uint8Array | undefined {
  const bytes = Array.from(token, (character) => byteOf.get(character))
  return bytes.includes(undefined) ? undefined : Uint8Array.from(bytes as number[])
}

function shapeFlaw(json: unknown): string {
  const first = Value.Errors(HuggingFaceJson, json)[0]
  const field = first?.instancePath.slice(1).replaceAll('/', '.') ?? ''
  const what = `${field} ${first?.message ?? 'is invalid'}`.trim()
  return `${what}; only byte-level BPE is supported, with the patterns of GPT-2, Llama 3 and Qwen 2`
}

const invalid = (path: string, reason: string) =>
  new BasinError('invalid_tokenizer', { path, reason })
