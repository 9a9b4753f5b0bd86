/**
 * Rules that a sudoku may have beside rows, columns and boxes, and a solver that knows them. Cells are
 * numbered row by row from 0. This file knows no model and draws no random numbers.
 */

/** Groups hold different digits, cages add up to their sums (and hold different digits), pairs rise. */
export interface SudokuRules {
  readonly groups: readonly (readonly number[])[]
  readonly cages: readonly { readonly cells: readonly number[]; readonly sum: number }[]
  /** The digit at `less` is less than that at `than`. */
  readonly rising: readonly { readonly less: number; readonly than: number }[]
}

export const noRules: SudokuRules = Object.freeze({ groups: [], cages: [], rising: [] })

/** Row, column and box of a cell, as indices in one list of 3 N units; boxes have `boxRows` x `boxColumns` cells. */
export function unitsOf(
  cell: number,
  size: number,
  boxRows: number,
  boxColumns: number,
): [number, number, number] {
  const row = Math.floor(cell / size)
  const column = cell % size
  const across = size / boxColumns
  const box = Math.floor(row / boxRows) * across + Math.floor(column / boxColumns)
  return [row, size + column, 2 * size + box]
}

/** The cells of each of the 3 N units. */
export function plainGroups(size: number, boxRows: number, boxColumns: number): number[][] {
  const groups: number[][] = Array.from({ length: 3 * size }, () => [])
  for (let cell = 0; cell < size * size; cell++)
    for (const unit of unitsOf(cell, size, boxRows, boxColumns)) groups[unit]?.push(cell)
  return groups
}

interface Cage {
  /** Cells of the cage without a digit. */
  open: number
  /** What they have to add up to. */
  left: number
}

/** How many digits a set of bits has, by that set. */
export const bitCounts = Uint8Array.from(
  { length: 512 },
  (_, bits) => bits.toString(2).replaceAll('0', '').length,
)

/** The digits of a set of bits, rising. */
export function digitsIn(bits: number): number[] {
  const digits: number[] = []
  for (let digit = 1; 1 << (digit - 1) <= bits; digit++)
    if (bits & (1 << (digit - 1))) digits.push(digit)
  return digits
}

/** Counts the solutions of one board by depth-first search at the cell with the fewest possible digits. */
export class RuleSearch {
  /** Bits of the digits that are taken, by group. */
  private readonly taken: Uint16Array
  /** Groups of each cell. */
  private readonly groupsOf: number[][]
  private readonly cages: Cage[]
  private readonly cagesOf: number[][]
  /** Cells that have to be greater, and less, by cell. */
  private readonly above: number[][]
  private readonly below: number[][]
  private readonly whole: number
  private found = 0
  /** The first solution. */
  solution: Uint8Array | undefined

  constructor(
    /** 0 for a blank. */
    private readonly cells: Uint8Array,
    private readonly size: number,
    plain: readonly (readonly number[])[],
    { cages, groups, rising }: SudokuRules,
  ) {
    const lists = () => Array.from(cells, (): number[] => [])
    const all = [...plain, ...groups, ...cages.map((cage) => cage.cells)]
    this.taken = new Uint16Array(all.length)
    this.groupsOf = lists()
    all.forEach((group, g) => {
      for (const cell of group) this.groupsOf[cell]?.push(g)
    })
    this.cages = cages.map(({ cells: members, sum }) => ({ open: members.length, left: sum }))
    this.cagesOf = lists()
    cages.forEach((cage, c) => {
      for (const cell of cage.cells) this.cagesOf[cell]?.push(c)
    })
    this.above = lists()
    this.below = lists()
    for (const { less, than } of rising) {
      this.above[less]?.push(than)
      this.below[than]?.push(less)
    }
    this.whole = (1 << size) - 1
  }

  /** Up to `limit`. `arrange` orders the digits that are tried at a cell. */
  count(limit: number, arrange?: (digits: number[]) => void): number {
    const given = this.cells.slice()
    this.cells.fill(0)
    for (const [cell, digit] of given.entries()) {
      if (digit === 0) continue
      if ((this.free(cell) & (1 << (digit - 1))) === 0) return 0
      this.put(cell, digit)
    }
    this.descend(limit, arrange)
    return this.found
  }

  private put(cell: number, digit: number): void {
    this.cells[cell] = digit
    this.flip(cell, digit, 1)
  }

  private take(cell: number, digit: number): void {
    this.cells[cell] = 0
    this.flip(cell, digit, -1)
  }

  private flip(cell: number, digit: number, sign: 1 | -1): void {
    for (const g of this.groupsOf[cell] as number[])
      this.taken[g] = (this.taken[g] as number) ^ (1 << (digit - 1))
    for (const c of this.cagesOf[cell] as number[]) {
      const cage = this.cages[c] as Cage
      cage.open -= sign
      cage.left -= sign * digit
    }
  }

  /** The bits of the digits that no rule forbids at a blank cell. */
  private free(cell: number): number {
    let bits = this.whole
    for (const g of this.groupsOf[cell] as number[]) bits &= ~(this.taken[g] as number)
    for (const c of this.cagesOf[cell] as number[]) bits &= this.fitting(this.cages[c] as Cage)
    for (const other of this.above[cell] as number[])
      bits &= this.lessThan(this.cells[other] as number)
    for (const other of this.below[cell] as number[])
      bits &= this.greaterThan(this.cells[other] as number)
    return bits
  }

  /** Digits of one more cell after which the other open cells of its cage can still make up the rest. */
  private fitting({ left, open }: Cage): number {
    const others = open - 1
    const least = (others * (others + 1)) / 2
    const most = others * this.size - (others * (others - 1)) / 2
    let bits = 0
    for (let digit = 1; digit <= this.size; digit++)
      if (left - digit >= least && left - digit <= most) bits |= 1 << (digit - 1)
    return bits
  }

  /** Without a digit there yet: any but the greatest. */
  private lessThan(digit: number): number {
    return digit === 0 ? this.whole >> 1 : (1 << (digit - 1)) - 1
  }

  private greaterThan(digit: number): number {
    return digit === 0 ? this.whole & ~1 : this.whole & ~((1 << digit) - 1)
  }

  private descend(limit: number, arrange: ((digits: number[]) => void) | undefined): void {
    let best = -1
    let bestBits = 0
    let fewest = Infinity
    for (let cell = 0; cell < this.cells.length; cell++) {
      if (this.cells[cell] !== 0) continue
      const bits = this.free(cell)
      const count = bitCounts[bits] as number
      if (count >= fewest) continue
      best = cell
      bestBits = bits
      fewest = count
      if (count <= 1) break
    }
    if (best < 0) {
      if (this.found++ === 0) this.solution = this.cells.slice()
      return
    }
    const digits = digitsIn(bestBits)
    arrange?.(digits)
    for (const digit of digits) {
      this.put(best, digit)
      this.descend(limit, arrange)
      this.take(best, digit)
      if (this.found >= limit) return
    }
  }
}
