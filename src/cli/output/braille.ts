/** A curve of braille dots: two columns and four rows of dots in each character. */

/** Bits of a character's dots, by row and column. */
const DOTS = [
  [0x01, 0x08],
  [0x02, 0x10],
  [0x04, 0x20],
  [0x40, 0x80],
] as const
const BRAILLE = 0x2800

/** One value a column of dots, until there are more: then the curve loses some. */
function columnsOf(values: readonly number[], columns: number): number[] {
  const count = Math.min(columns, values.length)
  return Array.from(
    { length: count },
    (_, i) => values[Math.round((i * (values.length - 1)) / Math.max(1, count - 1))] as number,
  )
}

/**
 * Rows of `width` characters, the highest first; logarithmic where every value is above 0. Neighbouring
 * values are joined, so that a steep fall is a line and not two dots.
 */
export function brailleCurve(values: readonly number[], width: number, height: number): string[] {
  const finite = values.filter(Number.isFinite)
  const log = finite.every((value) => value > 0)
  const levels = columnsOf(finite, 2 * width).map((value) => (log ? Math.log(value) : value))
  const low = Math.min(...levels)
  const range = Math.max(...levels) - low
  const most = 4 * height - 1
  const rowOf = (level: number): number =>
    range === 0 ? most : Math.round(most * (1 - (level - low) / range))
  const cells = Array.from({ length: height }, () => new Array<number>(width).fill(0))
  levels.forEach((level, column) => {
    const row = rowOf(level)
    const before = column === 0 ? row : rowOf(levels[column - 1] as number)
    const from = before < row ? before + 1 : row
    const to = before > row ? before - 1 : row
    for (let y = Math.min(from, row); y <= Math.max(to, row); y++) {
      const cell = cells[Math.floor(y / 4)] as number[]
      const x = Math.floor(column / 2)
      const dots = DOTS[(y % 4) as 0 | 1 | 2 | 3]
      cell[x] = (cell[x] as number) | dots[(column % 2) as 0 | 1]
    }
  })
  return cells.map((row) => row.map((bits) => String.fromCodePoint(BRAILLE + bits)).join(''))
}
