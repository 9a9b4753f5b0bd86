/** A graph around a circle: every vertex has a ring whose parts are the colours that it may have. */
import type { Cell } from '../cells.js'
import { CellText, Grid, GridCell } from './grid.js'
import { inOrder, useGridKeys } from './grid-keys.js'
import type { DrawingProps } from './props.js'
import { ringOf, VERTEX_SIZE, vertexCell, vertexStyles } from './ring.js'

/** The probabilities of colours, as parts of a circle; what is left is of no colour. */
function partsOf({ certainty, text, weighed }: Cell): string {
  const shares = weighed.length > 0 ? weighed : [{ token: text, probability: certainty }]
  let from = 0
  const parts = shares.flatMap(({ probability, token }) => {
    const style = vertexStyles[token]
    if (style === undefined) return []
    const to = from + probability
    const part = `var(${style}) ${from.toFixed(3)}turn ${to.toFixed(3)}turn`
    from = to
    return [part]
  })
  return `conic-gradient(${[...parts, `var(--line) ${from.toFixed(3)}turn`].join(', ')})`
}

function describe(name: string, { certainty, given, text }: Cell): string {
  if (text === '') return `${name}, open`
  return given ? `${name} ${text}` : `${name} ${text}, ${String(Math.round(100 * certainty))}% sure`
}

const percent = (share: number): string => `${(100 * share).toFixed(2)}%`

export function GraphDrawing(props: DrawingProps) {
  const { cells, edit, label, own } = props
  const { edges, vertices } = ringOf(cells.map(({ given, text }) => (given ? text : '')))
  /** A vertex has a cell where it is mentioned first. */
  const first = vertices.map(({ at: [position = 0] }) => position)
  const everywhere = (position: number, character: string | undefined): void => {
    for (const each of vertices[first.indexOf(position)]?.at ?? []) edit?.(each, character)
  }
  const keys = useGridKeys({ ...props, ...(edit && { edit: everywhere }) }, inOrder(first), (p) =>
    first.includes(p),
  )
  return (
    <Grid kind="graph" columns={1 / VERTEX_SIZE} keys={keys} label={label}>
      <svg viewBox="0 0 1 1" aria-hidden="true">
        {edges.map(([a, b]) => (
          <line key={`${a.name}${b.name}`} x1={a.x} y1={a.y} x2={b.x} y2={b.y} />
        ))}
      </svg>
      {vertices.map((vertex, i) => {
        const { name, x, y } = vertex
        const cell = vertexCell(vertex, cells)
        const position = first[i] as number
        return (
          <div
            class="row"
            role="row"
            key={name}
            style={{ '--left': percent(x), '--top': percent(y), '--parts': partsOf(cell) }}
          >
            <GridCell
              cell={cell}
              classes={['vertex', cell.given && 'given']}
              keys={keys}
              label={describe(name, cell)}
              own={own}
              position={position}
            >
              <span class="disc">
                <span class="name">{name}</span> <CellText cell={cell} kind="colour" />
              </span>
            </GridCell>
          </div>
        )
      })}
    </Grid>
  )
}
