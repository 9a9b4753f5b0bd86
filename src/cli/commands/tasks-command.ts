/** `basin tasks`: makes training data for tasks whose answers can be checked. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { SingleBar } from 'cli-progress'
import { InvalidArgumentError, type Command } from 'commander'
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import { BasinError } from '../../errors.js'
import { additionTask } from '../../train/tasks/addition.js'
import { dyckTask } from '../../train/tasks/dyck.js'
import { pathTask } from '../../train/tasks/paths.js'
import { sortingTask } from '../../train/tasks/sorting.js'
import { readPuzzleLine } from '../../train/tasks/sudoku-lines.js'
import { isSudokuSize, sudokuTask, type SudokuSize } from '../../train/tasks/sudoku.js'
import { drawExamples, type Range, type Task, type TaskExample } from '../../train/tasks/task.js'
import { readText } from '../../train/data/text-files.js'
import { integer, real } from '../options/number-parsers.js'
import { writeTaskModel } from '../task-model.js'

interface Common {
  count: number
  seed: number
  out: string
  exclude: string[]
  excludeSolutions: string[]
  model?: string
}

/** Givens per board: from hard to easy, 14 of 36 and 39 of 81 on average. */
const usualGivens = {
  4: { min: 4, max: 8 },
  6: { min: 8, max: 19 },
  9: { min: 26, max: 50 },
} as const

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

const append = (path: string, paths: string[]): string[] => [...paths, path]

const Line = Type.Object({ template: Type.String(), completion: Type.String() })

