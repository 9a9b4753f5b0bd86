/**
 * Training data as tokens. A batch is a pure function of (seed, update), so a resumed run sees what
 * an uninterrupted one would. Knows files and tokens; knows no tensor and no objective.
 */
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { BasinError } from '../errors.js'
import type { ModelConfig } from '../model/config.js'
import { uniform } from '../refine/random.js'
import { encodeTemplate } from '../tokenizer/template.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import type { Example } from './batch.js'
import { documentsOf, readText } from './text.js'

/** Draws of an update below this belong to its objective. */
const DATA_DRAWS = 0x80000000

/** A window of text for evaluation. */
export interface Window {
  /** [S + 1]: the first token is context only, the other S are to be predicted. */
  tokens: Int32Array
  /** Of UTF-8 text that the S tokens stand for; special tokens stand for none. */
  bytes: number
}

/** Bytes of text by token id; special tokens count none. */
function byteLengths(tokenizer: Tokenizer): Uint16Array {
  const lengths = Uint16Array.from(
    { length: tokenizer.vocabSize },
    (_, id) => tokenizer.decodeBytes([id]).length,
  )
  for (const id of tokenizer.special.values()) lengths[id] = 0
  return lengths
}

const nameOf = (tokenizer: Tokenizer, id: number): string | undefined =>
  [...tokenizer.special].find(([, other]) => other === id)?.[0]

/** The tokens of all documents of the files, each document behind the start token. */
function tokenize(paths: readonly string[], tokenizer: Tokenizer): number[][] {
  const { bos } = tokenizer
  const separator = bos === undefined ? undefined : nameOf(tokenizer, bos)
  return paths.flatMap((path) => {
    const text = readText(path)
    const documents = separator === undefined ? [text] : documentsOf(text, separator)
    return documents.map((document) => {
      const tokens = tokenizer.encode(document, { param: path })
      return bos === undefined ? tokens : [bos, ...tokens]
    })
  })
}

/**
 * Text files, tokenised once and laid end to end. Within a file, the name of the start token
 * separates documents.
 */
export class TextSource {
  readonly tokens: Uint16Array | Uint32Array
  readonly documents: number
  readonly #bytes: Uint16Array

  /** Throws `invalid_data` for a file that is not UTF-8 text. */
  constructor(
    private readonly paths: readonly string[],
    tokenizer: Tokenizer,
    private readonly seed: number,
  ) {
    const documents = tokenize(paths, tokenizer)
    const length = documents.reduce((sum, document) => sum + document.length, 0)
    this.tokens = tokenizer.vocabSize <= 65_536 ? new Uint16Array(length) : new Uint32Array(length)
    this.documents = documents.length
    this.#bytes = byteLengths(tokenizer)
    let end = 0
    for (const document of documents) {
      this.tokens.set(document, end)
      end += document.length
    }
  }

  /** UTF-8 bytes of all documents, separators left out. */
  get bytes(): number {
    return this.#bytesBetween(0, this.tokens.length)
  }

  /**
   * `rows` windows [rows, length + 1], row-major, from places drawn evenly. Throws `invalid_data`
   * where the text is shorter than a window.
   */
  batch(update: number, rows: number, length: number): Int32Array {
    const places = this.tokens.length - length
    if (places < 1) {
      throw new BasinError('invalid_data', {
        path: this.paths.join(', '),
        reason: `holds ${this.tokens.length} tokens, a window takes ${length + 1}`,
      })
    }
    const batch = new Int32Array(rows * (length + 1))
    for (let row = 0; row < rows; row++) {
      const start = Math.floor(uniform(this.seed, update, DATA_DRAWS + row) * places)
      batch.set(this.tokens.subarray(start, start + length + 1), row * (length + 1))
    }
    return batch
  }

  /**
   * Windows of `length` predicted tokens, from the first on, each token predicted once; fewer than
   * `length` at the end are left out, and are not counted in `bytes`. Bits per byte of the text are
   * the nats of all windows / (ln 2 x the bytes of all windows).
   */
  *windows(length: number): Generator<Window> {
    for (let start = 0; start + length < this.tokens.length; start += length) {
      const end = start + length + 1
      yield {
        tokens: Int32Array.from(this.tokens.subarray(start, end)),
        bytes: this.#bytesBetween(start + 1, end),
      }
    }
  }

  #bytesBetween(start: number, end: number): number {
    let sum = 0
    for (let i = start; i < end; i++) sum += this.#bytes[this.tokens[i] as number] as number
    return sum
  }
}

const Line = Type.Object({
  prompt: Type.Optional(Type.String()),
  template: Type.Optional(Type.String({ minLength: 1 })),
  completion: Type.String({ minLength: 1 }),
})
type Line = Static<typeof Line>

export interface JsonlOptions {
  tokenizer: Tokenizer
  config: ModelConfig
  seed: number
  /** Tokens that are mere names, such as a puzzle's digits: every drawn example permutes them. */
  relabel?: readonly number[]
  /** Throw `invalid_data` at the first bad line instead of leaving it out. */
  strict?: boolean
}

export interface BadLine {
  path: string
  /** 1-based. */
  line: number
  reason: string
}

const BLANK = -1

