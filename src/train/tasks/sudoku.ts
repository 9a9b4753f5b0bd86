/**
 * Sudoku puzzles with exactly one solution, of 4x4, 6x6 and 9x9 cells: generator, solver and checker.
 * A board is text, row by row, with digits from 1 and `_` for a blank. This file knows no model and reads
 * no files.
 */
import { BasinError } from '../../errors.js'
import { removeGivens } from './remove-givens.js'
import { bitCounts, digitsIn, unitsOf } from './sudoku-rules.js'
import { checkRange, type Draws, type Range, type Task, type TaskExample } from './task.js'

/** Rows and columns of a box, by board size; a board of N x N has N boxes of N cells. */
export const sudokuBoxes = { 4: [2, 2], 6: [2, 3], 9: [3, 3] } as const
export type SudokuSize = keyof typeof sudokuBoxes

export const isSudokuSize = (size: number): size is SudokuSize => Object.hasOwn(sudokuBoxes, size)

export interface SudokuOptions {
  size: SudokuSize
  /**
   * The number of givens to reach, each with equal probability. A puzzle keeps more if its solution
   * would not be the only one with fewer.
   */
  givens: Range
}

interface Geometry {
  size: SudokuSize
  /** [N * N]: row, column and box of each cell, as indices in one list of 3 N units. */
  units: readonly (readonly [number, number, number])[]
}

const geometries = new Map<number, Geometry>(
  ([4, 6, 9] as const).map((size) => {
    const [boxRows, boxColumns] = sudokuBoxes[size]
    const units = Array.from({ length: size * size }, (_, cell) =>
      unitsOf(cell, size, boxRows, boxColumns),
    )
    return [size * size, { size, units }]
  }),
)

/** Cells [N * N], 0 for a blank. Throws `invalid_request` if the text is not a board. */
function parseBoard(text: string): { cells: Uint8Array; geometry: Geometry } {
  const geometry = geometries.get(text.length)
  const cells = Uint8Array.from(text, (character) =>
    character === '_' ? 0 : '123456789'.indexOf(character) + 1 || 255,
  )
  if (!geometry || cells.some((digit) => digit > geometry.size)) {
    throw new BasinError('invalid_request', {
      param: 'puzzle',
      reason: 'a board has 16, 36 or 81 cells, each a digit up to its size or _',
    })
  }
  return { cells, geometry }
}

export const formatBoard = (cells: Uint8Array): string =>
  Array.from(cells, (digit) => (digit === 0 ? '_' : String(digit))).join('')

/**
 * Depth-first search that branches at the blank with the fewest possible digits. One instance searches
 * one board; afterwards `solution` holds the first solution, if there is one.
 */
class Search {
  /** Digits that are taken in each of the 3 N units, one bit per digit. */
  readonly #taken: Uint16Array
  /** Cells without a digit. */
  readonly #blank: number[] = []
  /** The bits of all digits. */
  readonly #whole: number
  #found = 0
  readonly solution: Uint8Array

  constructor(
    private readonly cells: Uint8Array,
    private readonly geometry: Geometry,
  ) {
    this.#taken = new Uint16Array(3 * geometry.size)
    this.#whole = (1 << geometry.size) - 1
    this.solution = new Uint8Array(cells.length)
  }

  /** Counts solutions up to `limit`. Digits are tried in rising order, or as `arrange` orders them. */
  count(limit: number, arrange?: (digits: number[]) => void): number {
    for (const [cell, digit] of this.cells.entries()) {
      if (digit === 0) {
        this.#blank.push(cell)
        continue
      }
      const bit = 1 << (digit - 1)
      if ((this.#free(cell) & bit) === 0) return 0
      this.#flip(cell, bit)
    }
    this.#descend(limit, arrange)
    return this.#found
  }

  #free(cell: number): number {
    const [row, column, box] = this.geometry.units[cell] as readonly [number, number, number]
    const taken = this.#taken
    return (
      this.#whole & ~((taken[row] as number) | (taken[column] as number) | (taken[box] as number))
    )
  }

  #flip(cell: number, bit: number): void {
    for (const unit of this.geometry.units[cell] as readonly number[]) {
      this.#taken[unit] = (this.#taken[unit] as number) ^ bit
    }
  }

