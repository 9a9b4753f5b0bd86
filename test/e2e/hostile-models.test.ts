/**
 * Model directories that are wrong on purpose: each is refused with one clear line, in bounded time and memory,
 * and the server that was asked to load it goes on.
 */
import { execFileSync } from 'node:child_process'
import {
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { BasinError } from '../../src/errors.js'
import { startEngineClient } from '../../src/generation/client/engine-client.js'
import { readConfig } from '../../src/model/config.js'
import { refuseBeyondMemory, workingBytes } from '../../src/model/memory-limit.js'
import { addKey } from '../../src/server/api-keys.js'
import { chatAbility } from '../../src/tokenizer/chat-template.js'
import { configOf } from '../support/models.js'
import { Server, writeModel, writeModels } from '../support/process.js'

vi.setConfig({ testTimeout: 120_000 })

const entry = new URL('../../dist/generation/core/worker.js', import.meta.url)
const MEBIBYTE = 2 ** 20
/** Of the processor, whatever else it computes: far more than a refusal needs, and far less than an attack would take. */
const MOST_SECONDS = 30
const MOST_MEBIBYTES = 1200

const root = mkdtempSync(join(tmpdir(), 'basin-hostile-'))
afterAll(() => {
  rmSync(root, { recursive: true })
})

const CONFIG = 'config.json'
const WEIGHTS = 'model.safetensors'
const TOKENIZER = 'tokenizer.json'

type Damage = (directory: string) => void

const write =
  (file: string, content: string | Buffer): Damage =>
  (directory) => {
    writeFileSync(join(directory, file), content)
  }

const changed =
  (file: string, change: (json: Record<string, unknown>) => object): Damage =>
  (directory) => {
    const path = join(directory, file)
    const json = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
    writeFileSync(path, JSON.stringify(change(json)))
  }

const both =
  (first: Damage, second: Damage): Damage =>
  (directory) => {
    first(directory)
    second(directory)
  }

const configured = (fields: object): Damage => changed(CONFIG, (json) => ({ ...json, ...fields }))

/** A file of this size that takes no room on the disk. */
const sparse =
  (file: string, bytes: number, head: Buffer = Buffer.alloc(0)): Damage =>
  (directory) => {
    const fd = openSync(join(directory, file), 'w')
    writeFileSync(fd, head)
    ftruncateSync(fd, bytes)
  }

const pipe =
  (file: string): Damage =>
  (directory) => {
    rmSync(join(directory, file), { force: true })
    execFileSync('mkfifo', [join(directory, file)])
  }

const device =
  (file: string): Damage =>
  (directory) => {
    rmSync(join(directory, file), { force: true })
    symlinkSync('/dev/zero', join(directory, file))
  }

/** Changes the header of the weights; the data stays. */
const header =
  (change: (json: Record<string, { data_offsets: number[]; shape: number[] }>) => object): Damage =>
  (directory) => {
    const path = join(directory, WEIGHTS)
    const file = readFileSync(path)
    const length = Number(file.readBigUInt64LE(0))
    const json = JSON.parse(file.toString('utf8', 8, 8 + length)) as Parameters<typeof change>[0]
    const text = Buffer.from(JSON.stringify(change(json)))
    const prefix = Buffer.alloc(8)
    prefix.writeBigUInt64LE(BigInt(text.length))
    writeFileSync(path, Buffer.concat([prefix, text, file.subarray(8 + length)]))
  }

/** Writes `value` over the first number of a tensor. */
const number =
  (name: string, value: number): Damage =>
  (directory) => {
    const path = join(directory, WEIGHTS)
    const file = readFileSync(path)
    const length = Number(file.readBigUInt64LE(0))
    const json = JSON.parse(file.toString('utf8', 8, 8 + length)) as Record<
      string,
      { data_offsets: number[] }
    >
    file.writeFloatLE(value, 8 + length + (json[name]?.data_offsets[0] ?? NaN))
    writeFileSync(path, file)
  }

const headerLength = (length: bigint): Buffer => {
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(length)
  return prefix
}

/** A byte-level tokenizer of Hugging Face's format with this many tokens, and these merges. */
const huggingFace =
  (tokens: number, merges: unknown): Damage =>
  (directory) => {
    const printable = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173)
    let next = 256
    const bytes = Array.from({ length: 256 }, (_, byte) =>
      String.fromCharCode(printable(byte) ? byte : next++),
    )
    const names = [...bytes]
    for (let i = 0; names.length < tokens; i++) names.push(`x${i.toString(36)}`)
    // An object of a million fields takes far longer to make than its text.
    const vocab = names.map((name, id) => `${JSON.stringify(name)}:${String(id)}`).join(',')
    const json = {
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false },
      model: { type: 'BPE', vocab: {}, merges },
    }
    const text = JSON.stringify(json).replace('"vocab":{}', () => `"vocab":{${vocab}}`)
    writeFileSync(join(directory, 'hf.json'), text)
    const descriptor = { format: 'basin-tokenizer/1', kind: 'huggingface', file: 'hf.json' }
    writeFileSync(join(directory, TOKENIZER), JSON.stringify({ ...descriptor, special: {} }))
  }

