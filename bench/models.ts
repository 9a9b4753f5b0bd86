/** The models that benchmarks compute with, the data of their answers, and the operations of a step. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stepCost } from '../src/energy/cost.js'
import { type Checkpoint, openCheckpoint } from '../src/model/checkpoint.js'
import { type ModelConfig, parseConfig } from '../src/model/config.js'
import { openTokenizer } from '../src/tokenizer/tokenizer.js'
import { initialWeights } from '../src/train/initial-weights.js'
import { type NumberType, numberTypes } from '../src/energy/native/options.js'
import { additionTask } from '../src/train/tasks/addition.js'
import { sudokuTask } from '../src/train/tasks/sudoku.js'
import { BLANK, drawExamples, type Task } from '../src/train/tasks/task.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Answers of the published architecture: one position in vocabulary space. */
export const publishedAnswer = {
  space: 'vocab',
  block: 1,
  start: 'noise',
  start_scale: 1,
  normalize: 'every_step',
  embed: 'vocab_to_embed',
} as const

export const publishedEnergy = { kind: 'head', direction: 'exact', doubt: 0 } as const

/** The published architecture of size xxs with random weights; its context is longer than as published. */
export const published = {
  format: 'basin-ebt/1',
  name: 'head-6-384-50277',
  description: 'random weights',
  created: 0,
  vocab_size: 50277,
  dim: 384,
  layers: 6,
  heads: 6,
  ffn_dim: 384,
  context_length: 2048,
  norm_eps: 1e-5,
  rope_theta: 10000,
  conditioning: 'none',
  landscapes: 1,
  steps: 2,
  answer: publishedAnswer,
  energy: publishedEnergy,
}

export interface Subject {
  checkpoint: Checkpoint
  /** The puzzle of a row: the tokens of its givens, -1 elsewhere. Absent for models of text. */
  givens?: (row: number) => number[]
  /** The tokens of the only right answer of a row, where there are givens. */
  solution?: (row: number) => number[]
}

/** The published architecture of other sizes, by a name such as head-12-768-50277: layers, width, vocabulary. */
function publishedOfSize(name: string): typeof published | undefined {
  const [layers, dim, vocabulary] =
    /^head-(\d+)-(\d+)-(\d+)$/.exec(name)?.slice(1).map(Number) ?? []
  if (layers === undefined || dim === undefined || vocabulary === undefined) return undefined
  const heads = dim / 64
  return { ...published, name, layers, dim, heads, ffn_dim: dim, vocab_size: vocabulary }
}

/** Throws an error that lists the types where there is no such one. */
export function numberTypeOf(name: string): NumberType {
  const type = numberTypes.find((each) => each === name)
  if (type) return type
  throw new Error(`there is no number type ${name}; there are ${numberTypes.join(', ')}`)
}

/** The task whose answers fill a template, drawn as widely as a shipped model was trained. */
function taskOf({ template }: ModelConfig): Task | undefined {
  if (template?.length === undefined) return undefined
  const size = ([4, 6, 9] as const).find((each) => each * each === template.length)
  if (!size) {
    const width = (template.length - 3) / 3
    return additionTask({ digits: { min: 1, max: width }, width })
  }
  const cells = size * size
  return sudokuTask({
    size,
    givens: { min: Math.round(0.22 * cells), max: Math.round(0.53 * cells) },
  })
}

/**
 * A model by its directory or the name of a shipped one, or the published architecture by its sizes. `count`: puzzles
 * that are drawn; more rows get them again.
 */
export function subjectOf(name: string, count = 64): Subject {
  const sized = publishedOfSize(name)
  if (sized) {
    const config = parseConfig(sized, 'bench')
    return { checkpoint: { config, tensors: initialWeights(config, 1, 0.5) } }
  }
  const directory = existsSync(name) ? name : join(root, 'models', name)
  const checkpoint = openCheckpoint(directory)
  const task = taskOf(checkpoint.config)
  if (!task) return { checkpoint }
  const drawn = drawExamples(task, { count, seed: 1 })
  const tokenizer = openTokenizer(directory)
  const tokensOf = (text: string): number[] =>
    Array.from(text, (cell) => (cell === BLANK ? -1 : (tokenizer.encode(cell)[0] ?? -1)))
  const puzzles = [...drawn].map(({ template, completion }) => ({
    givens: tokensOf(template),
    solution: tokensOf(completion),
  }))
  const puzzleOf = (row: number): (typeof puzzles)[number] =>
    puzzles[row % puzzles.length] as (typeof puzzles)[number]
  return {
    checkpoint,
    givens: (row) => puzzleOf(row).givens,
    solution: (row) => puzzleOf(row).solution,
  }
}

/** The number of clamped positions in a batch. */
export const clampedOf = ({ givens }: Subject, batch: number): number =>
  givens
    ? Array.from({ length: batch }, (_, row) => givens(row).filter((t) => t >= 0).length).reduce(
        (sum, n) => sum + n,
        0,
      )
    : 0

/**
 * Operations of one step of `batch` answers; a multiply-add is two. Operations that clamped positions make
 * unnecessary are not counted. Along the amortized direction, which needs no gradient, these are q, k and v
 * of the first layer, everything after the keys and values of the last layer and its q, and the read-out.
 */
export function operationsOf(
  config: ModelConfig,
  context: number,
  batch: number,
  clamped: number,
): number {
  const { dim, ffn_dim: ffn, vocab_size: vocab, answer, energy } = config
  const all = batch * stepCost(config, context).flops
  if (energy.kind !== 'residual' || energy.direction !== 'amortized') return all
  const first = 3 * dim * dim
  const last = dim * dim + 3 * dim * ffn + 2 * dim * (context + answer.block)
  return all - 2 * clamped * (first + last + dim * dim + vocab * dim)
}
