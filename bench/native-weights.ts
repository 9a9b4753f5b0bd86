/**
 * What do bf16 and int8 weights cost? For answers that settle in the model's own number of steps, compares
 * their energies with those of float32 weights in the same run, and counts how often the most probable
 * token is the same.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { loadAddon } from '../src/energy/native/addon.js'
import { nativeEngine } from '../src/energy/native/engine.js'
import { nativePageSize, type WeightType } from '../src/energy/native/options.js'
import { openCheckpoint, type Checkpoint } from '../src/model/checkpoint.js'
import { landscapeOf, type ModelConfig } from '../src/model/config.js'
import { uniform } from '../src/refine/random.js'
import { openTokenizer, type Tokenizer } from '../src/tokenizer/tokenizer.js'
import './addon.js'
import { listOf, numberOf, readFlags } from './command.js'
import { describeMachine, measureMachine } from './machine.js'
import { shippedModels } from './server.js'

const NAME = 'native-weights'
const flags = readFlags(
  NAME,
  'Compares energies and tokens of bf16 and int8 weights with float32.',
  {
    models: { default: 'sudoku6,stories', help: 'names of shipped models' },
    answers: { default: '256', help: 'answers of each model' },
    threads: { default: '2', help: 'threads of the engine' },
  },
)
const answers = numberOf(NAME, 'answers', flags.answers, 1)
const threads = numberOf(NAME, 'threads', flags.threads, 1)
const BATCH = 32
const PROMPT =
  'Once upon a time, there was a little girl who loved to play in the garden. One day she found a small box ' +
  'under the big tree. She was very happy and ran to her mom. "Look what I found!" she said. Her mom smiled and ' +
  'they opened the box together. Inside there was an old toy train. The little girl wanted to share it with her friend.'

/** A valid 6x6 board with about half of its cells blank: rows of a shifted pattern, digits permuted. */
function boardOf(index: number): string[] {
  const digits = [0, 1, 2, 3, 4, 5]
  for (let i = 5; i > 0; i--) {
    const j = Math.floor(uniform(index, 1, i) * (i + 1))
    const other = digits[j] as number
    digits[j] = digits[i] as number
    digits[i] = other
  }
  return Array.from({ length: 36 }, (_, cell) => {
    const row = Math.floor(cell / 6)
    const shift = (row % 2) * 3 + Math.floor(row / 2)
    const given = uniform(index, 2, cell) < 0.5
    return given ? String((digits[((cell % 6) + shift) % 6] as number) + 1) : '_'
  })
}

/** An answer to settle. */
interface Case {
  context: number[]
  /** Given tokens of a puzzle, -1 for a blank; absent for text. */
  clamped?: number[]
}

function casesOf(config: ModelConfig, tokenizer: Tokenizer): Case[] {
  if (config.template?.length === undefined) {
    const tokens = tokenizer.encode(PROMPT)
    return Array.from({ length: answers }, (_, i) => ({
      context: tokens.slice(0, 8 + (i % (tokens.length - 8))),
    }))
  }
  return Array.from({ length: answers }, (_, i) => ({
    context: [],
    clamped: boardOf(i).map((cell) => (cell === '_' ? -1 : (tokenizer.encode(cell)[0] as number))),
  }))
}

interface Settled {
  energy: number
  /** The most probable token of each position. */
  tokens: ArrayLike<number>
}

function settle(checkpoint: Checkpoint, weights: WeightType, cases: readonly Case[]): Settled[] {
  const { config } = checkpoint
  const pagesPerRow = Math.ceil(config.context_length / nativePageSize)
  const engine = nativeEngine(checkpoint, loadAddon(), {
    capacity: { slots: BATCH, contexts: BATCH, pages: BATCH * pagesPerRow },
    threads,
    weights,
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
    let energies: number[] = []
    for (let step = 0; step < config.steps; step++) {
      const landscape = landscapeOf(config, step)
      const rows = part.map((_, slot) => ({ slot, landscape, noise: 0, step }))
      energies = engine.descend(rows).map(({ energy }) => energy)
    }
    engine
      .read(part.map((_, slot) => ({ slot, which: 'last', top: 1 })))
      .forEach(({ tokens }, i) => {
        settled.push({ energy: energies[i] as number, tokens })
        engine.release(i)
      })
  }
  engine.close()
  return settled
}

const isClamped = ({ clamped }: Case, position: number): boolean => (clamped?.[position] ?? -1) >= 0

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
      `${((100 * same.filter(Boolean).length) / same.length).toFixed(2)} % of ${same.length} greedy tokens the same`,
  )
}

console.log(describeMachine(measureMachine()))
for (const name of listOf(flags.models)) {
  const directory = join(shippedModels, name)
  if (!existsSync(join(directory, 'model.safetensors'))) {
    console.log(`${name}: there are no weights in ${directory}`)
    continue
  }
  const checkpoint = openCheckpoint(directory)
  const { answer, steps } = checkpoint.config
  console.log(
    `${name}: ${answers} answers of ${answer.block} position(s) in ${steps} steps, batch ${BATCH}, ` +
      `${threads} thread(s); compared with float32`,
  )
  const cases = casesOf(checkpoint.config, openTokenizer(directory))
  const expected = settle(checkpoint, 'f32', cases)
  for (const weights of ['bf16', 'int8'] as const)
    compare(`${name} ${weights}`, cases, expected, settle(checkpoint, weights, cases))
}