/** Throws an Error that says what is wrong with a line. */
function parseLine(text: string): Line {
  const json: unknown = JSON.parse(text)
  if (Value.Check(Line, json)) return json
  const first = Value.Errors(Line, json)[0]
  throw new Error(`${first?.instancePath.slice(1) ?? ''} ${first?.message ?? 'is invalid'}`.trim())
}

/**
 * The tokens of one line, all its blocks in one. Without a template the completion ends with the
 * start token, which ends a document. Whole blocks are filled up with it.
 */
function tokenizeLine(line: Line, { tokenizer, config }: JsonlOptions): Example {
  const { bos } = tokenizer
  const block = config.answer.block
  const start = bos === undefined ? [] : [bos]
  const context = [...start, ...tokenizer.encode(line.prompt ?? '', { param: 'prompt' })]
  const answer = tokenizer.encode(line.completion, { param: 'completion' })
  let clamped: number[]
  if (line.template === undefined) {
    answer.push(...start)
    clamped = answer.map(() => BLANK)
  } else {
    clamped = encodeTemplate(tokenizer, line.template, config.template?.blank ?? '_')
    if (clamped.length !== answer.length) {
      throw new Error(
        `template takes ${clamped.length} positions, completion ${answer.length} tokens`,
      )
    }
    const other = clamped.findIndex((token, i) => token !== BLANK && token !== answer[i])
    if (other >= 0) throw new Error(`template and completion differ in position ${other}`)
  }
  while (answer.length % block !== 0) {
    if (bos === undefined) throw new Error(`completion does not fill blocks of ${block} tokens`)
    answer.push(bos)
    clamped.push(BLANK)
  }
  const positions = context.length + answer.length
  if (positions > config.context_length) {
    throw new Error(`takes ${positions} positions, the model has ${config.context_length}`)
  }
  if (context.length === 0) throw new Error('prompt is empty, and there is no start token')
  return { context, answer, clamped }
}

/** Block `index` of a line as an answer of its own, behind all that precedes it. */
function blockOf(line: Example, index: number, block: number): Example {
  const start = index * block
  return {
    context: [...line.context, ...line.answer.slice(0, start)],
    answer: line.answer.slice(start, start + block),
    clamped: line.clamped.slice(start, start + block),
  }
}

/** JSON lines `{prompt?, template?, completion}`: examples of whole answers. */
export class JsonlSource {
  /** Lines that were left out. */
  readonly bad: readonly BadLine[]
  readonly #lines: readonly Example[]
  /** [line, block] of every example: blocks without a blank are none. */
  readonly #examples: readonly (readonly [number, number])[]

  /** Throws `invalid_data` where no line is good, or at the first bad one if `strict`. */
  constructor(
    path: string,
    private readonly options: JsonlOptions,
  ) {
    const bad: BadLine[] = []
    const lines: Example[] = []
    for (const [index, text] of readText(path).split('\n').entries()) {
      if (text.trim() === '') continue
      try {
        lines.push(tokenizeLine(parseLine(text), options))
      } catch (error) {
        bad.push({ path, line: index + 1, reason: (error as Error).message })
      }
      const [first] = bad
      if (options.strict && first) {
        throw new BasinError('invalid_data', {
          path,
          reason: `line ${first.line}: ${first.reason}`,
        })
      }
    }
    const block = options.config.answer.block
    this.bad = bad
    this.#lines = lines
    this.#examples = lines.flatMap(({ answer, clamped }, line) =>
      Array.from({ length: answer.length / block }, (_, i) => [line, i] as const).filter(([, i]) =>
        clamped.slice(i * block, (i + 1) * block).includes(BLANK),
      ),
    )
    if (this.#examples.length === 0) {
      const [first] = bad
      const reason = first ? `no good line; line ${first.line}: ${first.reason}` : 'no line'
      throw new BasinError('invalid_data', { path, reason })
    }
  }

  get length(): number {
    return this.#examples.length
  }

  /** `rows` examples of one block each, drawn evenly. */
  batch(update: number, rows: number): Example[] {
    const { seed, relabel = [] } = this.options
    return Array.from({ length: rows }, (_, row) => {
      let draws = DATA_DRAWS + row * (1 + relabel.length)
      const draw = (below: number): number => Math.floor(uniform(seed, update, draws++) * below)
      return permute(this.#example(draw(this.length)), relabel, draw)
    })
  }

  /** All examples in the order of the file, as they stand there. */
  *examples(): Generator<Example> {
    for (let index = 0; index < this.length; index++) yield this.#example(index)
  }

  #example(index: number): Example {
    const [line, block] = this.#examples[index] as readonly [number, number]
    return blockOf(this.#lines[line] as Example, block, this.options.config.answer.block)
  }
}

/** The example with the given tokens permuted among themselves. */
function permute(
  example: Example,
  names: readonly number[],
  draw: (below: number) => number,
): Example {
  if (names.length === 0) return example
  const shuffled = [...names]
  for (let i = shuffled.length - 1; i > 0; i--) {
    const j = draw(i + 1)
    const other = shuffled[j] as number
    shuffled[j] = shuffled[i] as number
    shuffled[i] = other
  }
  const renamed = new Map(names.map((token, i) => [token, shuffled[i] as number]))
  const rename = (token: number): number => renamed.get(token) ?? token
  return {
    context: example.context.map(rename),
    answer: example.answer.map(rename),
    clamped: example.clamped.map(rename),
  }
}
