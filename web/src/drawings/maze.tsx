/** A maze of squares: walls, the two ends, and the path as strongly as it is believed. */
import type { Cell } from '../cells.js'
import type { Layout } from '../wire.js'
import { Grid, GridCell } from './grid.js'
import { inRows, useGridKeys } from './grid-keys.js'
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
  const keys = useGridKeys(props, inRows(columns))
  const rows = Array.from({ length: columns }, (_, row) =>
    cells.slice(row * columns, (row + 1) * columns),
  )
  return (
    <Grid kind="maze" columns={columns} keys={keys} label={label}>
      {rows.map((row, r) => (
        <div class="row" role="row" key={r}>
          {row.map((cell, column) => {
            const position = r * columns + column
            const end = cell.given && (cell.text === 'S' || cell.text === 'G')
            const wall = cell.given && cell.text === '#'
            return (
              <GridCell
                key={position}
                cell={cell}
                classes={['square', wall && 'wall', end && 'end']}
                keys={keys}
                label={describe(cell)}
                own={own}
                position={position}
              >
                {end ? (
                  cell.text
                ) : (
                  <span class="path" style={{ opacity: wall ? 0 : onPath(cell).toFixed(2) }} />
                )}
              </GridCell>
            )
          })}
        </div>
      ))}
    </Grid>
  )
}
