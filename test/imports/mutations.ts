/**
 * Inputs for fuzzing: files with accidental damage and files made by an attacker. They are a function of
 * a seed, so that a failure can be reproduced.
 */
import { readFileSync } from 'node:fs'
import { writePickle } from '../../src/model/export/pickle-writer.js'
import { ZipWriter } from '../../src/model/export/zip-writer.js'
import { ZipArchive } from '../../src/model/import/zip-reader.js'
import { asFile, corpusBytes, corpusFile } from './corpus.js'

/** Numbers in [0, 1) (mulberry32). */
export type Random = () => number
export function randomFrom(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

const below = (random: Random, limit: number): number => Math.floor(random() * limit)
export const pick = <T>(random: Random, items: readonly T[]): T =>
  items[below(random, items.length)] as T

const extremes = [0, 1, 0x7f, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff]

type Mutation = (bytes: Buffer, random: Random) => Buffer
const at = (bytes: Buffer, random: Random): number => below(random, Math.max(1, bytes.length))

const mutations: readonly Mutation[] = [
  // Truncated, at either end.
  (bytes, random) => bytes.subarray(0, at(bytes, random)),
  (bytes, random) => bytes.subarray(at(bytes, random)),
  // Flipped bits.
  (bytes, random) => {
    const copy = Buffer.from(bytes)
    for (let flips = 1 + below(random, 8); flips > 0 && copy.length > 0; flips--) {
      const place = at(copy, random)
      copy.writeUInt8(copy.readUInt8(place) ^ (1 << below(random, 8)), place)
    }
    return copy
  },
  // Sizes and offsets at their limits.
  (bytes, random) => {
    const copy = Buffer.from(bytes)
    const place = at(copy, random)
    if (place + 8 > copy.length) return copy
    copy.writeUInt32LE(pick(random, extremes), place)
    if (random() < 0.3) copy.writeUInt32LE(pick(random, extremes), place + 4)
    return copy
  },
  // A part removed, a part repeated, random bytes inserted.
  (bytes, random) => {
    const from = at(bytes, random)
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + below(random, 64))])
  },
  (bytes, random) => {
    const from = at(bytes, random)
    const part = bytes.subarray(from, from + below(random, 200))
    return Buffer.concat([bytes.subarray(0, from), part, part, bytes.subarray(from)])
  },
  (bytes, random) => {
    const from = at(bytes, random)
    const noise = Buffer.from(
      Array.from({ length: 1 + below(random, 16) }, () => below(random, 256)),
    )
    return Buffer.concat([bytes.subarray(0, from), noise, bytes.subarray(from)])
  },
]

function mutated(bytes: Buffer, random: Random): Buffer {
  let result = bytes
  for (let count = 1 + below(random, 3); count > 0; count--)
    result = pick(random, mutations)(result, random)
  return result
}

const archives = [
  'trainer.ckpt',
  'compiled-half.ckpt',
  'one-storage.ckpt',
  'force-zip64.ckpt',
  'os-system.ckpt',
  'compressed.ckpt',
  'parameters.ckpt',
  'bfloat16-namespace.ckpt',
  'transposed-state-dict.pt',
] as const
const headers = ['float32.safetensors', 'float16.safetensors', 'bfloat16.safetensors'] as const

interface Unpacked {
  pickle: Buffer
  storages: readonly (readonly [string, Uint8Array])[]
}

function unpack(name: string): Unpacked {
  const zip = ZipArchive.open(corpusFile(name))
  const folder = zip.names.find((entry) => entry.endsWith('data.pkl'))?.split('/')[0] ?? ''
  const read = (entry: string) => zip.read(entry, 1e6)
  const storages = zip.names
    .filter((entry) => entry.startsWith(`${folder}/data/`))
    .map((entry) => [entry.slice(folder.length + 1), read(entry)] as const)
  const pickle = Buffer.from(read(`${folder}/data.pkl`))
  zip.close()
  return { pickle, storages }
}
const unpacked = archives
  .filter((name) => name !== 'compressed.ckpt' && name !== 'trainer.ckpt')
  .map(unpack)
const scratch = asFile(new Uint8Array(0))

/** A valid archive, with correct checksums, around any pickle. */
function packed(pickle: Buffer, storages: Unpacked['storages']): Buffer {
  const zip = new ZipWriter(scratch)
  zip.add('a/data.pkl', pickle)
  for (const [name, data] of storages) zip.add(`a/${name}`, data)
  zip.finish()
  zip.close()
  return readFileSync(scratch)
}

