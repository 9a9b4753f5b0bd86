/** A template without a layout: its positions in a row that wraps. */
import { CellText, GridCell } from './grid.js'
import { inRows, useGridKeys } from './grid-keys.js'
import type { DrawingProps } from './props.js'

export function PlainDrawing(props: DrawingProps) {
  const { cells, label, own } = props
  const keys = useGridKeys(props, inRows(1))
  return (
    <div class="plain" ref={keys.ref} onKeyDown={keys.onKeyDown} role="grid" aria-label={label}>
      <div class="row" role="row">
        {cells.map((cell, position) => (
          <GridCell
            key={position}
            cell={cell}
            classes={['position', cell.given && 'given']}
            keys={keys}
            label={cell.text === '' ? 'empty' : cell.text}
            own={own}
            position={position}
          >
            <CellText cell={cell} />
          </GridCell>
        ))}
      </div>
    </div>
  )
}
