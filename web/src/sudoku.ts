/** The rules of sudoku: which cells are at odds, and new puzzles with exactly one solution. */

export interface Box {
  columns: number
  box_columns: number
  box_rows: number
}

/** The groups in which a digit may stand once: rows, columns and boxes, as positions. */
export function groupsOf({ box_columns, box_rows, columns }: Box): number[][] {
  const all = Array.from({ length: columns }, (_, i) => i)
  const rows = all.map((row) => all.map((column) => row * columns + column))
  const down = all.map((column) => all.map((row) => row * columns + column))
  const across = columns / box_columns
  const boxes = all.map((box) => {
    const top = Math.floor(box / across) * box_rows
    const left = (box % across) * box_columns
    return all.map((i) => {
      const row = top + Math.floor(i / box_columns)
      return row * columns + left + (i % box_columns)
    })
  })
  return [...rows, ...down, ...boxes]
}

/** Positions whose digit stands a second time in one of their groups. */
export function conflictsOf(digits: readonly string[], box: Box): Set<number> {
  const found = new Set<number>()
  for (const group of groupsOf(box)) {
    const seen = new Map<string, number>()
    for (const position of group) {
      const digit = digits[position] ?? ''
      if (digit === '') continue
      const before = seen.get(digit)
      if (before !== undefined) found.add(before).add(position)
      seen.set(digit, position)
    }
  }
  return found
}

/** Solutions of a board of numbers, 0 for a blank, up to `most` of them. */
function solutions(board: number[], box: Box, peers: readonly Set<number>[], most: number): number {
  let place = -1
  let options: number[] = []
  for (const [position, digit] of board.entries()) {
    if (digit !== 0) continue
    const taken = new Set([...(peers[position] ?? [])].map((peer) => board[peer]))
    const free = Array.from({ length: box.columns }, (_, i) => i + 1).filter((d) => !taken.has(d))
    if (place >= 0 && free.length >= options.length) continue
    place = position
    options = free
    if (free.length <= 1) break
  }
  if (place < 0) return 1
  let found = 0
  for (const digit of options) {
    board[place] = digit
    found += solutions(board, box, peers, most - found)
    if (found >= most) break
  }
  board[place] = 0
  return found
}

function peersOf(box: Box): Set<number>[] {
  const peers = Array.from({ length: box.columns ** 2 }, () => new Set<number>())
  for (const group of groupsOf(box))
    for (const position of group)
      for (const other of group) if (other !== position) peers[position]?.add(other)
  return peers
}

export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const out = [...items]
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    const [a, b] = [out[i] as T, out[j] as T]
    out[i] = b
    out[j] = a
  }
  return out
}

/** A solved board: shifted rows, with digits renamed and rows and columns exchanged within boxes. */
function solved({ box_columns, box_rows, columns }: Box, random: () => number): number[] {
  const digits = shuffled(
    Array.from({ length: columns }, (_, i) => i + 1),
    random,
  )
  /** An order of lines that keeps every band of `size` together. */
  const order = (size: number): number[] =>
    shuffled(
      Array.from({ length: columns / size }, (_, band) => band),
      random,
    ).flatMap((band) =>
      shuffled(
        Array.from({ length: size }, (_, i) => band * size + i),
        random,
      ),
    )
  const rows = order(box_rows)
  const downs = order(box_columns)
  return rows.flatMap((row) =>
    downs.map((column) => {
      const shift = (row % box_rows) * box_columns + Math.floor(row / box_rows)
      return digits[(column + shift) % columns] as number
    }),
  )
}

/** A puzzle with one solution: givens are taken away, in any order, while it keeps one. */
export function newPuzzle(box: Box, givens: number, blank: string, random: () => number): string {
  const board = solved(box, random)
  const peers = peersOf(box)
  let left = board.length
  for (const position of shuffled([...board.keys()], random)) {
    if (left <= givens) break
    const digit = board[position] as number
    board[position] = 0
    if (solutions(board, box, peers, 2) === 1) left--
    else board[position] = digit
  }
  return board.map((digit) => (digit === 0 ? blank : String(digit))).join('')
}
