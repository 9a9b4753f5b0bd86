/** How the steps of one call follow each other. Engines share it. */
import type { DescendRow } from './engine.js'

/** Indices of rows that may share a batch: a round ends where a slot comes again. */
export function roundsOf(rows: readonly DescendRow[]): number[][] {
  const rounds: number[][] = []
  const slots = new Set<number>()
  rows.forEach(({ slot }, i) => {
    if (i === 0 || slots.has(slot)) {
      rounds.push([])
      slots.clear()
    }
    slots.add(slot)
    rounds.at(-1)?.push(i)
  })
  return rounds
}