const tiktoken =
  (pattern: string, ranks: string | undefined): Damage =>
  (directory) => {
    const bytes = Array.from({ length: 256 }, (_, byte) => Buffer.of(byte).toString('base64'))
    const whole = bytes.map((token, rank) => `${token} ${rank}\n`).join('')
    writeFileSync(join(directory, 'ranks'), ranks ?? whole)
    const descriptor = { format: 'basin-tokenizer/1', kind: 'tiktoken', ranks: 'ranks', pattern }
    writeFileSync(join(directory, TOKENIZER), JSON.stringify({ ...descriptor, special: {} }))
  }

const cases: [title: string, damage: Damage, message: RegExp][] = [
  ['config.json of a billion layers', configured({ layers: 1e9 }), /layers must be <= 256/],
  ['a width beyond all integers', configured({ dim: 2 ** 60 }), /config\.json: dim/],
  ['no heads', configured({ heads: 0 }), /heads must be >= 1/],
  ['a negative context', configured({ context_length: -5 }), /context_length must be >= 1/],
  ['a number that is none', write(CONFIG, '{"layers": NaN}'), /config\.json: .*JSON/],
  ['infinity', write(CONFIG, '{"layers": 1e999}'), /config\.json: /],
  ['lists in lists in lists', write(CONFIG, '['.repeat(500_000)), /config\.json: .*JSON/],
  ['a config.json of 5 MB', write(CONFIG, ' '.repeat(5e6)), /exceeds 1048576 bytes/],
  ['a config.json of 1 TB', sparse(CONFIG, 1e12), /exceeds 1048576 bytes/],
  ['a config.json that is a pipe', pipe(CONFIG), /config\.json: it is not a regular file/],
  ['a config.json that has no end', device(CONFIG), /config\.json: it is not a regular file/],

  ['no weights', (directory) => rmSync(join(directory, WEIGHTS)), /model\.safetensors: ENOENT/],
  ['weights that are empty', write(WEIGHTS, ''), /shorter than a safetensors header/],
  ['weights that are noise', write(WEIGHTS, Buffer.alloc(5000, 0xa7)), /header of \d+ bytes/],
  ['a header of 2^64 - 1 bytes', write(WEIGHTS, headerLength(2n ** 64n - 1n)), /header of \d+/],
  ['a sparse header of 60 MB', sparse(WEIGHTS, 7e7, headerLength(60_000_000n)), /not JSON/],
  ['a pipe of weights', pipe(WEIGHTS), /model\.safetensors: it is not a regular file/],
  ['weights without end', device(WEIGHTS), /model\.safetensors: it is not a regular file/],
  [
    'a missing tensor',
    header((json) => Object.fromEntries(Object.entries(json).filter(([name]) => name !== 'alpha'))),
    /bytes belong to no tensor|gaps/,
  ],
  ['layers that are not there', configured({ layers: 200 }), /layers\.\d+\.\S+ is missing/],
  ['another width', configured({ dim: 2048, heads: 16 }), /has shape .* the configuration needs/],
  ['tensors that overlap', header((json) => ({ ...json, extra: json['alpha'] })), /overlap/],
  [
    'a shape whose product overflows',
    header((json) => ({ ...json, alpha: { ...json['alpha'], shape: Array(8).fill(2 ** 52) } })),
    /alpha: shape needs/,
  ],
  ['a weight that is not a number', number('embeddings.weight', NaN), /weight\[0\] is not finite/],
  ['a step size that is infinite', number('alpha', Infinity), /alpha\[0\] is not finite/],
  ['a weight of minus infinity', number('transformer.norm.weight', -Infinity), /not finite/],
  [
    'contexts of terabytes',
    configured({ context_length: 1_048_576, landscapes: 1024, conditioning: 'time_embed' }),
    /contexts and answers \(2 slots, \d+ pages\) need [\d.]+ GiB of memory/,
  ],
  [
    'answers of terabytes',
    (directory) => {
      configured({ vocab_size: 1_000_000, context_length: 8192 })(directory)
      changed(CONFIG, (json) => ({
        ...json,
        answer: { ...(json['answer'] as object), block: 4096, space: 'vocab', start: 'noise' },
        energy: { ...(json['energy'] as object), kind: 'head' },
      }))(directory)
    },
    /contexts and answers \(2 slots, \d+ pages\) need [\d.]+ GiB of memory/,
  ],

  ['no tokenizer', (directory) => rmSync(join(directory, TOKENIZER)), /tokenizer\.json: ENOENT/],
  ['a tokenizer of 1 TB', sparse(TOKENIZER, 1e12), /tokenizer\.json: exceeds/],
  ['a tokenizer that is a pipe', pipe(TOKENIZER), /tokenizer\.json: it is not a regular file/],
  ['a tokenizer without end', device(TOKENIZER), /tokenizer\.json: it is not a regular file/],
  ['a tokenizer in lists', write(TOKENIZER, '['.repeat(1e6)), /tokenizer\.json: .*JSON/],
  [
    'special tokens with one id',
    changed(TOKENIZER, (json) => ({ ...json, special: { a: 30, b: 30 } })),
    /special gives one id to two tokens/,
  ],
  [
    'a special token beyond the vocabulary',
    changed(TOKENIZER, (json) => ({
      ...json,
      special: { ...(json['special'] as object), '<end>': 999_999 },
    })),
    /it has 1000000 tokens, the model 28/,
  ],
  [
    'special tokens by the hundred thousand',
    changed(TOKENIZER, (json) => ({
      ...json,
      special: {
        ...(json['special'] as object),
        ...Object.fromEntries(Array.from({ length: 2e5 }, (_, i) => [`s${i}`, 1000 + i] as const)),
      },
    })),
    /tokens, the model 28|exceeds/,
  ],
  ['a million tokens', huggingFace(1_000_000, []), /it has 1000000 tokens, the model 28/],
  ['more tokens than any model has', huggingFace(1_000_100, []), /id must be an integer/],
  ['merges that make nothing', huggingFace(300, [['a', 'b']]), /merge 0 is not of two tokens/],
  ['merges of themselves', huggingFace(300, [['x0', 'x0'], 'x0 x0']), /merges has texts and pairs/],
  ['merges in a circle', huggingFace(300, ['x0 x1', 'x1 x0']), /merge 0 is not of two tokens/],
  ['ranks of 1 TB', both(tiktoken('.', ''), sparse('ranks', 1e12)), /ranks: exceeds/],
  ['ranks that are a pipe', both(tiktoken('.', ''), pipe('ranks')), /not a regular file/],
  ['ranks that are no ranks', tiktoken('.', 'x'.repeat(1e6)), /line 1 is not `base64 rank`/],
  ['a rank twice', tiktoken('.', 'AA== 0\nAQ== 0\n'), /rank 0 occurs twice/],
  ['a pattern that is none', tiktoken('((((', undefined), /pattern is not a regular expression/],
  ['brackets in brackets', tiktoken(`${'('.repeat(990)}a${')'.repeat(990)}`, undefined), /./],
  [
    'a chat template that is a pipe',
    pipe('tokenizer_config.json'),
    /tokenizer_config\.json: is not a regular file/,
  ],
  [
    'a chat template that is none',
    write('tokenizer_config.json', '{"chat_template": "{% for %}"}'),
    /chat_template is not a Jinja template/,
  ],
]