function* readExamples(paths: readonly string[]) {
  for (const path of paths) {
    for (const [index, text] of readText(path).trimEnd().split('\n').entries()) {
      const line = parseExample(text)
      if (line === undefined) {
        const reason = `line ${index + 1} is not {template, completion}`
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

function* excludedForms(task: Task, { exclude, excludeSolutions }: Common): Generator<string> {
  for (const { template } of readExamples(exclude)) yield task.form(template)
  for (const { completion } of readExamples(excludeSolutions)) yield task.answerForm(completion)
}

const lineOf = ({ template, completion, facts }: TaskExample): string =>
  `${JSON.stringify({ template, completion, ...facts })}\n`

/** "givens 8 to 19, 13.8 on average", for each fact. */
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

function makeExamples(verb: string, task: Task, options: Common): void {
  const { count, seed } = options
  const exclude = new Set(excludedForms(task, options))
  const bar = new SingleBar({ format: `${verb} {bar} {value}/{total} | {eta} s left` })
  const examples: TaskExample[] = []
  bar.start(count, 0)
  for (const example of drawExamples(task, { count, seed, exclude })) {
    examples.push(example)
    bar.update(examples.length)
  }
  bar.stop()
  writeExamples(examples, verb, task, options)
}

function writeExamples(
  examples: readonly TaskExample[],
  verb: string,
  task: Task,
  { out, model }: Common,
): void {
  mkdirSync(dirname(out), { recursive: true })
  writeFileSync(out, examples.map(lineOf).join(''))
  console.log(`${out}: ${examples.length} examples, ${describeFacts(examples)}`)
  if (model === undefined) return
  writeTaskModel(model, verb, task)
  console.log(`${model}: config.json and tokenizer.json for blocks of ${task.block}`)
}

/** Puzzles of a file, solved; those of another size, without one solution or excluded are left out. */
function convertPuzzles(path: string, verb: string, task: Task, options: Common): void {
  const excluded = new Set(excludedForms(task, options))
  const examples: TaskExample[] = []
  const left = new Map<string, { lines: number; first: number }>()
  for (const [index, text] of readText(path).trimEnd().split('\n').entries()) {
    if (examples.length === options.count) {
      console.error(`stopped at ${path} line ${index + 1}: --count ${options.count} reached`)
      break
    }
    const found = readPuzzleLine(text)
    const reason = 'reason' in found ? found.reason : refusalOf(found.example, task, excluded)
    if (reason === undefined && 'example' in found) examples.push(found.example)
    if (reason === undefined) continue
    const { lines, first } = left.get(reason) ?? { lines: 0, first: index + 1 }
    left.set(reason, { lines: lines + 1, first })
  }
  for (const [reason, { lines, first }] of left)
    console.error(`left out ${lines} lines, the first ${path} line ${first}: ${reason}`)
  if (examples.length === 0) {
    const reason = `no puzzle is left; ${[...left.keys()].join(', ')}`
    throw new BasinError('invalid_data', { path, reason })
  }
  writeExamples(examples, verb, task, options)
}

function refusalOf({ template, completion }: TaskExample, task: Task, excluded: Set<string>) {
  if (template.length !== task.block) return `not ${task.block} cells`
  const known = excluded.has(task.form(template)) || excluded.has(task.answerForm(completion))
  return known ? 'excluded' : undefined
}

/** The flags that every task has. */
const withCommon = (command: Command): Command =>
  command
    .option('--count <n>', 'number of examples', integer(1, 10_000_000), 10_000)
    .option('--seed <n>', 'the same seed makes the same examples', integer(0, 2 ** 53 - 1), 1)
    .requiredOption('--out <file>', 'JSON lines to write')
    .option(
      '--exclude <file>',
      'no problem of this file, nor the same in another guise (repeatable)',
      append,
      [],
    )
    .option(
      '--exclude-solutions <file>',
      'no problem whose answer occurs in this file, in any guise (repeatable)',
      append,
      [],
    )
    .option('--model <directory>', 'write config.json and tokenizer.json of a small model there')

const JSON_LINES = 'as JSON lines {template, completion} with figures of difficulty'

export function registerTasks(program: Command): void {
  const tasks = program.command('tasks').description('make training data for checkable tasks')
  withCommon(tasks.command('sudoku'))
    .description(`sudoku puzzles with one solution each, ${JSON_LINES}`)
    .option('--size <n>', 'cells in a row: 4, 6 or 9', parseSize, 6)
    .option('--givens <range>', 'number of givens aimed at, such as 8-19', parseRange)
    .option(
      '--from <file>',
      'solve the puzzles of a file instead, one a line: id puzzle rating; 0 or . or _ for a blank',
    )
    .action(({ size, givens = usualGivens[size], from, ...common }: SudokuFlags) => {
      const task = sudokuTask({ size, givens })
      if (from === undefined) makeExamples(`sudoku${size}`, task, common)
      else convertPuzzles(from, `sudoku${size}`, task, common)
    })
  withCommon(tasks.command('addition'))
    .description(`sums of two numbers, least significant digit first, ${JSON_LINES}`)
    .option('--digits <range>', 'digits of the longer number', parseRange, { min: 1, max: 8 })
    .option('--width <n>', 'columns for each number', integer(1), 12)
    .action((options: Common & { digits: Range; width: number }) => {
      makeExamples('addition', additionTask(options), options)
    })
  withCommon(tasks.command('paths'))
    .description(`shortest paths through mazes, ${JSON_LINES}`)
    .option('--rooms <range>', 'rooms along a side', parseRange, { min: 2, max: 4 })
    .option('--side <n>', 'squares along a side of the block', integer(3), 11)
    .option('--loops <share>', 'share of walls opened beyond a tree', real(0, 1), 0)
    .action((options: Common & { rooms: Range; side: number; loops: number }) => {
      makeExamples('paths', pathTask(options), options)
    })
  withCommon(tasks.command('dyck'))
    .description(`brackets to be closed, ${JSON_LINES}`)
    .option('--length <range>', 'brackets that are given', parseRange, { min: 2, max: 16 })
    .option('--kinds <n>', 'kinds of brackets', integer(1, 4), 3)
    .option('--block <n>', 'characters of the whole answer', integer(2), 48)
    .action((options: Common & { length: Range; kinds: number; block: number }) => {
      makeExamples('dyck', dyckTask(options), options)
    })
  withCommon(tasks.command('sorting'))
    .description(`digits to be put in order, ${JSON_LINES}`)
    .option('--items <range>', 'digits of a list', parseRange, { min: 2, max: 10 })
    .option('--width <n>', 'columns for a list', integer(2), 16)
    .action((options: Common & { items: Range; width: number }) => {
      makeExamples('sorting', sortingTask(options), options)
    })
}

interface SudokuFlags extends Common {
  size: SudokuSize
  givens?: Range
  from?: string
}
