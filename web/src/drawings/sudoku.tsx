/** A sudoku: digits inked by certainty, and small ones that are weighed where none is sure. */
import type { Cell } from '../cells.js'
import { conflictsOf } from '../sudoku.js'
import type { Layout } from '../wire.js'
import { CellText, Grid, GridCell } from './grid.js'
import { inRows, useGridKeys } from './grid-keys.js'
import { type DrawingProps, inkOf } from './props.js'

/** Above this certainty a cell shows its digit alone. */
const SURE = 0.9
/** Below this one only the digits it weighs. */
const UNSURE = 0.5

type Sudoku = Extract<Layout, { kind: 'sudoku' }>

/** What the cell weighs besides, where it is not sure. */
const runnersOf = ({ certainty, weighed }: Cell) => (certainty < SURE ? weighed.slice(1, 3) : [])

function describe(cell: Cell, wrong: boolean): string {
  if (cell.given) return `${cell.text}, given`
  if (cell.text === '') return 'empty'
  const others = runnersOf(cell).map(({ token }) => `, or ${token}`)
  const sure = `${cell.text}, ${String(Math.round(100 * cell.certainty))}% sure${others.join('')}`
  return wrong ? `${sure}, in conflict` : sure
}

function Weighed({ cell, layout }: { cell: Cell; layout: Sudoku }) {
  return (
    <span
      class="weighed"
      aria-hidden="true"
      style={{ gridTemplateColumns: `repeat(${layout.box_columns}, 1fr)` }}
    >
      {Array.from({ length: layout.columns }, (_, i) => {
        const digit = String(i + 1)
        const probability = cell.weighed.find(({ token }) => token === digit)?.probability ?? 0
        return (
          <span
            key={digit}
            style={{ opacity: probability > 0 ? inkOf(Math.sqrt(probability), 0.3) : 0 }}
          >
            {digit}
          </span>
        )
      })}
    </span>
  )
}

function Content({ cell, layout }: { cell: Cell; layout: Sudoku }) {
  if (cell.given) return <CellText cell={cell} kind="digit" />
  if (cell.text === '') return null
  const digit = cell.certainty >= UNSURE && <CellText cell={cell} kind="digit" />
  return (
    <>
      {digit}
      {!digit && <Weighed cell={cell} layout={layout} />}
      {digit && cell.certainty < SURE && (
        <span class="runners" aria-hidden="true">
          {runnersOf(cell).map(({ probability, token }) => (
            // The label of the cell names it; what the cell says is its digit alone.
            <span
              key={token}
              data-token={token}
              style={{ opacity: inkOf(Math.sqrt(probability), 0.45) }}
            />
          ))}
        </span>
      )}
    </>
  )
}

export function SudokuDrawing(props: DrawingProps & { layout: Sudoku }) {
  const { cells, label, layout, own } = props
  const { box_columns, box_rows, columns } = layout
  const keys = useGridKeys(props, inRows(columns))
  const wrong = conflictsOf(
    cells.map(({ certainty, given, text }) => (given || certainty >= UNSURE ? text : '')),
    layout,
  )
  const rows = Array.from({ length: columns }, (_, row) =>
    Array.from({ length: columns }, (_, column) => row * columns + column),
  )
  return (
    <Grid kind="sudoku" columns={columns} keys={keys} label={label}>
      {rows.map((row, r) => (
        <div class="row" role="row" key={r}>
          {row.map((position, column) => {
            const cell = cells[position] as Cell
            const classes = [
              'cell',
              cell.given && 'given',
              wrong.has(position) && 'wrong',
              !cell.given && cell.text !== '' && cell.certainty < SURE && 'unsure',
              column % box_columns === 0 && 'left-edge',
              r % box_rows === 0 && 'top-edge',
            ]
            return (
              <GridCell
                key={position}
                cell={cell}
                classes={classes}
                keys={keys}
                label={describe(cell, wrong.has(position))}
                own={own}
                position={position}
              >
                <Content cell={cell} layout={layout} />
              </GridCell>
            )
          })}
        </div>
      ))}
    </Grid>
  )
}
