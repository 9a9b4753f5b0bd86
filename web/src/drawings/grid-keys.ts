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

/** `columns`: positions of a row; what lies in a row has ascending positions, or descending ones. */
export function useGridKeys(
  { cells, edit, layout }: DrawingProps,
  columns: number,
  mirrored = false,
): GridKeys {
  const [current, setCurrent] = useState(0)
  const ref = useRef<HTMLDivElement>(null)
  const focus = (position: number): void => {
    setCurrent(position)
    ref.current?.querySelector<HTMLElement>(`[data-position="${String(position)}"]`)?.focus()
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const move = MOVES[event.key]
    if (move) {
      const [down, right] = move
      const next = current + down * columns + (mirrored ? -right : right)
      if (next >= 0 && next < cells.length) focus(next)
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
