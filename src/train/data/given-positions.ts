/**
 * Positions that are given while the others are inferred, so that one model continues, fills gaps and fills
 * scattered blanks. Pure functions of random numbers.
 */
import type { Batch } from './training-batch.js'

/** Least and largest share of a block that is given. */
export interface GivenShare {
  min: number
  max: number
}

/** Random numbers that `withGiven` draws for a block of K positions. */
export const givenDraws = (block: number): number => block + 3

/**
 * The batch with a share of every block given, drawn evenly from the range. At least one position is
 * inferred. In half of the blocks the inferred ones are a run, whose end may be that of the block; in the
 * others they are scattered. `draw`: uniform in (0, 1), by block and by number within `givenDraws`.
 */
export function withGiven(
  batch: Batch,
  { max, min }: GivenShare,
  draw: (block: number, index: number) => number,
): Batch {
  const blocks = batch.rows * batch.answers
  const size = batch.targets.length / blocks
  const moving = new Float32Array(batch.targets.length)
  for (let block = 0; block < blocks; block++) {
    const share = min + (max - min) * draw(block, 0)
    const inferred = Math.max(1, Math.round(size * (1 - share)))
    const places =
      draw(block, 1) < 0.5
        ? runOf(size, inferred, draw(block, 2))
        : scattered(size, inferred, (index) => draw(block, 3 + index))
    for (const place of places) moving[block * size + place] = 1
  }
  return { ...batch, moving, clamped: true }
}

/**
 * In every second row the given share of what was to be inferred is given too; where that would be all of
 * it, the row stays as it is.
 */
export function withAnswersGiven(...[batch, share, draw]: Parameters<typeof withGiven>): Batch {
  const drawn = withGiven(batch, share, draw).moving
  const moving = batch.moving.slice()
  const size = moving.length / batch.rows
  for (let row = 1; row < batch.rows; row += 2) {
    const [first, end] = [row * size, (row + 1) * size]
    const left = drawn.slice(first, end).map((moves, i) => moves * (moving[first + i] as number))
    if (left.includes(1)) moving.set(left, first)
  }
  return { ...batch, moving }
}

const runOf = (size: number, length: number, draw: number): number[] => {
  const first = Math.floor(draw * (size - length + 1))
  return Array.from({ length }, (_, i) => first + i)
}

/** The first `count` of all places in a random order. */
function scattered(size: number, count: number, draw: (index: number) => number): number[] {
  const places = Array.from({ length: size }, (_, i) => i)
  for (let i = 0; i < count; i++) {
    const j = i + Math.floor(draw(i) * (size - i))
    const other = places[j] as number
    places[j] = places[i] as number
    places[i] = other
  }
  return places.slice(0, count)
}
