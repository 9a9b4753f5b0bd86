/**
 * JSON lines `{prompt?, template?, completion}` as examples of whole answers. Only the location of each
 * example in its file is kept in memory, 16 bytes each; a line is read and tokenised when it is drawn.
 */
import { openSync } from 'node:fs'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { BasinError } from '../../errors.js'
import type { ModelConfig } from '../../model/config.js'
import { uniform } from '../../refine/random.js'
import { encodeTemplateOf } from '../../tokenizer/answer-template.js'
import type { Tokenizer } from '../../tokenizer/tokenizer.js'
import type { Example } from './training-batch.js'
import { boardSymmetry, hasSymmetries, symmetryDraws } from './symmetries.js'
import { DATA_DRAWS } from './windows.js'
import { readBytes, readLines } from './text-files.js'

const Line = Type.Object({
  prompt: Type.Optional(Type.String()),
  template: Type.Optional(Type.String({ minLength: 1 })),
  completion: Type.String({ minLength: 1 }),
})
/** Any further number of a line is a figure of its difficulty. */
type Line = Static<typeof Line> & { readonly [fact: string]: unknown }

export interface JsonlOptions {
  tokenizer: Tokenizer
  config: ModelConfig
  seed: number
  /** Tokens that are interchangeable, such as a puzzle's digits: each drawn example permutes them. */
  relabel?: readonly number[]
  /** Answers are sudoku boards: every drawn example is rearranged by one of their symmetries. */
  symmetries?: boolean
  /** Throws `invalid_data` at the first bad line in place of leaving it out. */
  strict?: boolean
}

export interface BadLine {
  path: string
  /** 1-based. */
  line: number
  reason: string
}

const UNKNOWN_TOKEN = -1

/** Throws an Error that says what is wrong with a line. */
function parseLine(text: string): Line {
  const json: unknown = JSON.parse(text)
  if (Value.Check(Line, json)) return json
  const first = Value.Errors(Line, json)[0]
  throw new Error(`${first?.instancePath.slice(1) ?? ''} ${first?.message ?? 'is invalid'}`.trim())
}

/**
 * The tokens of one line, with all blocks of its answer. Without a template the completion is followed
 * by the start token, which ends a document. The last block is filled up with start tokens.
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
    clamped = answer.map(() => UNKNOWN_TOKEN)
  } else {
    clamped = encodeTemplateOf(config, tokenizer, line.template)
    if (clamped.length !== answer.length) {
      throw new Error(
        `template takes ${clamped.length} positions, completion ${answer.length} tokens`,
      )
    }
    const other = clamped.findIndex((token, i) => token !== UNKNOWN_TOKEN && token !== answer[i])
    if (other >= 0) throw new Error(`template and completion differ in position ${other}`)
  }
  while (answer.length % block !== 0) {
    if (bos === undefined) throw new Error(`completion does not fill blocks of ${block} tokens`)
    answer.push(bos)
    clamped.push(UNKNOWN_TOKEN)
  }
  const positions = context.length + answer.length
  if (positions > config.context_length) {
    throw new Error(`takes ${positions} positions, the model has ${config.context_length}`)
  }
  if (context.length === 0) throw new Error('prompt is empty, and there is no start token')
  return { context, answer, clamped, ...factsOf(line) }
}

function factsOf(line: Line): Pick<Example, 'facts'> {
  const numbers = Object.entries(line).filter(
    (entry): entry is [string, number] => typeof entry[1] === 'number',
  )
  return numbers.length === 0 ? {} : { facts: Object.fromEntries(numbers) }
}

/** Block `index` of a line as an answer of its own; all that precedes it is its context. */
function blockOf(line: Example, index: number, block: number): Example {
  const start = index * block
  return {
    context: [...line.context, ...line.answer.slice(0, start)],
    answer: line.answer.slice(start, start + block),
    clamped: line.clamped.slice(start, start + block),
    ...(line.facts && { facts: line.facts }),
  }
}

/** The bytes of the line that an example is in, and which block of the line's answer it is. */
interface ExampleLocation {
  offset: number
  bytes: number
  block: number
}

/** Locations in typed arrays that double in size when they are full. */
class ExampleLocations {
  length = 0
  #offsets = new Float64Array(1024)
  #bytes = new Uint32Array(1024)
  #blocks = new Uint32Array(1024)

