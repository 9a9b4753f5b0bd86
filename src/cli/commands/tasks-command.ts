/** `basin tasks`: makes data for tasks whose answers can be checked. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { SingleBar } from 'cli-progress'
import { InvalidArgumentError, Option, type Command } from 'commander'
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import { BasinError } from '../../errors.js'
import { additionTask } from '../../train/tasks/addition.js'
import { colouringTask, type ColouringOptions } from '../../train/tasks/colouring.js'
import { dyckTask } from '../../train/tasks/dyck.js'
import { pathTask } from '../../train/tasks/paths.js'
import { sortingTask } from '../../train/tasks/sorting.js'
import { readPuzzleLine } from '../../train/tasks/sudoku-lines.js'
import { isSudokuSize, sudokuTask, type SudokuSize } from '../../train/tasks/sudoku.js'
import {
  isVariantSize,
  type SudokuVariant,
  sudokuVariants,
  sudokuVariantTask,
} from '../../train/tasks/sudoku-variants.js'
import { worldTask } from '../../train/tasks/world.js'
import { drawExamples, type Range, type Task, type TaskExample } from '../../train/tasks/task.js'
import { readText } from '../../train/data/text-files.js'
import { integer, real } from '../options/number-parsers.js'
import { writeTaskModel } from '../task-model.js'

/** The flags that every task has. */
interface TaskFlags {
  /** DEFAULT_COUNT if absent; with --from, all puzzles of the file. */
  count?: number
  seed: number
  out: string
  exclude?: string[]
  excludeSolutions?: string[]
  model?: string
}

const DEFAULT_COUNT = 10_000

/** Givens of a board by default: from hard to easy, 14 of 36 and 39 of 81 on average. */
const defaultGivens = {
  4: { min: 4, max: 8 },
  6: { min: 8, max: 19 },
  9: { min: 26, max: 50 },
} as const

/** Givens of a variant by default; most puzzles keep more, so that they have few solutions without it. */
const variantGivens = { 6: { min: 6, max: 12 }, 9: { min: 20, max: 30 } } as const

function parseSize(text: string): SudokuSize {
  const size = Number(text)
  if (isSudokuSize(size)) return size
  throw new InvalidArgumentError('It must be 4, 6 or 9.')
}

function parseRange(text: string): Range {
  const [, min, max] = /^([0-9]{1,4})-([0-9]{1,4})$/.exec(text) ?? []
  if (min === undefined) throw new InvalidArgumentError('It must be a range such as 8-19.')
  return { min: Number(min), max: Number(max) }
}

/** Collects the values of a flag that may be repeated. */
const append = (path: string, paths: string[] = []): string[] => [...paths, path]

const rangeOption = (flags: string, description: string, { min, max }: Range): Option =>
  new Option(flags, description).argParser(parseRange).default({ min, max }, `${min}-${max}`)

const Line = Type.Object({ template: Type.String(), completion: Type.String() })

function* readExamples(paths: readonly string[]) {
  for (const path of paths) {
    for (const [index, text] of readText(path).trimEnd().split('\n').entries()) {
      const line = parseExample(text)
      if (line === undefined) {
        const reason = `line ${index + 1} is not {template, completion} with two texts`
        throw new BasinError('invalid_data', { path, reason })
      }
      yield line
    }
  }
}

function parseExample(text: string) {
  try {
    const json: unknown = JSON.parse(text)
    return Value.Check(Line, json) ? json : undefined
  } catch {
    return undefined
  }
}

/** Canonical forms of the problems and of the answers that must not occur. */
function* excludedForms(
  task: Task,
  { exclude = [], excludeSolutions = [] }: TaskFlags,
): Generator<string> {
  for (const { template } of readExamples(exclude)) yield task.form(template)
  for (const { completion } of readExamples(excludeSolutions)) yield task.answerForm(completion)
}

const lineOf = ({ template, completion, facts, terms }: TaskExample): string =>
  `${JSON.stringify({ template, completion, ...facts, ...(terms && { energy_terms: terms }) })}\n`

/** For each figure of difficulty, such as "givens 8 to 19, 13.8 on average". */
function describeFacts(examples: readonly TaskExample[]): string {
  const names = new Set(examples.flatMap(({ facts }) => Object.keys(facts)))
  const parts = Array.from(names, (name) => {
    const values = examples.flatMap(({ facts }) => facts[name] ?? [])
    const [least, most] = values.reduce(
      ([low, high], v) => [Math.min(low, v), Math.max(high, v)],
      [Infinity, -Infinity],
    )
    const mean = values.reduce((sum, v) => sum + v, 0) / values.length
    return `${name} ${least} to ${most}, ${mean.toFixed(1)} on average`
  })
  return parts.join('; ')
}

