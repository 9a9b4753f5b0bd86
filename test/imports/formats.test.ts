/** The file formats of checkpoints that are supported, and those that are refused. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { deflateRawSync } from 'node:zlib'
import { beforeAll, describe, expect, it } from 'vitest'
import { BasinError } from '../../src/errors.js'
import { TensorEntry, writePickle, type Picklable } from '../../src/model/export/pickle-writer.js'
import { ZipWriter } from '../../src/model/export/zip-writer.js'
import type { Hyperparameters } from '../../src/model/import/hyperparameters.js'
import { ZipArchive } from '../../src/model/import/zip-reader.js'
import { asFile, corpusBytes, corpusFile, importAll, settings } from './corpus.js'

/** The message of the BasinError that `act` throws. */
function refusal(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    if (error instanceof BasinError && error.code === 'invalid_checkpoint') return error.message
    throw error
  }
  throw new Error('nothing was refused')
}

const same = [
  'trainer.ckpt',
  'compiled-half.ckpt',
  'bfloat16-namespace.ckpt',
  'one-storage.ckpt',
  'parameters.ckpt',
  'transposed-state-dict.pt',
  'force-zip64.ckpt',
  'float32.safetensors',
  'float16.safetensors',
  'bfloat16.safetensors',
]
const bare = (file: string) => !file.endsWith('.ckpt')

describe('one model in many files', () => {
  const model = importAll(corpusFile('trainer.ckpt'))

  it('has the sizes that its settings give', () => {
    expect(model.config).toMatchObject({
      conditioning: 'adaln',
      vocab_size: 17,
      ffn_dim: 12,
      landscapes: 2,
      steps: 3,
      context_length: 16,
    })
    expect(model.tensors.get('langevin_dynamics_noise_std')).toEqual(Float32Array.of(0.5))
  })

  it.each(same)('%s', (file) => {
    expect(importAll(corpusFile(file), bare(file) ? settings : undefined)).toEqual(model)
  })

  it('asks for the settings that a bare file lacks', () => {
    expect(refusal(() => importAll(corpusFile('float32.safetensors')))).toMatch(
      /lacks multiheaded_attention_heads; give it with --hparams/,
    )
  })
})

describe('what is not supported', () => {
  const ckpt = corpusFile('trainer.ckpt')
  const changed: [RegExp, Hyperparameters][] = [
    [/modality "VID" is not supported; supported: NLP/, { modality: 'VID' }],
    [/model_name "baseline_transformer"/, { model_name: 'baseline_transformer' }],
    [/learnable_process_memory true is not supported/, { learnable_process_memory: true }],
    [/num_modality_processing_mlp_layers 2/, { num_modality_processing_mlp_layers: 2 }],
    [/clamp_futures_grad true/, { clamp_futures_grad: true }],
    [/absolute_clamp 5/, { absolute_clamp: 5 }],
    [/sharpen_predicted_distribution 0.5/, { sharpen_predicted_distribution: 0.5 }],
    [
      /denoising_initial_condition "most_recent/,
      { denoising_initial_condition: 'most_recent_embedding' },
    ],
    [
      /without normalize_initial_condition/,
      { vocab_to_embed_uses_prob_dist: true, normalize_initial_condition: false },
    ],
    [/ebt_type is default, but the tensors are those of adaln/, { ebt_type: 'default' }],
    [/ebt_type "other" is not supported; supported: default/, { ebt_type: 'other' }],
    [/mcmc_num_steps is 3, but there are 2/, { mcmc_num_steps: 3 }],
    [/embedding_dim is 16, the tensors have 8/, { embedding_dim: 16 }],
    [/context_length must be an integer/, { context_length: 1.5 }],
    [/multiheaded_attention_heads must be a number/, { multiheaded_attention_heads: '2' }],
    [/dim must be a multiple of heads/, { multiheaded_attention_heads: 3 }],
    [/normalize_initial_condition must be true or false/, { normalize_initial_condition: 1 }],
  ]
  it.each(changed)('%s', (reason, settings) => {
    expect(refusal(() => importAll(ckpt, settings))).toMatch(reason)
  })

  it.each([
    ['attention_norm.alpha', /ebt_norm dyt/],
    ['attention_norm.bias', /ebt_norm layer/],
    ['attention_norm.backward_rms.weight', /ebm_backwards_norm/],
    ['attention.w_query.weight', /belongs to no EBT/],
  ])('a tensor %s', (name, reason) => {
    const path = safetensorsWith(`transformer.layers.0.${name}`)
    expect(refusal(() => importAll(path, settings))).toMatch(reason)
  })

  it('ebt_norm and ebt_act_func are checked only where the reference reads them', () => {
    const timed = join(new URL('../golden/time_embed', import.meta.url).pathname, 'model.ckpt')
    expect(refusal(() => importAll(timed, { ebt_norm: 'dyt' }))).toMatch(/ebt_norm "dyt"/)
    expect(refusal(() => importAll(timed, { ebt_act_func: 'gelu' }))).toMatch(/ebt_act_func "gelu"/)
    expect(importAll(ckpt, { ebt_norm: 'dyt' }).config.conditioning).toBe('adaln')
  })
})

