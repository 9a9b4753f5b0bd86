/**
 * Sudokus with one more rule on which their solution hangs: without it a puzzle has 2 to 8 solutions, with it
 * one. The rule comes with each puzzle as `energy_terms`, so that a model which never saw it can be asked to
 * obey it. This file knows no model and reads no files.
 */
import { BasinError } from '../../errors.js'
import { removeGivens } from './remove-givens.js'
import { boardTask, canonicalForm, formatBoard, sudokuBoxes } from './sudoku.js'
import { noRules, plainGroups, RuleSearch, type SudokuRules } from './sudoku-rules.js'
import type { Draws, Range, Task, TaskExample } from './task.js'

export const sudokuVariants = ['diagonal', 'killer', 'futoshiki', 'windoku', 'anti-knight'] as const
export type SudokuVariant = (typeof sudokuVariants)[number]

/** 4x4 boards have too few boards for some of the rules. */
export type VariantSize = 6 | 9
export const isVariantSize = (size: number): size is VariantSize => size === 6 || size === 9

export interface VariantOptions {
  variant: SudokuVariant
  size: VariantSize
  /** The number of givens to reach; more where the solutions would be too many. */
  givens: Range
}

/** Solutions without the rule, at least and at most. */
const PLAIN_SOLUTIONS: Range = { min: 2, max: 8 }

interface Board {
  size: number
  plain: readonly (readonly number[])[]
}

const boardOf = (size: VariantSize): Board => {
  const [boxRows, boxColumns] = sudokuBoxes[size]
  return { size, plain: plainGroups(size, boxRows, boxColumns) }
}

const indices = (length: number): number[] => Array.from({ length }, (_, i) => i)

const diagonals = (size: number): number[][] => [
  indices(size).map((i) => i * size + i),
  indices(size).map((i) => i * size + size - 1 - i),
]

/** The four inner boxes of 9x9; on 6x6 two boxes of 2 x 3, each across four plain ones or two. */
function windows(size: number): number[][] {
  const [rows, columns] = size === 9 ? [3, 3] : [2, 3]
  const corners =
    size === 9
      ? [
          [1, 1],
          [1, 5],
          [5, 1],
          [5, 5],
        ]
      : [
          [1, 1],
          [3, 2],
        ]
  return corners.map(([top = 0, left = 0]) =>
    indices(rows * columns).map(
      (i) => (top + Math.floor(i / columns)) * size + left + (i % columns),
    ),
  )
}

/** Pairs of cells that are a knight's move apart. */
function knightPairs(size: number): number[][] {
  const moves = [
    [1, 2],
    [2, 1],
    [1, -2],
    [2, -1],
  ] as const
  return indices(size * size).flatMap((cell) =>
    moves.flatMap(([down, right]) => {
      const row = Math.floor(cell / size) + down
      const column = (cell % size) + right
      return row < size && column >= 0 && column < size ? [[cell, row * size + column]] : []
    }),
  )
}

/** Cells right of and below a cell. */
const neighbours = (cell: number, size: number): number[] => [
  ...(cell % size < size - 1 ? [cell + 1] : []),
  ...(cell + size < size * size ? [cell + size] : []),
]

/** All cells in cages of up to four neighbours with different digits; single cells are in none. */
function drawCages(solution: Uint8Array, size: number, draws: Draws): SudokuRules['cages'] {
  const free = new Set(indices(size * size))
  const order = [...free]
  draws.shuffle(order)
  const cages: { cells: number[]; sum: number }[] = []
  for (const first of order) {
    if (!free.delete(first)) continue
    const cells = [first]
    const wanted = draws.within({ min: 2, max: 4 })
    while (cells.length < wanted) {
      const digits = new Set(cells.map((cell) => solution[cell]))
      const around = [...free].filter(
        (cell) =>
          !digits.has(solution[cell]) &&
          cells.some(
            (member) =>
              neighbours(member, size).includes(cell) || neighbours(cell, size).includes(member),
          ),
      )
      const next = around[draws.below(around.length)]
      if (next === undefined) break
      free.delete(next)
      cells.push(next)
    }
    const sum = cells.reduce((total, cell) => total + (solution[cell] as number), 0)
    if (cells.length > 1) cages.push({ cells: cells.sort((a, b) => a - b), sum })
  }
  return cages
}

