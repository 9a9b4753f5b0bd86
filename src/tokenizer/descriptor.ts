/**
 * `tokenizer.json`: the descriptor of a model's tokenizer. It is untrusted input: its size, its schema and
 * the rules that a schema cannot express are checked here, before anything is built from it.
 */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { BasinError } from '../errors.js'

/** Every token id is below this, as a model's `vocab_size` is at most this. */
export const MAX_VOCABULARY = 1_000_000

const MAX_DESCRIPTOR_BYTES = 4 * 1024 * 1024

export const encodingNames = ['gpt2', 'cl100k_base', 'o200k_base'] as const
export type EncodingName = (typeof encodingNames)[number]

const fileName = '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$'

const shared = {
  format: Type.Literal('basin-tokenizer/1'),
  special: Type.Record(
    Type.String({ minLength: 1, maxLength: 128 }),
    Type.Integer({ minimum: 0, maximum: MAX_VOCABULARY - 1 }),
    { description: 'id by name; no other token has these ids' },
  ),
  bos: Type.Optional(
    Type.String({ description: 'the special token before every document: its start and end' }),
  ),
}

export const TokenizerDescriptor = Type.Union([
  Type.Object(
    {
      ...shared,
      kind: Type.Literal('tiktoken'),
      ranks: Type.String({
        pattern: fileName,
        description: 'file beside this one: a line `base64 rank` per token, ids are ranks',
      }),
      pattern: Type.String({
        minLength: 1,
        maxLength: 2000,
        description: 'regular expression that cuts text into pieces; no token crosses a cut',
      }),
    },
    { additionalProperties: false },
  ),
  Type.Object(
    {
      ...shared,
      kind: Type.Literal('characters'),
      alphabet: Type.Array(Type.String({ minLength: 1, maxLength: 2 }), {
        minItems: 1,
        maxItems: 65_536,
        description: 'one Unicode character each; ids are indices into this list',
      }),
    },
    { additionalProperties: false },
  ),
  Type.Object(
    {
      ...shared,
      kind: Type.Literal('huggingface'),
      file: Type.String({
        pattern: fileName,
        description: 'file beside this one: a Hugging Face tokenizer.json, byte-level BPE',
      }),
    },
    { additionalProperties: false },
  ),
  Type.Object(
    {
      ...shared,
      kind: Type.Literal('encoding'),
      encoding: Type.Enum([...encodingNames], {
        description: "an encoding of tiktoken's, from its package",
      }),
    },
    { additionalProperties: false },
  ),
])
export type TokenizerDescriptor = Static<typeof TokenizerDescriptor>

/** Reads a file of at most `limit` bytes. Throws `invalid_tokenizer`. */
export function readBounded(path: string, limit: number): Buffer {
  try {
    const stat = statSync(path)
    // Reading a pipe could wait for ever, and a device may have no end.
    if (!stat.isFile()) throw new Error('it is not a regular file')
    if (stat.size <= limit) return readFileSync(path)
  } catch (cause) {
    throw new BasinError('invalid_tokenizer', { path, reason: (cause as Error).message }, { cause })
  }
  throw new BasinError('invalid_tokenizer', { path, reason: `exceeds ${limit} bytes` })
}

/** Reads JSON of at most `limit` bytes. Throws `invalid_tokenizer`. */
export function readJson(path: string, limit: number): unknown {
  const bytes = readBounded(path, limit)
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch (cause) {
    throw new BasinError('invalid_tokenizer', { path, reason: (cause as Error).message }, { cause })
  }
}

/** What is wrong with a descriptor that matches the schema; undefined if nothing is. */
function flawOf(descriptor: TokenizerDescriptor): string | undefined {
  const { special, bos } = descriptor
  const ids = Object.values(special)
  if (new Set(ids).size < ids.length) return 'special gives one id to two tokens'
  if (bos !== undefined && !Object.hasOwn(special, bos)) return 'bos is not a special token'
  if (descriptor.kind !== 'characters') return undefined
  const { alphabet } = descriptor
  const several = alphabet.find((text) => !/^\P{Surrogate}$/su.test(text))
  if (several !== undefined) return `alphabet: ${JSON.stringify(several)} is not one character`
  if (new Set(alphabet).size < alphabet.length) return 'alphabet holds a character twice'
  if (ids.some((id) => id < alphabet.length)) return 'special takes an id of the alphabet'
  return undefined
}

function shapeFlaw(json: unknown): string {
  const first = Value.Errors(TokenizerDescriptor, json)[0]
  const field = first?.instancePath.slice(1).replaceAll('/', '.') ?? ''
  return `${field} ${first?.message ?? 'is invalid'}`.trim()
}

export interface OpenDescriptor {
  path: string
  descriptor: TokenizerDescriptor
  special: ReadonlyMap<string, number>
}

export function readDescriptor(directory: string): OpenDescriptor {
  const path = join(directory, 'tokenizer.json')
  const json = readJson(path, MAX_DESCRIPTOR_BYTES)
  if (!Value.Check(TokenizerDescriptor, json)) {
    throw new BasinError('invalid_tokenizer', { path, reason: shapeFlaw(json) })
  }
  const reason = flawOf(json)
  if (reason !== undefined) throw new BasinError('invalid_tokenizer', { path, reason })
  return { path, descriptor: json, special: new Map(Object.entries(json.special)) }
}
