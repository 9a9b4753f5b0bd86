/** The models whose steps are timed, what their answers are given, and what a step of them takes. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stepCost } from '../src/energy/cost.js'
import { type Checkpoint, openCheckpoint } from '../src/model/checkpoint.js'
import { type ModelConfig, parseConfig } from '../src/model/config.js'
import { openTokenizer } from '../src/tokenizer/tokenizer.js'
import { initialWeights } from '../src/train/initial.js'
import { sudokuTask } from '../src/train/tasks/sudoku.js'
import { BLANK, drawExamples } from '../src/train/tasks/task.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

/**
 * The published architecture with random weights, longer in context than it was trained. Its size xxs is
 * head-6-384-50277: layers, width, vocabulary.
 */
const published = (name: string, layers: number, dim: number, vocabulary: number) => ({
  format: 'basin-ebt/1',
  name,
  description: 'random weights',
  created: 0,
  vocab_size: vocabulary,
  dim,
  layers,
  heads: dim / 64,
  ffn_dim: dim,
  context_length: 2048,
  norm_eps: 1e-5,
  rope_theta: 10000,
  conditioning: 'none',
  landscapes: 1,
  steps: 2,
  answer: {
    space: 'vocab',
    block: 1,
    start: 'noise',
    start_scale: 1,
    normalize: 'every_step',
    embed: 'vocab_to_embed',
  },
  energy: { kind: 'head', direction: 'exact', doubt: 0 },
})

export interface Subject {
  checkpoint: Checkpoint
  /** Of a puzzle, by row: the tokens of its givens, -1 elsewhere. */
  givens?: (row: number) => number[]
}

/** A model by its directory, or the published architecture by its sizes. */
export function subjectOf(name: string): Subject {
  const sizes = /^head-(\d+)-(\d+)-(\d+)$/.exec(name)?.slice(1).map(Number)
  if (sizes) {
    const [layers, dim, vocabulary] = sizes as [number, number, number]
    const config = parseConfig(published(name, layers, dim, vocabulary), 'bench')
    return { checkpoint: { config, tensors: initialWeights(config, 1, 0.5) } }
  }
  const directory = existsSync(name) ? name : join(root, 'models', name)
  const checkpoint = openCheckpoint(directory)
  const length = checkpoint.config.template?.length
  const size = ([4, 6, 9] as const).find((each) => each * each === length)
  if (!size) return { checkpoint }
  const range = { min: Math.round(0.22 * size * size), max: Math.round(0.53 * size * size) }
  const drawn = drawExamples(sudokuTask({ size, givens: range }), { count: 64, seed: 1 })
  const tokenizer = openTokenizer(directory)
  const puzzles = [...drawn].map(({ template }) =>
    Array.from(template, (cell) => (cell === BLANK ? -1 : (tokenizer.encode(cell)[0] ?? -1))),
  )
  return { checkpoint, givens: (row) => puzzles[row % puzzles.length] as number[] }
}

export const clampedOf = ({ givens }: Subject, batch: number): number =>
  givens
    ? Array.from({ length: batch }, (_, row) => givens(row).filter((t) => t >= 0).length).reduce(
        (sum, n) => sum + n,
        0,
      )
    : 0

/**
 * Operations of one step of `batch` answers, multiply-adds counted twice, without those that clamped
 * positions spare where no gradient follows: q, k and v of the first layer, all behind the keys and values of the
 * last but its q, and the read-out.
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