const plain = { ...settings, ebt_type: 'default' }

/** A bare state dict with the given tensors, all zeros. */
function archive(shapes: Readonly<Record<string, number[]>>, root?: Picklable): string {
  const path = asFile(new Uint8Array(0))
  const zip = new ZipWriter(path)
  const entries = Object.entries(shapes)
  const state = Object.fromEntries(
    entries.map(([name, shape], i) => [name, new TensorEntry(String(i), shape)]),
  )
  zip.add('a/data.pkl', writePickle(root ?? state))
  entries.forEach(([, shape], i) => {
    zip.add(`a/data/${i}`, new Uint8Array(4 * shape.reduce((a, b) => a * b, 1)))
  })
  zip.finish()
  zip.close()
  return path
}

/** The corpus's float32 file with one further tensor. */
function safetensorsWith(name: string): string {
  const bytes = corpusBytes('float32.safetensors')
  const length = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<string, unknown>
  const end = bytes.length - 8 - length
  const json = JSON.stringify({
    ...header,
    [name]: { dtype: 'F32', shape: [1], data_offsets: [end, end + 4] },
  })
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(Buffer.byteLength(json)))
  return asFile(
    Buffer.concat([prefix, Buffer.from(json), bytes.subarray(8 + length), Buffer.alloc(4)]),
  )
}

describe('files that are not checkpoints', () => {
  it.each([
    ['legacy.ckpt', /bare pickle \(torch before 1.6\)/],
    ['bare.pkl', /bare pickle/],
    ['compressed.ckpt', /"compiled-half\/data.pkl" is compressed/],
    ['README.md', /neither a checkpoint of torch \(a zip archive\) nor safetensors/],
    ['nothing', /ENOENT/],
    ['', /EISDIR/],
  ])('%s', (file, reason) => {
    expect(refusal(() => importAll(corpusFile(file)))).toMatch(reason)
  })

  it('refuses a zip bomb without inflating anything', () => {
    const bytes = deflateRawSync(new Uint8Array(64 * 1024 * 1024))
    const path = asFile(new Uint8Array(0))
    const zip = new ZipWriter(path)
    zip.add('archive/data.pkl', bytes)
    zip.finish()
    zip.close()
    const raw = readFileSync(path)
    const central = raw.lastIndexOf(Buffer.from('PK\x01\x02', 'latin1'))
    raw.writeUInt16LE(8, central + 10)
    raw.writeUInt32LE(64 * 1024 * 1024, central + 24)
    expect(refusal(() => importAll(asFile(raw)))).toMatch(/is compressed/)
  })

  it('refuses a TorchScript program, a big-endian file and a dict without tensors', () => {
    const path = asFile(new Uint8Array(0))
    const write = (entries: Readonly<Record<string, Uint8Array>>) => {
      const zip = new ZipWriter(path)
      for (const [name, data] of Object.entries(entries)) zip.add(name, data)
      zip.finish()
      zip.close()
      return refusal(() => importAll(path))
    }
    const pickle = writePickle({ a: 1 })
    expect(write({ 'a/data.pkl': pickle, 'a/constants.pkl': pickle })).toMatch(/TorchScript/)
    expect(write({ 'a/data.pkl': pickle, 'a/byteorder': Buffer.from('big') })).toMatch(/"big"/)
    expect(write({ 'a/data.pkl': pickle })).toMatch(/has no embeddings.weight/)
    expect(write({ 'a/data.pkl': writePickle([1]) })).toMatch(/holds no dict/)
    expect(write({ 'a/readme': pickle })).toMatch(/has 0 entries data.pkl/)
    expect(write({ 'a/data.pkl': pickle, 'b/data.pkl': pickle })).toMatch(/has 2 entries/)
    expect(write({ 'a/data.pkl': pickle, 'a/x': pickle, 'a/y': pickle })).toMatch(/embeddings/)
  })
})

