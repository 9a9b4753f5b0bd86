/** Blanks what a puzzle gives, as far as its answer stays the only one. Imports nothing that a browser lacks. */
import type { Draws, Range } from './draws.js'

/**
 * Blanks cells of a full answer in random order, each unless the puzzle is not allowed then, until the number of
 * givens is one of `givens`. Returns that number, which is larger where too few cells may be blanked.
 */
export function removeGivens(
  cells: Uint8Array,
  givens: Range,
  draws: Draws,
  isAllowed: () => boolean,
): number {
  const order = [...cells.keys()]
  draws.shuffle(order)
  const target = draws.within(givens)
  let left = cells.length
  for (const cell of order) {
    if (left <= target) break
    const digit = cells[cell] as number
    cells[cell] = 0
    if (isAllowed()) left--
    else cells[cell] = digit
  }
  return left
}