const flags = {
  engine: 'tfjs:wasm',
  threads: 1,
  slots: 2,
  maxQueue: 8,
  prefillChunk: 32,
  holdSeconds: 60,
  pauseSeconds: 60,
  watchdogSeconds: 0,
}

/** Opens a model as the server does: what its own thread reads first, and then the worker. */
async function open(directory: string): Promise<void> {
  const pages = 2 * Math.ceil(readConfig(directory).context_length / 16)
  chatAbility(directory)
  const client = await startEngineClient({ ...flags, modelPath: directory, pages }, entry)
  await client.close()
}

const resident = (): number => process.memoryUsage().rss / MEBIBYTE

let made = 0
describe('a model directory with', () => {
  it.each(cases)('%s is refused with one clear line', async (_, damage, message) => {
    const directory = writeModel(root, `model${made++}`)
    damage(directory)
    const began = process.cpuUsage()
    const before = resident()
    const error = await open(directory).then(
      () => new Error('it was opened'),
      (failure: unknown) => failure,
    )
    expect(error).toBeInstanceOf(BasinError)
    const refusal = error as BasinError
    expect(refusal.message).toMatch(message)
    expect(refusal.message).toContain(root)
    expect(refusal.message).not.toContain('\n')
    expect(refusal.message.length).toBeLessThan(500)
    expect(refusal.code).toMatch(/^invalid_(checkpoint|tokenizer)$/)
    const { system, user } = process.cpuUsage(began)
    expect((system + user) / 1e6).toBeLessThan(MOST_SECONDS)
    expect(resident() - before).toBeLessThan(MOST_MEBIBYTES)
  })
})