const opcodes = Array.from(
  '}](tuabsR.Qh0125qrjNKMJGX\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x93\x94\x95Cce',
  (character) => Buffer.from(character, 'latin1'),
)
const words = [
  'ctorch\nFloatStorage\n',
  'ctorch._utils\n_rebuild_tensor_v2\n',
  'ccollections\nOrderedDict\n',
  'cargparse\nNamespace\n',
  'cos\nsystem\n',
  'c__builtin__\nset\n',
  'X\x07\x00\x00\x00storage',
  'X\x01\x00\x00\x000',
  'K\x04',
  '\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f',
  '(K\x04K\x04t',
  'h\x01',
  '\x81',
  '}(',
  'X\x0a\x00\x00\x00state_dict',
].map((text) => Buffer.from(text, 'latin1'))

/** Opcodes in random order: nested, unbalanced or self-referential. */
function randomPickle(random: Random): Buffer {
  const length = below(random, random() < 0.05 ? 20_000 : 60)
  const nesting = pick(random, ['}', ']', '(', ')', ')\x85', ']q\x00h\x00a'])
  if (random() < 0.2)
    return Buffer.from(`\x80\x02${nesting.repeat(below(random, 200_000))}.`, 'latin1')
  const parts = Array.from({ length }, () => pick(random, random() < 0.5 ? opcodes : words))
  return Buffer.concat([Buffer.from('\x80\x02', 'latin1'), ...parts, Buffer.from('.')])
}

/** A safetensors file of the corpus with a random header. */
function randomHeader(random: Random): Buffer {
  const bytes = corpusBytes(pick(random, headers))
  const length = Number(bytes.readBigUInt64LE(0))
  const text = bytes.subarray(8, 8 + length).toString()
  const numbers = ['-1', '0', '1e308', '9007199254740993', '4294967296', 'null', '"x"', '[[]]']
  const places = [...text.matchAll(/\d+|"[A-Z0-9]+"/g)]
  const place = pick(random, places)
  const header = Buffer.from(
    random() < 0.5
      ? text.slice(0, place.index) +
          pick(random, numbers) +
          text.slice(place.index + place[0].length)
      : mutated(Buffer.from(text), random).toString('latin1'),
    'latin1',
  )
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(random() < 0.05 ? pick(random, extremes) : header.length))
  return Buffer.concat([prefix, header, bytes.subarray(8 + length)])
}

/** One input of a run. */
export function checkpointInput(random: Random): Buffer {
  const kind = random()
  if (kind < 0.35) return mutated(corpusBytes(pick(random, archives)), random)
  if (kind < 0.65) {
    const { pickle, storages } = pick(random, unpacked)
    return packed(mutated(pickle, random), storages)
  }
  if (kind < 0.8) return packed(randomPickle(random), [['data/0', new Uint8Array(64)]])
  if (kind < 0.9) return mutated(corpusBytes(pick(random, headers)), random)
  if (kind < 0.99) return randomHeader(random)
  return packed(writePickle({ state_dict: {}, hyper_parameters: {} }), [])
}

/** A tokenizer.json with some of its values replaced, or its text damaged. */
export function tokenizerInput(json: object, random: Random): Buffer {
  if (random() < 0.4) return mutated(Buffer.from(JSON.stringify(json)), random)
  const values: unknown[] = [
    null,
    true,
    -1,
    1e9,
    0.5,
    '',
    'x',
    '\u0000',
    [],
    {},
    [[]],
    { type: 'BPE' },
  ]
  const replace = (value: unknown, depth: number): unknown => {
    if (random() < 0.02 * depth) return pick(random, values)
    if (Array.isArray(value)) {
      const place = below(random, value.length)
      return value.map((item: unknown, i) => (i === place ? replace(item, depth + 1) : item))
    }
    if (typeof value !== 'object' || value === null) return pick(random, values)
    const keys = Object.keys(value)
    const chosen = pick(random, keys)
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [
        random() < 0.001 ? `${key}?` : key,
        key === chosen ? replace(item, depth + 1) : (item as unknown),
      ]),
    )
  }
  return Buffer.from(JSON.stringify(replace(json, 0)))
}