  add({ offset, bytes, block }: ExampleLocation): void {
    if (this.length === this.#offsets.length) this.#grow()
    this.#offsets[this.length] = offset
    this.#bytes[this.length] = bytes
    this.#blocks[this.length++] = block
  }

  at(index: number): ExampleLocation {
    return {
      offset: this.#offsets[index] as number,
      bytes: this.#bytes[index] as number,
      block: this.#blocks[index] as number,
    }
  }

  #grow(): void {
    const size = 2 * this.length
    const [offsets, bytes, blocks] = [this.#offsets, this.#bytes, this.#blocks]
    ;(this.#offsets = new Float64Array(size)).set(offsets)
    ;(this.#bytes = new Uint32Array(size)).set(bytes)
    ;(this.#blocks = new Uint32Array(size)).set(blocks)
  }
}

/** So many bad lines are kept with their reasons; further ones are only counted. */
const MAX_KEPT_BAD_LINES = 1000

export class JsonlSource {
  /** The first lines that were left out, and the number of all that were. */
  readonly bad: readonly BadLine[]
  readonly badCount: number
  readonly #places = new ExampleLocations()
  /** File descriptor, open until the process ends: lines are read when they are drawn. */
  readonly #fd: number

  /** Throws `invalid_data` if no line is good or, if `strict`, at the first bad line. */
  constructor(
    private readonly path: string,
    private readonly options: JsonlOptions,
  ) {
    const { block } = options.config.answer
    if (options.symmetries && !hasSymmetries(block))
      throw new BasinError('invalid_request', {
        param: 'symmetries',
        reason: `a board has 16, 36 or 81 cells, and this model's answers have ${block} positions`,
      })
    const bad: BadLine[] = []
    let badCount = 0
    for (const { number, offset, bytes, text } of readLines(path)) {
      if (text.trim() === '') continue
      try {
        const line = tokenizeLine(parseLine(text), options)
        for (const index of blanksOf(line, block)) this.#places.add({ offset, bytes, block: index })
      } catch (error) {
        const reason = (error as Error).message
        if (options.strict)
          throw new BasinError('invalid_data', { path, reason: `line ${number}: ${reason}` })
        badCount++
        if (bad.length < MAX_KEPT_BAD_LINES) bad.push({ path, line: number, reason })
      }
    }
    this.bad = bad
    this.badCount = badCount
    if (this.length === 0) {
      const [first] = bad
      const reason = first ? `no good line; line ${first.line}: ${first.reason}` : 'no line'
      throw new BasinError('invalid_data', { path, reason })
    }
    this.#fd = openSync(path, 'r')
  }

  get length(): number {
    return this.#places.length
  }

  /** Draws `rows` examples of one block each, all with equal probability. */
  batch(update: number, rows: number): Example[] {
    const { seed, relabel = [], symmetries = false, config } = this.options
    const cells = config.answer.block
    const drawsOfRow = 1 + relabel.length + (symmetries ? symmetryDraws(cells) : 0)
    return Array.from({ length: rows }, (_, row) => {
      let draws = DATA_DRAWS + row * drawsOfRow
      const draw = (below: number): number => Math.floor(uniform(seed, update, draws++) * below)
      const renamed = permute(this.#example(draw(this.length)), relabel, draw)
      return symmetries ? rearrange(renamed, boardSymmetry(cells, draw)) : renamed
    })
  }

  /** All examples in the order of the file, without relabelling. */
  *examples(): Generator<Example> {
    for (let index = 0; index < this.length; index++) yield this.#example(index)
  }

  #example(index: number): Example {
    const { offset, bytes, block } = this.#places.at(index)
    const text = new TextDecoder().decode(readBytes(this.#fd, offset, bytes, this.path))
    const line = tokenizeLine(parseLine(text), this.options)
    return blockOf(line, block, this.options.config.answer.block)
  }
}

/** The indices of a line's blocks in which a token is to be inferred. */
const blanksOf = ({ answer, clamped }: Example, block: number): number[] =>
  Array.from({ length: answer.length / block }, (_, i) => i).filter((i) =>
    clamped.slice(i * block, (i + 1) * block).includes(UNKNOWN_TOKEN),
  )

/** The example with its answer's positions in another order. */
const rearrange = (example: Example, order: readonly number[]): Example => ({
  ...example,
  answer: order.map((cell) => example.answer[cell] as number),
  clamped: order.map((cell) => example.clamped[cell] as number),
})

/** The example with the given tokens permuted among themselves. */
/** The example with the tokens `names` permuted among themselves. */
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
    ...(example.facts && { facts: example.facts }),
  }
}
