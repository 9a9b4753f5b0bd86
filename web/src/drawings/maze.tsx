/** A maze of squares: walls, the two ends, and the path as strongly as it is believed. */
import type { Cell } from '../cells.js'
import type { Layout } from '../wire.js'
import { useGridKeys } from './grid-keys.js'
import type { DrawingProps } from './props.js'

type Maze = Extract<Layout, { kind: 'maze' }>

const PATH = 'x'

/** How probable it is that the shortest path leads over this square. */
const onPath = (cell: Cell): number =>
  cell.given
    ? Number(cell.text === PATH)
    : (cell.weighed.find(({ token }) => token === PATH)?.probability ??
      (cell.weighed.length === 0 && cell.text === PATH ? 1 : 0))

function describe(cell: Cell): string {
  if (cell.given && cell.text === '#') return 'wall'
  if (cell.given && cell.text === 'S') return 'start'
  if (cell.given && cell.text === 'G') return 'goal'
  return cell.text === '' ? 'open' : `path ${String(Math.round(100 * onPath(cell)))}%`
}

export function MazeDrawing(props: DrawingProps & { layout: Maze }) {
  const { cells, label, layout, own } = props
  const { columns } = layout
  const keys = useGridKeys(props, columns)
  const rows = Array.from({ length: columns }, (_, row) =>
    cells.slice(row * columns, (row + 1) * columns),
  )
  return (
    <div
      class="maze"
      role="grid"
      aria-label={label}
      ref={keys.ref}
      onKeyDown={keys.onKeyDown}
      style={{ '--columns': String(columns) }}
    >
      {rows.map((row, r) => (
        <div class="row" role="row" key={r}>
          {row.map((cell, column) => {
            const position = r * columns + column
            const end = cell.given && (cell.text === 'S' || cell.text === 'G')
            const wall = cell.given && cell.text === '#'
            const classes = [
              'square',
              wall && 'wall',
              end && 'end',
              own.has(position) && cell.given && 'own',
            ]
            return (
              <div
                key={position}
                role="gridcell"
                class={classes.filter(Boolean).join(' ')}
                data-position={position}
                tabIndex={position === keys.current ? 0 : -1}
                aria-label={describe(cell)}
                onClick={() => keys.focus(position)}
              >
                {end ? (
                  cell.text
                ) : (
                  <span class="path" style={{ opacity: wall ? 0 : onPath(cell).toFixed(2) }} />
                )}
              </div>
            )
          })}
        </div>
      ))}
    </div>
  )
}
