/**
 * The symmetries of a sudoku board as permutations of its cells: bands, rows within a band, stacks,
 * columns within a stack, and, where boxes are square, the transposition. A puzzle so rearranged is
 * another puzzle with as many solutions. Together with a renaming of the digits these are all of them
 * (for 9x9: 2 x 6^8 = 3,359,232 arrangements). Knows no file and no token.
 */

/** Rows and columns of a box, by the number of cells. */
const boxes = new Map<number, readonly [number, number]>([
  [16, [2, 2]],
  [36, [2, 3]],
  [81, [3, 3]],
])

export const hasSymmetries = (cells: number): boolean => boxes.has(cells)

/** How many random numbers `boardSymmetry` asks for, for a board of so many cells. */
export function symmetryDraws(cells: number): number {
  const [boxRows, boxColumns] = boxOf(cells)
  const size = boxRows * boxColumns
  // Shuffles: bands, stacks, rows within each band, columns within each stack; and the transposition.
  const along = (box: number): number => size / box - 1 + (size / box) * (box - 1)
  return along(boxRows) + along(boxColumns) + 1
}

/** A symmetry drawn evenly: cell i of the new board is cell `result[i]` of the old one. */
export function boardSymmetry(cells: number, draw: (below: number) => number): number[] {
  const [boxRows, boxColumns] = boxOf(cells)
  const size = boxRows * boxColumns
  const rows = lines(size, boxRows, draw)
  const columns = lines(size, boxColumns, draw)
  const flipped = draw(2) === 1 && boxRows === boxColumns
  return Array.from({ length: cells }, (_, cell) => {
    const row = rows[Math.floor(cell / size)] as number
    const column = columns[cell % size] as number
    return flipped ? column * size + row : row * size + column
  })
}

/** Rows or columns in a new order that keeps those of one band or stack together. */
function lines(size: number, box: number, draw: (below: number) => number): number[] {
  const bands = shuffled(size / box, draw)
  return bands.flatMap((band) => shuffled(box, draw).map((line) => band * box + line))
}

function shuffled(count: number, draw: (below: number) => number): number[] {
  const order = Array.from({ length: count }, (_, i) => i)
  for (let i = count - 1; i > 0; i--) {
    const j = draw(i + 1)
    const other = order[j] as number
    order[j] = order[i] as number
    order[i] = other
  }
  return order
}

function boxOf(cells: number): readonly [number, number] {
  const box = boxes.get(cells)
  if (!box) throw new RangeError(`a board has 16, 36 or 81 cells, not ${cells}`)
  return box
}
