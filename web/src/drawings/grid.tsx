/** What the drawings of templates share: the grid, a cell of it, and the text that is read in a cell. */
import type { ComponentChildren } from 'preact'
import type { Cell } from '../cells.js'
import type { GridKeys } from './grid-keys.js'
import { type DrawingProps, inkOf } from './props.js'

/** `columns`: of the drawing, from which its style takes the size of a cell. */
export function Grid(props: {
  children: ComponentChildren
  columns: number
  keys: GridKeys
  kind: string
  label: string
}) {
  const { children, columns, keys, kind, label } = props
  return (
    <div
      class={kind}
      role="grid"
      aria-label={label}
      ref={keys.ref}
      onKeyDown={keys.onKeyDown}
      style={{ '--columns': String(columns) }}
    >
      {children}
    </div>
  )
}

/** `classes`: those of this kind of cell; what is false among them is left out. */
export function GridCell(props: {
  cell: Cell
  children: ComponentChildren
  classes: readonly (string | false)[]
  keys: GridKeys
  label: string
  own: DrawingProps['own']
  position: number
}) {
  const { cell, children, classes, keys, label, own, position } = props
  const all = [...classes, own.has(position) && cell.given && 'own']
  return (
    <div
      role="gridcell"
      class={all.filter(Boolean).join(' ')}
      data-position={position}
      tabIndex={position === keys.current ? 0 : -1}
      aria-label={label}
      onClick={() => keys.focus(position)}
    >
      {children}
    </div>
  )
}

interface CellTextProps {
  cell: Cell
  /** A class of the element. */
  kind?: string
  /** What is shown in place of the cell's own text. */
  text?: string
}

/** Inked by the certainty of the cell. Another reading is another element, so that its change shows. */
export function CellText({ cell, kind, text = cell.text }: CellTextProps) {
  const classes = [kind, !cell.given && 'read']
  return (
    <span
      key={cell.text}
      class={classes.filter(Boolean).join(' ')}
      style={cell.given ? {} : { '--sure': inkOf(cell.certainty).toFixed(2) }}
    >
      {text}
    </span>
  )
}