  /** The index in `#blank` of the cell with the fewest possible digits. */
  #mostBound(): number {
    let best = 0
    let fewest = Infinity
    for (let place = 0; place < this.#blank.length; place++) {
      const count = bitCounts[this.#free(this.#blank[place] as number)] as number
      if (count >= fewest) continue
      best = place
      fewest = count
      if (count <= 1) break
    }
    return best
  }

  #descend(limit: number, arrange?: (digits: number[]) => void): void {
    if (this.#blank.length === 0) {
      if (this.#found++ === 0) this.solution.set(this.cells)
      return
    }
    const place = this.#mostBound()
    const cell = this.#blank[place] as number
    const last = this.#blank.pop() as number
    if (place < this.#blank.length) this.#blank[place] = last
    const digits = digitsIn(this.#free(cell))
    arrange?.(digits)
    for (const digit of digits) {
      this.cells[cell] = digit
      this.#flip(cell, 1 << (digit - 1))
      this.#descend(limit, arrange)
      this.#flip(cell, 1 << (digit - 1))
      if (this.#found >= limit) break
    }
    this.cells[cell] = 0
    if (place < this.#blank.length) {
      this.#blank.push(this.#blank[place] as number)
      this.#blank[place] = cell
    } else this.#blank.push(cell)
  }
}

/** The number of solutions of a puzzle, counted up to `limit`. */
export function countSolutions(puzzle: string, limit = 2): number {
  const { cells, geometry } = parseBoard(puzzle)
  return new Search(cells, geometry).count(limit)
}

/** A solution of a puzzle; undefined if it has none. */
export function solve(puzzle: string): string | undefined {
  const { cells, geometry } = parseBoard(puzzle)
  const search = new Search(cells, geometry)
  return search.count(1) === 0 ? undefined : formatBoard(search.solution)
}

/** True if `solution` is a full board that obeys the rules and has the givens of `puzzle`. */
export function isSolution(puzzle: string, solution: string): boolean {
  return (
    solution.length === puzzle.length &&
    !solution.includes('_') &&
    Array.from(puzzle).every((given, i) => given === '_' || given === solution[i]) &&
    countSolutions(solution) === 1
  )
}

/** The board with its digits renamed in order of first appearance: equal for boards that are relabelled. */
export function canonicalForm(board: string): string {
  const names = new Map<string, string>([['_', '_']])
  return Array.from(board, (digit) => {
    const name = names.get(digit) ?? String(names.size)
    names.set(digit, name)
    return name
  }).join('')
}

/** A puzzle and its only solution, with the number of its givens. */
export const puzzleExample = (puzzle: string, solution: string): TaskExample => ({
  template: puzzle,
  completion: solution,
  facts: { givens: puzzle.length - (puzzle.split('_').length - 1) },
})

/** Draws a full board and removes givens in random order, as long as there is only one solution. */
function drawPuzzle({ size, givens }: SudokuOptions, draws: Draws): TaskExample {
  const geometry = geometries.get(size * size) as Geometry
  const search = new Search(new Uint8Array(size * size), geometry)
  search.count(1, (digits) => {
    draws.shuffle(digits)
  })
  const cells = search.solution.slice()
  removeGivens(cells, givens, draws, () => new Search(cells.slice(), geometry).count(2) === 1)
  return puzzleExample(formatBoard(cells), formatBoard(search.solution))
}

/**
 * The task of boards of one size; `form` is that of puzzles and of solutions. Throws `out_of_range` if the board
 * cannot have so many or so few givens.
 */
export function boardTask(
  { givens, size }: SudokuOptions,
  draw: Task['draw'],
  form: (board: string) => string,
): Task {
  checkRange('givens', givens, 1, size * size)
  const [boxRows, boxColumns] = sudokuBoxes[size]
  return {
    name: 'puzzle',
    block: size * size,
    layout: { kind: 'sudoku', columns: size, box_columns: boxColumns, box_rows: boxRows },
    alphabet: Array.from({ length: size }, (_, digit) => String(digit + 1)),
    draw,
    form,
    answerForm: form,
  }
}

/** Throws `out_of_range` if the board cannot have so many or so few givens. */
export const sudokuTask = (options: SudokuOptions): Task =>
  boardTask(options, (draws) => drawPuzzle(options, draws), canonicalForm)
