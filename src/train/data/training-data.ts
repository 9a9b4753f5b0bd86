/** Opens the files of a training or an evaluation: text as windows, JSON lines as examples. */
import type { ModelConfig } from '../../model/config.js'
import type { Tokenizer } from '../../tokenizer/tokenizer.js'
import { batchOfExamples, batchOfWindows, type Batch, type Example } from './training-batch.js'
import { TextSource } from './windows.js'
import { givenDraws, withGiven, withAnswersGiven, type GivenShare } from './given-positions.js'
import { JsonlSource, type BadLine } from './jsonl.js'
import { openTokenizedText, type TokenCache } from './tokenized-text.js'
import { BasinError } from '../../errors.js'
import { uniform } from '../../refine/random.js'

export interface DataOptions {
  data: readonly string[]
  valid: readonly string[]
  /** Rows of a batch. */
  rows: number
  /** Predicted tokens in a row of text. */
  window: number
  /** Rows of validation. */
  validRows: number
  seed: number
  /** Characters, each one token, that are permuted among themselves in every example; may be empty. */
  relabel: readonly string[]
  /** Boards: rearrange every training example by a symmetry. */
  symmetries?: boolean
  strict?: boolean
  /** The share of each block's tokens that is given, in text, and besides the template in half of the examples of a training. */
  given?: GivenShare
  /** Where to keep the tokens of text files; in memory if absent. */
  tokenCache?: TokenCache
  config: ModelConfig
  tokenizer: Tokenizer
}

export interface TrainingData {
  /** Pure function of the update number. */
  batch: (update: number) => Batch
  validation: Batch[]
  /** UTF-8 bytes of text per predicted position of the validation data; 0 for JSON lines. */
  bytesPerPosition: number
  /** The first lines that were left out, and the number of all that were. */
  bad: readonly BadLine[]
  badCount: number
  describe: string
}

/** Index of the first random number of an update that chooses what is given. */
const GIVEN_DRAWS = 0xc0000000

/** Stands for an update in the draws of the first validation batch; later ones count down. */
const VALIDATION_DRAWS = 2 ** 32 - 1

const isJsonl = (path: string): boolean => path.endsWith('.jsonl')

export function openData(options: DataOptions): TrainingData {
  const kinds = new Set([...options.data, ...options.valid].map(isJsonl))
  if (kinds.size > 1)
    throw new BasinError('invalid_data', {
      path: options.data.join(),
      reason:
        'text and JSON lines cannot be mixed: name text files only, or files that end in .jsonl only',
    })
  return kinds.has(true) ? exampleData(options) : textData(options)
}

function textData(options: DataOptions): TrainingData {
  const { config, tokenizer, rows, window, seed } = options
  const open = (paths: readonly string[]) => openTokenizedText(paths, tokenizer, options.tokenCache)
  const tokens = open(options.data)
  const source = new TextSource(tokens, seed)
  const { given } = options
  const clamp = (batch: Batch, update: number): Batch =>
    given ? withGiven(batch, given, givenDraw(options, update)) : batch
  const held = first(new TextSource(open(options.valid), seed).windows(window), options.validRows)
  const bytes = held.reduce((sum, w) => sum + w.bytes, 0)
  const validation = chunks(held, rows).map((part, chunk) => {
    const windows = Int32Array.from(part.flatMap((w) => [...w.tokens]))
    return clamp(batchOfWindows(config, windows, part.length), VALIDATION_DRAWS - chunk)
  })
  return {
    batch: (update) =>
      clamp(batchOfWindows(config, source.batch(update, rows, window), rows), update),
    validation,
    // The bytes of the blanks alone are not counted.
    bytesPerPosition: given ? 0 : bytes / (held.length * window),
    bad: [],
    badCount: 0,
    describe: `${tokens.length} tokens of ${tokens.documents} documents`,
  }
}

/** Of a block: random numbers apart from those that choose the data of an update. */
const givenDraw =
  ({ config, seed }: DataOptions, update: number) =>
  (block: number, index: number): number =>
    uniform(seed, update, GIVEN_DRAWS + block * givenDraws(config.answer.block) + index)

function exampleData(options: DataOptions): TrainingData {
  const { config, given, tokenizer, rows, seed } = options
  const relabel = options.relabel.map((character) => tokenizer.encode(character)[0] as number)
  const open = (path: string) =>
    new JsonlSource(path, {
      tokenizer,
      config,
      seed,
      relabel,
      symmetries: options.symmetries ?? false,
      strict: options.strict ?? false,
    })
  const [train, valid] = [only(options.data, 'data'), only(options.valid, 'valid')].map(open) as [
    JsonlSource,
    JsonlSource,
  ]
  const held: Example[] = first(valid.examples(), options.validRows)
  return {
    batch(update) {
      const batch = batchOfExamples(config, train.batch(update, rows))
      return given ? withAnswersGiven(batch, given, givenDraw(options, update)) : batch
    },
    validation: chunks(held, rows).map((part) => batchOfExamples(config, part)),
    bytesPerPosition: 0,
    bad: [...train.bad, ...valid.bad],
    badCount: train.badCount + valid.badCount,
    describe: `${train.length} examples`,
  }
}

function first<T>(items: Iterable<T>, count: number): T[] {
  const taken: T[] = []
  for (const item of items) {
    if (taken.length === count) break
    taken.push(item)
  }
  return taken
}

function only(paths: readonly string[], param: string): string {
  const [path] = paths
  if (path === undefined || paths.length > 1)
    throw new BasinError('invalid_request', {
      param,
      reason: `takes one file of JSON lines, ${paths.length} were given`,
    })
  return path
}

const chunks = <T>(items: readonly T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    items.slice(i * size, (i + 1) * size),
  )