/** The signs between a share of all neighbouring cells. */
function drawSigns(solution: Uint8Array, size: number, draws: Draws): SudokuRules['rising'] {
  const pairs = indices(size * size).flatMap((cell) =>
    neighbours(cell, size).map((other) => [cell, other] as const),
  )
  draws.shuffle(pairs)
  return pairs.slice(0, Math.round(pairs.length / 3)).map(([a, b]) => {
    const rises = (solution[a] as number) < (solution[b] as number)
    return rises ? { less: a, than: b } : { less: b, than: a }
  })
}

/** Rules that are the same for every board of a size. */
const fixedGroups: Partial<Record<SudokuVariant, (size: number) => number[][]>> = {
  diagonal: diagonals,
  windoku: windows,
  'anti-knight': knightPairs,
}

/** The rules as `energy_terms` of a request, each required. */
export function termsOf({ cages, groups, rising }: SudokuRules): object[] {
  const required = true
  const distinct = [...groups, ...cages.map(({ cells }) => cells)]
  return [
    ...(distinct.length > 0 ? [{ type: 'distinct', positions: distinct, required }] : []),
    ...cages.map(({ cells, sum }) => ({ type: 'sum', positions: cells, equals: sum, required })),
    ...rising.map(({ less, than }) => ({ type: 'compare', less, than, required })),
  ]
}

const countOf = (cells: Uint8Array, { plain, size }: Board, rules: SudokuRules, limit: number) =>
  new RuleSearch(cells.slice(), size, plain, rules).count(limit)

/** A full board under the groups of a variant, and the variant's rules for it. */
function drawSolution(
  variant: SudokuVariant,
  board: Board,
  draws: Draws,
): { solution: Uint8Array; rules: SudokuRules } | undefined {
  const groups = fixedGroups[variant]?.(board.size) ?? []
  const empty = new Uint8Array(board.size ** 2)
  const search = new RuleSearch(empty, board.size, board.plain, { ...noRules, groups })
  search.count(1, (digits) => {
    draws.shuffle(digits)
  })
  const { solution } = search
  if (!solution) return undefined
  const cages = variant === 'killer' ? drawCages(solution, board.size, draws) : []
  const rising = variant === 'futoshiki' ? drawSigns(solution, board.size, draws) : []
  return { solution, rules: { groups, cages, rising } }
}

function drawPuzzle(
  { givens, variant }: VariantOptions,
  board: Board,
  draws: Draws,
): TaskExample | undefined {
  const drawn = drawSolution(variant, board, draws)
  if (!drawn) return undefined
  const { rules, solution } = drawn
  const cells = solution.slice()
  const { max, min } = PLAIN_SOLUTIONS
  const plainSolutions = () => countOf(cells, board, noRules, max + 1)
  const isAllowed = () => countOf(cells, board, rules, 2) === 1 && plainSolutions() <= max
  const left = removeGivens(cells, givens, draws, isAllowed)
  const solutions = plainSolutions()
  if (solutions < min) return undefined
  return {
    template: formatBoard(cells),
    completion: formatBoard(solution),
    facts: { givens: left, solutions },
    terms: termsOf(rules),
  }
}

/** Throws `out_of_range` if the board cannot have so many or so few givens, `not_supported` without boards. */
export function sudokuVariantTask(options: VariantOptions): Task {
  const { size, variant } = options
  const board = boardOf(size)
  const groups = fixedGroups[variant]?.(size) ?? []
  // Sums and signs change when digits are renamed, so there a puzzle is like itself alone.
  const form = groups.length > 0 ? canonicalForm : (text: string) => text
  const task = boardTask(options, (draws) => drawPuzzle(options, board, draws), form)
  if (countOf(new Uint8Array(size * size), board, { ...noRules, groups }, 1) === 0) {
    const reason = `no ${size}x${size} board obeys the rule of ${variant}`
    throw new BasinError('not_supported', { param: 'variant', reason })
  }
  return task
}
