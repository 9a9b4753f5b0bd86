import { describe, expect, it } from 'vitest'
import {
  canonicalForm,
  countSolutions,
  isSolution,
  solve,
  sudokuTask,
  type SudokuOptions,
} from '../../src/train/tasks/sudoku.js'
import { drawExamples, type DrawOptions } from '../../src/train/tasks/task.js'

const generatePuzzles = (options: SudokuOptions & DrawOptions) =>
  Array.from(drawExamples(sudokuTask(options), options), ({ template, completion, facts }) => ({
    puzzle: template,
    solution: completion,
    givens: facts['givens'],
  }))

const boxes = { 4: [2, 2], 6: [2, 3], 9: [3, 3] } as const

/** Checks the rules directly: every row, column and box has every digit. */
function obeysTheRules(board: string, size: 4 | 6 | 9): boolean {
  const [rows, columns] = boxes[size]
  const all = Array.from({ length: size }, (_, i) => i)
  const at = (row: number, column: number) => board[row * size + column]
  return all.every((unit) => {
    const top = Math.floor(unit / (size / columns)) * rows
    const left = (unit % (size / columns)) * columns
    return [
      all.map((i) => at(unit, i)),
      all.map((i) => at(i, unit)),
      all.map((i) => at(top + Math.floor(i / columns), left + (i % columns))),
    ].every((cells) => cells.sort().join('') === '123456789'.slice(0, size))
  })
}

/** Counts solutions by trying every digit in every blank, in order. */
function slowCount(board: string, size: 4 | 6 | 9): number {
  const blank = board.indexOf('_')
  if (blank < 0) return obeysTheRules(board, size) ? 1 : 0
  const [rows, columns] = boxes[size]
  const [row, column] = [Math.floor(blank / size), blank % size]
  const clashes = (digit: string) =>
    Array.from(board).some((other, cell) => {
      const [r, c] = [Math.floor(cell / size), cell % size]
      const together =
        r === row ||
        c === column ||
        (Math.floor(r / rows) === Math.floor(row / rows) &&
          Math.floor(c / columns) === Math.floor(column / columns))
      return together && other === digit
    })
  return Array.from('123456789'.slice(0, size))
    .filter((digit) => !clashes(digit))
    .reduce((sum, digit) => sum + slowCount(board.replace('_', digit), size), 0)
}

const options = (size: 4 | 6 | 9, count: number, seed = 1): SudokuOptions & DrawOptions => ({
  size,
  count,
  seed,
  givens: { 4: { min: 4, max: 8 }, 6: { min: 8, max: 19 }, 9: { min: 26, max: 50 } }[size],
})
const givensOf = (puzzle: string) => puzzle.replaceAll('_', '').length

describe.each([
  [4, 60],
  [6, 200],
  [9, 12],
] as const)('%i x %i', (size, count) => {
  const made = generatePuzzles(options(size, count))

  it('makes puzzles with one solution, which obeys the rules and agrees with the givens', () => {
    expect(made).toHaveLength(count)
    for (const { puzzle, solution, givens } of made) {
      expect(puzzle).toHaveLength(size * size)
      expect(obeysTheRules(solution, size)).toBe(true)
      expect(solution).toMatch(new RegExp(`^${puzzle.replaceAll('_', '.')}$`))
      expect(countSolutions(puzzle)).toBe(1)
      expect(solve(puzzle)).toBe(solution)
      expect(isSolution(puzzle, solution)).toBe(true)
      expect(givens).toBe(givensOf(puzzle))
      expect(givensOf(puzzle)).toBeGreaterThanOrEqual(options(size, 1).givens.min)
      if (size < 9) expect(slowCount(puzzle, size)).toBe(1)
    }
  })

  it('makes no two that are equal up to a renaming of digits', () => {
    expect(new Set(made.map(({ puzzle }) => canonicalForm(puzzle))).size).toBe(count)
  })

  it('makes the same puzzles for the same seed, and others for another seed', () => {
    expect(generatePuzzles(options(size, 5))).toEqual(made.slice(0, 5))
    expect(generatePuzzles(options(size, 5, 2))).not.toEqual(made.slice(0, 5))
  })
})

describe('generatePuzzles', () => {
  it('leaves out excluded puzzles and solutions, also with renamed digits', () => {
    const train = generatePuzzles(options(4, 100))
    const forms = train.map(({ puzzle }) =>
      canonicalForm(puzzle.replace(/[12]/g, (d) => (d === '1' ? '2' : '1'))),
    )
    const test = generatePuzzles({ ...options(4, 100), exclude: forms })
    for (const { puzzle } of test) expect(forms).not.toContain(canonicalForm(puzzle))

    const boards = train.slice(0, 3).map(({ solution }) => canonicalForm(solution))
    const fresh = generatePuzzles({ ...options(4, 50), exclude: boards })
    for (const { solution } of fresh) expect(boards).not.toContain(canonicalForm(solution))
  })

  it('refuses to make more puzzles than there are', () => {
    const full = { size: 4, count: 100, seed: 1, givens: { min: 16, max: 16 } } as const
    expect(() => generatePuzzles(full)).toThrow(
      /count must be at most 12: no further puzzle was found, got 100/,
    )
  })

  it.each([
    [0, 8],
    [9, 8],
    [4, 17],
    [NaN, 8],
    [4, 1e308],
  ])('refuses %s to %s givens', (min, max) => {
    const generate = () => generatePuzzles({ ...options(4, 1), givens: { min, max } })
    expect(generate).toThrow(/givens must be a range within 1 to 16/)
  })
})

describe('the solver', () => {
  it('counts the same solutions as an exhaustive search', () => {
    const [first] = generatePuzzles(options(4, 1))
    const solution = first?.solution ?? ''
    for (let blanks = 0; blanks <= 16; blanks += 2) {
      const puzzle = '_'.repeat(blanks) + solution.slice(blanks)
      expect(countSolutions(puzzle, 1000)).toBe(slowCount(puzzle, 4))
    }
    expect(countSolutions('_'.repeat(16), 1000)).toBe(288)
  })

  it('finds no solution if the givens contradict each other', () => {
    expect(countSolutions('11' + '_'.repeat(14))).toBe(0)
    expect(solve('123_' + '___4' + '_'.repeat(8))).toBeUndefined()
  })

  it('accepts right solutions and no others', () => {
    const [first] = generatePuzzles(options(6, 1))
    const { puzzle, solution } = first ?? { puzzle: '', solution: '' }
    const renamed = solution.replace(/[12]/g, (digit) => (digit === '1' ? '2' : '1'))
    expect(isSolution(puzzle, renamed)).toBe(false)
    expect(isSolution('_'.repeat(36), renamed)).toBe(true)
    expect(isSolution(puzzle, puzzle)).toBe(false)
    expect(isSolution(puzzle, solution.slice(1))).toBe(false)
    expect(isSolution('_'.repeat(36), '1'.repeat(36))).toBe(false)
  })

  it.each(['', '123', '5' + '_'.repeat(15), '0' + '_'.repeat(35), 'x'.repeat(81)])(
    'refuses %j',
    (text) => {
      expect(() => solve(text)).toThrow(/puzzle: a board has 16, 36 or 81 cells/)
    },
  )
})
