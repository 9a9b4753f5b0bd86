/**
 * What do bf16 and int8 weights and context caches cost? For answers that settle in the model's own number of steps,
 * compares their energies with those of float32 in the same run, and counts how often the most probable
 * token is the same and, where a task has one right answer, how many answers are right.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { loadAddon } from '../src/energy/native/addon.js'
import { nativeEngine } from '../src/energy/native/engine.js'
import { nativePageSize, type NumberType } from '../src/energy/native/options.js'
import type { Checkpoint } from '../src/model/checkpoint.js'
import { landscapeOf, type ModelConfig } from '../src/model/config.js'
import { openTokenizer, type Tokenizer } from '../src/tokenizer/tokenizer.js'
import './addon.js'
import { listOf, numberOf, readFlags } from './command.js'
import { describeMachine, measureMachine } from './machine.js'
import { type Subject, subjectOf } from './models.js'
import { shippedModels } from './server.js'

const NAME = 'native-weights'
const flags = readFlags(
  NAME,
  'Compares energies and tokens of bf16 and int8 weights and context caches with float32.',
  {
    models: {
      default: 'sudoku6,sudoku6-exact,sudoku9,addition,stories',
      help: 'names of shipped models',
    },
    answers: { default: '256', help: 'answers of each model' },
    steps: { default: '0', help: "steps of each answer; 0: the model's own number" },
    threads: { default: '2', help: 'threads of the engine' },
  },
)
const answers = numberOf(NAME, 'answers', flags.answers, 1)
const threads = numberOf(NAME, 'threads', flags.threads, 1)
const stepsOf = ({ steps }: ModelConfig): number => numberOf(NAME, 'steps', flags.steps) || steps
const BATCH = 32
const PROMPT =
  'Once upon a time, there was a little girl who loved to play in the garden. One day she found a small box ' +
  'under the big tree. She was very happy and ran to her mom. "Look what I found!" she said. Her mom smiled and ' +
  'they opened the box together. Inside there was an old toy train. The little girl wanted to share it with her friend.'

/** An answer to settle. */
interface Case {
  context: number[]
  /** Given tokens of a puzzle, -1 for a blank; absent for text. */
  clamped?: number[]
  /** The only right answer of a puzzle. */
  solution?: number[]
}

function casesOf(subject: Subject, tokenizer: Tokenizer): Case[] {
  const { givens, solution } = subject
  const { config } = subject.checkpoint
  // As in a server.
  const start = tokenizer.bos === undefined ? [] : [tokenizer.bos]
  if (givens && solution)
    return Array.from({ length: answers }, (_, i) => ({
      context: start,
      clamped: givens(i),
      solution: solution(i),
    }))
  if (config.template)
    throw new Error(`${config.name} fills templates of a task that is not drawn here`)
  const tokens = tokenizer.encode(PROMPT)
  const longest = tokens.length - 8
  return Array.from({ length: answers }, (_, i) => ({
    context: [...start, ...tokens.slice(0, 8 + (i % longest))],
  }))
}

/** The answer of lowest energy, as a server gives it. */
interface Settled {
  energy: number
  /** The most probable token of each position. */
  tokens: ArrayLike<number>
}

function settle(
  checkpoint: Checkpoint,
  [weights, cacheType]: readonly [NumberType, NumberType],
  cases: readonly Case[],
): Settled[] {
  const { config } = checkpoint
  const pagesPerRow = Math.ceil(config.context_length / nativePageSize)
  const engine = nativeEngine(checkpoint, loadAddon(), {
    capacity: { slots: BATCH, contexts: BATCH, pages: BATCH * pagesPerRow },
    threads,
    weights,
    cacheType,
    reason: 'benchmark',
  })
  const settled: Settled[] = []
  for (let from = 0; from < cases.length; from += BATCH) {
    const part = cases.slice(from, from + BATCH)
    part.forEach(({ context, clamped }, i) => {
      const pages = Array.from({ length: pagesPerRow }, (_, page) => i * pagesPerRow + page)
      engine.observe([{ contextId: i, tokens: context, pages }])
      engine.begin([
        { slot: i, contextId: i, seed: from + i, candidate: 0, ...(clamped && { clamped }) },
      ])
    })
    const lowest = part.map(() => Infinity)
    for (let step = 0; step < stepsOf(config); step++) {
      const landscape = landscapeOf(config, step)
      const rows = part.map((_, slot) => ({ slot, landscape, noise: 0, step }))
      engine.descend(rows).forEach(({ energy }, i) => {
        lowest[i] = Math.min(lowest[i] as number, energy)
      })
    }
    engine
      .read(part.map((_, slot) => ({ slot, which: 'best', top: 1 })))
      .forEach(({ tokens }, i) => {
        settled.push({ energy: lowest[i] as number, tokens })
        engine.release(i)
      })
  }
  engine.close()
  return settled
}

const isClamped = ({ clamped }: Case, position: number): boolean => (clamped?.[position] ?? -1) >= 0

/** How many of the answers are right at their blanks, as text; empty where the task has no right ones. */
function rightOf(cases: readonly Case[], settled: readonly Settled[]): string {
  if (!cases[0]?.solution) return ''
  const right = settled.filter(({ tokens }, i) => {
    const one = cases[i] as Case
    return one.solution?.every((token, k) => isClamped(one, k) || token === tokens[k])
  })
  return `, ${right.length} right`
}

/** Prints how far `actual` is from `expected`. */
function compare(
  label: string,
  cases: readonly Case[],
  expected: readonly Settled[],
  actual: readonly Settled[],
): void {
  const scale = expected.reduce((sum, { energy }) => sum + Math.abs(energy), 0) / expected.length
  const apart = actual.map(({ energy }, i) => Math.abs(energy - (expected[i] as Settled).energy))
  const mean = apart.reduce((sum, x) => sum + x, 0) / apart.length
  const same = actual.flatMap(({ tokens }, i) =>
    Array.from(tokens, (token, k) => token === expected[i]?.tokens[k]).filter(
      (_, k) => !isClamped(cases[i] as Case, k),
    ),
  )
  console.log(
    `${label}: energy off by ${mean.toPrecision(3)} on average (${Math.max(...apart).toPrecision(3)} at most; ` +
      `mean |E| ${scale.toPrecision(3)}), ` +
      `${((100 * same.filter(Boolean).length) / same.length).toFixed(2)} % of ${same.length} greedy tokens the same${rightOf(cases, actual)}`,
  )
}

console.log(describeMachine(measureMachine()))
for (const name of listOf(flags.models)) {
  const directory = join(shippedModels, name)
  if (!existsSync(join(directory, 'model.safetensors'))) {
    console.log(`${name}: there are no weights in ${directory}`)
    continue
  }
  const subject = subjectOf(name, answers)
  const { checkpoint } = subject
  const { answer, template } = checkpoint.config
  const cases = casesOf(subject, openTokenizer(directory))
  const expected = settle(checkpoint, ['f32', 'f32'], cases)
  console.log(
    `${name}: ${answers} answers of ${answer.block} position(s) in ${stepsOf(checkpoint.config)} steps, ` +
      `batch ${BATCH}, ${threads} thread(s); compared with float32${rightOf(cases, expected)}`,
  )
  for (const type of ['bf16', 'int8'] as const) {
    compare(`${name}, ${type} weights`, cases, expected, settle(checkpoint, [type, 'f32'], cases))
    // Templates are filled without a context.
    if (template) continue
    compare(`${name}, ${type} cache`, cases, expected, settle(checkpoint, ['f32', type], cases))
  }
}