describe('pickles that would run code in Python', () => {
  const marker = '/tmp/basin-executed'
  beforeAll(() => {
    expect(existsSync(marker)).toBe(false)
  })

  it.each([
    ['os-system.ckpt', /global "posix.system" is not allowed; nothing was run/],
    ['eval.ckpt', /global "__builtin__.eval" is not allowed/],
    ['popen.ckpt', /global "commands.Popen" is not allowed/],
  ])('%s', (file, reason) => {
    expect(refusal(() => importAll(corpusFile(file)))).toMatch(reason)
    expect(existsSync(marker)).toBe(false)
  })

  const withPickle = (pickle: string): string => {
    const path = asFile(new Uint8Array(0))
    const zip = new ZipWriter(path)
    zip.add('a/data.pkl', Buffer.from(pickle, 'latin1'))
    zip.finish()
    zip.close()
    return refusal(() => importAll(path))
  }
  it.each<[RegExp, string]>([
    [/byte 0x53/, '(S"x"\nios\nsystem\n.'],
    [/opcode INST is not allowed/, '(ios\nsystem\n.'],
    [/opcode OBJ is not allowed/, '\x80\x02(o.'],
    [/opcode EXT1/, '\x80\x02\x82\x01.'],
    [/"posix.system" is not allowed/, '\x80\x04\x8c\x05posix\x8c\x06system\x93.'],
    [/"torch.load" is not allowed/, '\x80\x02ctorch\nload\n.'],
    [/without a tuple/, '\x80\x02c__builtin__\nset\nX\x01\x00\x00\x00aR.'],
    [/calls what is not a global/, '\x80\x02}X\x01\x00\x00\x00a(tR.'],
    [
      /is called with what it does not take/,
      '\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01tR.',
    ],
    [/sets attributes on what has none/, '\x80\x02]]b.'],
    [/appends to what is no list/, '\x80\x02K\x01K\x02a.'],
    [/memo 5 is empty/, '\x80\x02h\x05.'],
    [/has no mark/, '\x80\x02t.'],
    [/empty stack/, '\x80\x02.'],
    [/protocol 9/, '\x80\x09.'],
    [/text of 2147483647 bytes/, '\x80\x02X\xff\xff\xff\x7fa.'],
    [/cut short/, '\x80\x02X\x10\x00\x00\x00a.'],
    [/not UTF-8/, '\x80\x02X\x01\x00\x00\x00\xff.'],
    [/line without an end/, `\x80\x02c${'a'.repeat(600)}\n.`],
    [/more than 500000 operations/, `\x80\x02${'}'.repeat(600_000)}.`],
    [/persistent id of no storage/, '\x80\x02(X\x07\x00\x00\x00storageK\x01tQ.'],
  ])('are refused with %s', (reason, pickle) => {
    expect(withPickle(pickle)).toMatch(reason)
  })
})

describe('tensors that contradict their description', () => {
  const entry = 'archive/data/2'
  it('a damaged storage is refused', () => {
    const bytes = corpusBytes('one-storage.ckpt')
    const at = bytes.indexOf('data/0') + 400
    bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
    expect(refusal(() => importAll(asFile(bytes)))).toMatch(/checksum does not match/)
  })

  it('many views of one storage are refused', () => {
    const path = asFile(new Uint8Array(0))
    const zip = new ZipWriter(path)
    const shared = (shape: number[]) => new TensorEntry('0', shape)
    const shapes = {
      'embeddings.weight': [64, 64],
      'transformer.layers.0.feed_forward.w1.weight': [64, 64],
    }
    const state = Object.fromEntries(
      [
        ...Object.entries(shapes),
        ...['wq', 'wk', 'wv', 'wo'].map((w) => [
          `transformer.layers.0.attention.${w}.weight`,
          [64, 64],
        ]),
        ['transformer.layers.0.attention_norm.weight', [64]],
        ['transformer.layers.0.ffn_norm.weight', [64]],
        ['alpha', []],
      ].map(([name, shape]) => [name as string, shared(shape as number[])]),
    )
    zip.add('a/data.pkl', writePickle(state))
    zip.add('a/data/0', new Uint8Array(4 * 64 * 64))
    zip.finish()
    zip.close()
    expect(
      refusal(() => importAll(path, { ...plain, embedding_dim: 64, num_transformer_blocks: 1 })),
    ).toMatch(/share storages/)
  })

  it('a tensor beyond its storage and numbers that are not finite are refused', () => {
    const path = archive({ 'embeddings.weight': [17, 8] })
    const zip = ZipArchive.open(path)
    expect(zip.size('a/data/0')).toBe(4 * 17 * 8)
    expect(() => zip.readRange('a/data/0', 4 * 17 * 8 - 1, 2)).toThrow(/are needed/)
    expect(() => zip.read(entry, 10)).toThrow(/missing/)
    expect(() => zip.read('a/data/0', 10)).toThrow(/10 are allowed/)
    zip.close()
    const bytes = corpusBytes('float32.safetensors')
    bytes.writeFloatLE(NaN, bytes.length - 4)
    expect(refusal(() => importAll(asFile(bytes), settings))).toMatch(/\[\d+\] is not finite/)
  })
})