it('a file of weights beyond all memory is refused before its data is read', () => {
  expect(() => refuseBeyondMemory('m/model.safetensors', 'its tensors', 2 ** 40, 2 ** 33)).toThrow(
    'm/model.safetensors: its tensors need 1024.0 GiB of memory, and there are 8.0 GiB',
  )
  const small = configOf({ name: 'small', context_length: 64 })
  expect(workingBytes(small, { slots: 4, pages: 16, pageSize: 16, cachedBytes: 4 })).toBeLessThan(
    MEBIBYTE,
  )
})

describe('a running server', () => {
  it('refuses to load models that have become hostile, and answers with the others', async () => {
    const models = writeModels()
    const names = ['huge', 'torn', 'words', 'wild']
    for (const name of names) writeModel(models, name)
    const keys = join(models, 'keys.json')
    const key = addKey(keys, 'operator', true)
    const server = await Server.start(
      models,
      '--keys',
      keys,
      '--slots',
      '2',
      '--log-level',
      'silent',
    )
    const headers = { 'x-api-key': key, 'content-type': 'application/json' }
    const admin = (name: string, verb: string) =>
      fetch(`${server.url}/admin/models/${name}/${verb}`, { method: 'POST', headers })
    const complete = (model: string) =>
      fetch(`${server.url}/v1/completions`, {
        method: 'POST',
        headers,
        body: JSON.stringify({ model, prompt: 'once', max_tokens: 2, temperature: 0 }),
      })
    for (const name of names) expect((await admin(name, 'unload')).status).toBe(202)
    configured({ context_length: 1_048_576, landscapes: 1024, conditioning: 'time_embed' })(
      join(models, 'huge'),
    )
    sparse(WEIGHTS, 1e12, headerLength(2n ** 40n))(join(models, 'torn'))
    pipe(TOKENIZER)(join(models, 'words'))
    for (const name of names.slice(0, 3)) {
      expect((await admin(name, 'load')).status).toBe(500)
      expect((await complete('letters')).status).toBe(200)
    }
    // Finite weights that overflow in the first product: the answer diverges, and nothing else happens.
    number('embeddings.weight', 3e38)(join(models, 'wild'))
    number('alpha', 3e38)(join(models, 'wild'))
    expect((await admin('wild', 'load')).status).toBe(200)
    const wild = await complete('wild')
    expect(wild.status).toBe(200)
    expect(await wild.json()).toMatchObject({ refinement: { stop_reason: 'diverged' } })
    expect((await complete('letters')).status).toBe(200)
    expect((await fetch(`${server.url}/health`)).status).toBe(200)
    expect((await server.stop()).code).toBe(0)
  })
})