/** `name`: of the task, which is also the name of the model that `--model` writes. */
function makeExamples(name: string, task: Task, flags: TaskFlags): void {
  const { count = DEFAULT_COUNT, seed } = flags
  const exclude = new Set(excludedForms(task, flags))
  const bar = new SingleBar({ format: `${name} {bar} {value}/{total} | {eta} s left` })
  const examples: TaskExample[] = []
  bar.start(count, 0)
  for (const example of drawExamples(task, { count, seed, exclude })) {
    examples.push(example)
    bar.update(examples.length)
  }
  bar.stop()
  writeExamples(examples, name, task, flags)
}

function writeExamples(
  examples: readonly TaskExample[],
  name: string,
  task: Task,
  { out, model }: TaskFlags,
): void {
  mkdirSync(dirname(out), { recursive: true })
  writeFileSync(out, examples.map(lineOf).join(''))
  console.log(`${out}: ${examples.length} examples, ${describeFacts(examples)}`)
  if (model === undefined) return
  writeTaskModel(model, name, task)
  console.log(`${model}: config.json and tokenizer.json for blocks of ${task.block}`)
}

/**
 * Solves the puzzles of a file. Puzzles of another size, excluded ones, and those that do not have
 * exactly one solution are left out.
 */
function convertPuzzles(path: string, name: string, task: Task, flags: TaskFlags): void {
  const { count = Infinity } = flags
  const excluded = new Set(excludedForms(task, flags))
  const examples: TaskExample[] = []
  /** The number of lines that were left out for a reason, and the first of them. */
  const leftOut = new Map<string, { lines: number; first: number }>()
  const lines = readText(path).trimEnd().split('\n')
  for (const [index, text] of lines.entries()) {
    if (examples.length === count) {
      console.error(
        `stopped at --count ${count}; ${lines.length - index} lines of ${path} from line ${index + 1} on were not read`,
      )
      break
    }
    const found = readPuzzleLine(text)
    const reason = 'reason' in found ? found.reason : refusalOf(found.example, task, excluded)
    if (reason === undefined && 'example' in found) examples.push(found.example)
    if (reason === undefined) continue
    const known = leftOut.get(reason) ?? { lines: 0, first: index + 1 }
    leftOut.set(reason, { lines: known.lines + 1, first: known.first })
  }
  for (const [reason, known] of leftOut)
    console.error(`left out ${known.lines} lines, the first ${path} line ${known.first}: ${reason}`)
  if (examples.length === 0) {
    const reason = `no puzzle is left; ${[...leftOut.keys()].join(', ')}`
    throw new BasinError('invalid_data', { path, reason })
  }
  writeExamples(examples, name, task, flags)
}

function refusalOf({ template, completion }: TaskExample, task: Task, excluded: Set<string>) {
  if (template.length !== task.block) return `not ${task.block} cells`
  const known = excluded.has(task.form(template)) || excluded.has(task.answerForm(completion))
  return known ? 'excluded' : undefined
}

interface SudokuFlags extends TaskFlags {
  size: SudokuSize
  givens?: Range
  from?: string
}

function makeSudoku({ from, size, givens = defaultGivens[size], ...flags }: SudokuFlags): void {
  const task = sudokuTask({ size, givens })
  if (from === undefined) makeExamples(`sudoku${size}`, task, flags)
  else convertPuzzles(from, `sudoku${size}`, task, flags)
}

function makeVariant(variant: SudokuVariant, { from, givens, size, ...flags }: SudokuFlags): void {
  if (from !== undefined)
    throw new BasinError('not_supported', {
      param: '--from',
      reason: 'puzzles of a file have no further rule',
    })
  if (!isVariantSize(size))
    throw new BasinError('not_supported', {
      param: '--size',
      reason: 'variants have 6 or 9 cells in a row',
    })
  const task = sudokuVariantTask({ variant, size, givens: givens ?? variantGivens[size] })
  makeExamples(`sudoku${size}-${variant}`, task, flags)
}

const COUNT_HELP = `number of examples (default: ${DEFAULT_COUNT})`

/** Adds the flags that every task has. */
const withTaskFlags = (command: Command, countHelp = COUNT_HELP): Command =>
  command
    .option('--count <n>', countHelp, integer(1, 10_000_000))
    .option('--seed <n>', 'the same seed makes the same examples', integer(0, 2 ** 53 - 1), 1)
    .requiredOption('--out <file>', 'JSON lines to write')
    .option(
      '--exclude <file>',
      'make no problem of this file, nor one that only differs in notation (repeatable)',
      append,
    )
    .option(
      '--exclude-solutions <file>',
      'make no problem whose answer is in this file, or only differs in notation (repeatable)',
      append,
    )
    .option('--model <directory>', 'also write config.json and tokenizer.json of a small model')

