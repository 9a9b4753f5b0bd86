/** `basin tasks`: makes training data for tasks whose answers can be checked. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { SingleBar } from 'cli-progress'
import { InvalidArgumentError, type Command } from 'commander'
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import { BasinError } from '../errors.js'
import { readText } from '../train/text.js'
import {
  canonicalForm,
  generatePuzzles,
  isSudokuSize,
  type SudokuSize,
} from '../train/tasks/sudoku.js'
import { integer } from './numbers.js'

interface SudokuArguments {
  size: SudokuSize
  count: number
  seed: number
  givens?: { min: number; max: number }
  out: string
  exclude: string[]
  excludeSolutions: string[]
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

function parseGivens(text: string): { min: number; max: number } {
  const [, min, max] = /^([0-9]{1,2})-([0-9]{1,2})$/.exec(text) ?? []
  if (min === undefined) throw new InvalidArgumentError('It must be a range such as 8-19.')
  return { min: Number(min), max: Number(max) }
}

const append = (path: string, paths: string[]): string[] => [...paths, path]

const Puzzle = Type.Object({ template: Type.String(), completion: Type.String() })

function* readPuzzles(paths: readonly string[]) {
  for (const path of paths) {
    for (const [index, text] of readText(path).trimEnd().split('\n').entries()) {
      const line = parsePuzzle(text)
      if (line === undefined) {
        const reason = `line ${index + 1} is not {template, completion}`
        throw new BasinError('invalid_data', { path, reason })
      }
      yield line
    }
  }
}

function parsePuzzle(text: string) {
  try {
    const json: unknown = JSON.parse(text)
    return Value.Check(Puzzle, json) ? json : undefined
  } catch {
    return undefined
  }
}

function* excludedForms({ exclude, excludeSolutions }: SudokuArguments): Generator<string> {
  for (const { template } of readPuzzles(exclude)) yield canonicalForm(template)
  for (const { completion } of readPuzzles(excludeSolutions)) yield canonicalForm(completion)
}

function makeSudoku(options: SudokuArguments): void {
  const { size, count, seed, out, givens = usualGivens[size] } = options
  const puzzles = generatePuzzles({
    size,
    count,
    seed,
    givens,
    exclude: [...excludedForms(options)],
  })
  const bar = new SingleBar({ format: 'sudoku {bar} {value}/{total} | {eta} s left' })
  const lines: string[] = []
  let blanks = 0
  bar.start(count, 0)
  for (const { puzzle, solution } of puzzles) {
    lines.push(`${JSON.stringify({ template: puzzle, completion: solution })}\n`)
    blanks += puzzle.split('_').length - 1
    bar.update(lines.length)
  }
  bar.stop()
  mkdirSync(dirname(out), { recursive: true })
  writeFileSync(out, lines.join(''))
  const mean = (size * size - blanks / lines.length).toFixed(1)
  console.log(`${out}: ${lines.length} puzzles, ${mean} givens on average`)
}

export function registerTasks(program: Command): void {
  const tasks = program.command('tasks').description('make training data for checkable tasks')
  tasks
    .command('sudoku')
    .description('sudoku puzzles with one solution each, as JSON lines {template, completion}')
    .option('--size <n>', 'cells in a row: 4, 6 or 9', parseSize, 6)
    .requiredOption('--count <n>', 'number of puzzles', integer(1, 10_000_000))
    .option('--seed <n>', 'the same seed makes the same puzzles', integer(0, 2 ** 53 - 1), 1)
    .option('--givens <range>', 'number of givens aimed at, such as 8-19', parseGivens)
    .requiredOption('--out <file>', 'JSON lines to write')
    .option(
      '--exclude <file>',
      'no puzzle of this file, even with its digits renamed (repeatable)',
      append,
      [],
    )
    .option(
      '--exclude-solutions <file>',
      'no puzzle with a solution of this file, even with its digits renamed (repeatable)',
      append,
      [],
    )
    .action(makeSudoku)
}
