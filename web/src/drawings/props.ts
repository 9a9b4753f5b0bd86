import type { Cell } from '../cells.js'
import type { Layout } from '../wire.js'

export interface DrawingProps {
  layout: Layout | null
  cells: readonly Cell[]
  /** Positions that the reader has filled in. */
  own: ReadonlySet<number>
  /** Sets the character of a position, or opens it where there is none. Absent: it cannot be edited. */
  edit?: (position: number, character: string | undefined) => void
  label: string
}

/** Least ink of text that is to be read, whatever its certainty: a contrast of 4.5 remains. */
export const LEGIBLE = 0.66

/** Certainty as ink: what is likely is dark. */
export const inkOf = (certainty: number, least = 0.3): number =>
  least + (1 - least) * certainty ** 2
