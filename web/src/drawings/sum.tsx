/** A sum in columns, as it is written on paper: most significant digit first, a rule above the result. */
import type { Cell } from '../cells.js'
import type { Layout } from '../wire.js'
import { CellText, Grid, GridCell } from './grid.js'
import { inRows, useGridKeys } from './grid-keys.js'
import type { DrawingProps } from './props.js'

type Sum = Extract<Layout, { kind: 'sum' }>

/** Stands where a column has no digit. */
const PAD = '.'

function describe(cell: Cell): string {
  if (cell.text === '') return 'empty'
  const text = cell.text === PAD ? 'no digit' : cell.text
  return cell.given ? text : `${text}, ${String(Math.round(100 * cell.certainty))}% sure`
}

function Digit({ cell }: { cell: Cell }) {
  if (cell.text === PAD || cell.text === '') return <span class="nothing" />
  const others = cell.certainty < 0.9 ? cell.weighed.slice(1, 3) : []
  return (
    <>
      <CellText cell={cell} kind="digit" />
      {others.length > 0 && (
        <span class="others">
          {others.map(({ probability, token }) => (
            <span key={token} style={{ opacity: Math.min(1, 1.3 * Math.sqrt(probability)) }}>
              {token}
            </span>
          ))}
        </span>
      )}
    </>
  )
}

export function SumDrawing(props: DrawingProps & { layout: Sum }) {
  const { cells, label, layout, own } = props
  const { columns } = layout
  const keys = useGridKeys(props, inRows(columns + 1, true))
  /** First positions of the two terms and of the result. */
  const starts = [0, columns + 1, 2 * (columns + 1)] as const
  const place = (position: number) => {
    const cell = cells[position] as Cell
    return (
      <GridCell
        key={position}
        cell={cell}
        classes={['place', cell.given && 'given']}
        keys={keys}
        label={describe(cell)}
        own={own}
        position={position}
      >
        <Digit cell={cell} />
      </GridCell>
    )
  }
  const empty = (key: string, text = '') => (
    <div key={key} role="gridcell" class="place sign" aria-label={text || 'nothing'}>
      {text}
    </div>
  )
  const digits = (start: number, length: number) =>
    Array.from({ length }, (_, i) => place(start + length - 1 - i))
  return (
    <Grid kind="sum" columns={columns + 2} keys={keys} label={label}>
      <div class="row" role="row">
        {[empty('a', ''), empty('b'), ...digits(starts[0], columns)]}
      </div>
      <div class="row" role="row">
        {[empty('c', '+'), empty('d'), ...digits(starts[1], columns)]}
      </div>
      <div class="row result" role="row">
        {[empty('e', '='), ...digits(starts[2], columns + 1)]}
      </div>
    </Grid>
  )
}
