/** Brackets with an arc from each to the one that closes it: the arcs nest as the brackets do. */
import { CellText, GridCell } from './grid.js'
import { inRows, useGridKeys } from './grid-keys.js'
import { PAD, pairsOf } from './pairs.js'
import { type DrawingProps, inkOf } from './props.js'

const WIDTH = 24
/** Where there is no room for more. */
const LEAST_WIDTH = 14
const LEVEL = 15

export function BracketsDrawing(props: DrawingProps) {
  const { cells, label, own } = props
  const keys = useGridKeys(props, inRows(cells.length))
  const { alone, arcs } = pairsOf(cells.map(({ text }) => text))
  const top = LEVEL * Math.max(3, ...arcs.map(({ height }) => height)) + 6
  const middle = (position: number): number => (position + 0.5) * WIDTH
  const sure = (position: number): number => cells[position]?.certainty ?? 0
  return (
    <div class="brackets" ref={keys.ref} onKeyDown={keys.onKeyDown}>
      <div
        class="span"
        style={{
          width: `${cells.length * WIDTH}px`,
          maxWidth: '100%',
          minWidth: `${cells.length * LEAST_WIDTH}px`,
        }}
      >
        <svg viewBox={`0 0 ${cells.length * WIDTH} ${top}`} aria-hidden="true">
          {arcs.map(({ from, height, to }) => {
            const [a, b] = [middle(from), middle(to)]
            const y = top - LEVEL * height
            const bend = Math.min(12, (b - a) / 2)
            return (
              <path
                key={`${from}-${to}`}
                class="arc"
                d={`M${a} ${top}V${y + bend}Q${a} ${y} ${a + bend} ${y}H${b - bend}Q${b} ${y} ${b} ${y + bend}V${top}`}
                style={{ opacity: inkOf(Math.min(sure(from), sure(to))) }}
              />
            )
          })}
        </svg>
        <div role="grid" aria-label={label}>
          <div class="row" role="row">
            {cells.map((cell, position) => (
              <GridCell
                key={position}
                cell={cell}
                classes={['bracket', cell.given && 'given', alone.has(position) && 'wrong']}
                keys={keys}
                label={cell.text === '' ? 'empty' : cell.text}
                own={own}
                position={position}
              >
                <CellText cell={cell} text={cell.text === PAD ? '·' : cell.text} />
              </GridCell>
            ))}
          </div>
        </div>
      </div>
    </div>
  )
}