const JSON_LINES = 'as JSON lines {template, completion} with figures of difficulty'

export function registerTasks(program: Command): void {
  const tasks = program
    .command('tasks')
    .description('make data for tasks whose answers can be checked')
  withTaskFlags(
    tasks.command('sudoku'),
    `number of examples (default: ${DEFAULT_COUNT}; with --from, all)`,
  )
    .description(`make sudoku puzzles with one solution each, ${JSON_LINES}`)
    .option('--size <n>', 'cells in a row: 4, 6 or 9', parseSize, 6)
    .option('--givens <range>', 'number of givens, such as 8-19; more where needed', parseRange)
    .addOption(
      new Option(
        '--variant <rule>',
        'one more rule, on which the solution hangs: without it 2 to 8 solutions; as energy_terms of each line',
      ).choices(sudokuVariants),
    )
    .option(
      '--from <file>',
      'solve the puzzles of this file instead, one a line: id puzzle rating; 0 or . or _ is a blank',
    )
    .action(({ variant, ...flags }: SudokuFlags & { variant?: SudokuVariant }) => {
      if (variant === undefined) makeSudoku(flags)
      else makeVariant(variant, flags)
    })
  withTaskFlags(tasks.command('addition'))
    .description(`make sums of two numbers, least significant digit first, ${JSON_LINES}`)
    .addOption(
      rangeOption('--digits <range>', 'number of digits of the longer number', { min: 1, max: 8 }),
    )
    .option('--width <n>', 'columns for each number', integer(1), 12)
    .action((flags: TaskFlags & { digits: Range; width: number }) => {
      makeExamples('addition', additionTask(flags), flags)
    })
  withTaskFlags(tasks.command('paths'))
    .description(`make mazes and the shortest paths through them, ${JSON_LINES}`)
    .addOption(rangeOption('--rooms <range>', 'number of rooms along a side', { min: 2, max: 4 }))
    .option('--side <n>', 'squares along a side of the block', integer(3), 11)
    .option('--loops <share>', 'share of the other walls that are opened', real(0, 1), 0)
    .action((flags: TaskFlags & { rooms: Range; side: number; loops: number }) => {
      makeExamples('paths', pathTask(flags), flags)
    })
  withTaskFlags(tasks.command('colouring'))
    .description(`make graphs to be coloured, each in one way, ${JSON_LINES}`)
    .addOption(rangeOption('--vertices <range>', 'number of vertices', { min: 6, max: 10 }))
    .addOption(
      rangeOption('--givens <range>', 'vertices whose colour is given; more where needed', {
        min: 2,
        max: 5,
      }),
    )
    .option('--degree <n>', 'neighbours of a vertex, at most', integer(1), 4)
    .option('--colours <n>', 'number of colours, 2 to 4', integer(2), 3)
    .option('--room <n>', 'vertices that there are names for, at most 26', integer(2), 14)
    .option(
      '--edges <n>',
      'edges that a block has room for (default: as many as there can be)',
      integer(1),
    )
    .action((flags: TaskFlags & ColouringOptions) => {
      makeExamples('colouring', colouringTask(flags), flags)
    })
  withTaskFlags(tasks.command('dyck'))
    .description(`make brackets to be closed, ${JSON_LINES}`)
    .addOption(
      rangeOption('--length <range>', 'number of brackets that are given', { min: 2, max: 16 }),
    )
    .option('--kinds <n>', 'kinds of brackets', integer(1, 4), 3)
    .option('--block <n>', 'characters of the whole answer', integer(2), 48)
    .action((flags: TaskFlags & { length: Range; kinds: number; block: number }) => {
      makeExamples('dyck', dyckTask(flags), flags)
    })
  withTaskFlags(tasks.command('sorting'))
    .description(`make digits to be sorted, ${JSON_LINES}`)
    .addOption(rangeOption('--items <range>', 'number of digits of a list', { min: 2, max: 10 }))
    .option('--width <n>', 'columns for a list', integer(2), 16)
    .action((flags: TaskFlags & { items: Range; width: number }) => {
      makeExamples('sorting', sortingTask(flags), flags)
    })
  withTaskFlags(tasks.command('world'))
    .description(`make little stories whose answer is the state of everything, ${JSON_LINES}`)
    .addOption(
      rangeOption('--sentences <range>', 'number of sentences of a story', { min: 3, max: 8 }),
    )
    .addOption(
      rangeOption('--hops <range>', 'people that a fact passes through, at most', {
        min: 0,
        max: 2,
      }),
    )
    .option('--room <n>', 'sentences that a block has room for', integer(1), 12)
    .action((flags: TaskFlags & { sentences: Range; hops: Range; room: number }) => {
      makeExamples('worlds', worldTask(flags), flags)
    })
}
