/** Moving through a grid by the arrow keys, and typing into it: one cell can be reached by Tab. */
import { useRef, useState } from 'preact/hooks'
import { isEntry } from '../puzzles.js'
import type { DrawingProps } from './props.js'

const MOVES: Readonly<Record<string, readonly [number, number]>> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
}

export interface GridKeys {
  current: number
  /** Of the element that holds the cells, each with `data-position`. */
  ref: { current: HTMLDivElement | null }
  onKeyDown: (event: KeyboardEvent) => void
  focus: (position: number) => void
}

/** The position so many cells further down and to the right; undefined or out of range where there is none. */
export type Move = (position: number, down: number, right: number) => number | undefined

/** `columns`: positions of a row; what lies in a row has ascending positions, or descending ones. */
export const inRows =
  (columns: number, mirrored = false): Move =>
  (position, down, right) =>
    position + down * columns + (mirrored ? -right : right)

/** From one to the next, and back. */
export const inOrder =
  (positions: readonly number[]): Move =>
  (position, down, right) =>
    positions[positions.indexOf(position) + down + right]

/** `has`: whether a position has a cell. */
export function useGridKeys(
  { cells, edit, layout }: DrawingProps,
  move: Move,
  has: (position: number) => boolean = () => true,
): GridKeys {
  const [focused, setCurrent] = useState(0)
  const current = has(focused) ? focused : cells.findIndex((_, position) => has(position))
  const ref = useRef<HTMLDivElement>(null)
  const focus = (position: number): void => {
    setCurrent(position)
    ref.current?.querySelector<HTMLElement>(`[data-position="${String(position)}"]`)?.focus()
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const way = MOVES[event.key]
    if (way) {
      const next = move(current, ...way)
      if (next !== undefined && next >= 0 && next < cells.length) focus(next)
      event.preventDefault()
      event.stopPropagation()
    } else if (edit && (event.key === 'Backspace' || event.key === 'Delete')) {
      edit(current, undefined)
      event.preventDefault()
    } else if (edit && isEntry(layout, event.key)) {
      edit(current, event.key)
      event.preventDefault()
      event.stopPropagation()
    }
  }
  return { current, ref, onKeyDown, focus }
}
