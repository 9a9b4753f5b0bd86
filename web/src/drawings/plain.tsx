/** A template without a layout: its positions in a row that wraps. */
import { useGridKeys } from './grid-keys.js'
import { type DrawingProps, inkOf } from './props.js'

export function PlainDrawing(props: DrawingProps) {
  const { cells, label, own } = props
  const keys = useGridKeys(props, 1)
  return (
    <div class="plain" ref={keys.ref} onKeyDown={keys.onKeyDown} role="grid" aria-label={label}>
      <div class="row" role="row">
        {cells.map((cell, position) => (
          <div
            key={position}
            role="gridcell"
            class={['position', cell.given && 'given', own.has(position) && cell.given && 'own']
              .filter(Boolean)
              .join(' ')}
            data-position={position}
            tabIndex={position === keys.current ? 0 : -1}
            aria-label={cell.text === '' ? 'empty' : cell.text}
            onClick={() => keys.focus(position)}
          >
            <span
              key={cell.text}
              class={cell.given ? '' : 'read'}
              style={cell.given ? {} : { '--sure': inkOf(cell.certainty).toFixed(2) }}
            >
              {cell.text}
            </span>
          </div>
        ))}
      </div>
    </div>
  )
}
