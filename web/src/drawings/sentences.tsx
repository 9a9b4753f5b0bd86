/** Sentences, one a line, each with the facts that are true after it, which fall into place. */
import { useState } from 'preact/hooks'
import { slotsOf } from '../../../src/tokenizer/template-positions.js'
import type { Cell } from '../cells.js'
import type { Layout } from '../wire.js'
import { type DrawingProps, inkOf, LEGIBLE } from './props.js'
import { Readings } from './story.js'

interface SentencesProps extends DrawingProps {
  layout: Extract<Layout, { kind: 'sentences' }>
}

type Placed = Cell & { position: number }

export function SentencesDrawing({ cells, edit, label, layout, own }: SentencesProps) {
  const [selected, select] = useState<number | undefined>()
  const placed = cells.map((cell, position): Placed => ({ ...cell, position }))
  const slots = slotsOf(placed, layout).filter(({ sentence }) =>
    sentence.some(({ text }) => /\p{L}/u.test(text)),
  )
  const choose = ({ given, position }: Placed): void => {
    if (given) edit?.(position, undefined)
    select(position === selected ? undefined : position)
  }
  // Tokens bring the space before a word along, which the first word of a line does without.
  const word = (cell: Placed, place: number) => {
    const { certainty, given, position } = cell
    const spaced = cell.text === '' ? ' __' : cell.text
    const text = place === 0 ? spaced.trimStart() : spaced
    if (given && !own.has(position)) return text
    const sure = `${String(Math.round(100 * certainty))}% sure`
    return (
      <span
        key={`${String(position)}${cell.text}`}
        role="button"
        tabIndex={0}
        class={`piece ${given ? 'own' : 'read'} ${position === selected ? 'selected' : ''}`}
        style={{ '--sure': inkOf(certainty, LEGIBLE).toFixed(2) }}
        data-position={position}
        title={given ? 'yours: click to leave it open again' : sure}
        aria-pressed={position === selected}
        onClick={() => choose(cell)}
        onKeyDown={(event) => {
          if (event.key !== 'Enter' && event.key !== ' ') return
          choose(cell)
          event.preventDefault()
          event.stopPropagation()
        }}
      >
        {text}
      </span>
    )
  }
  const weighed = selected === undefined ? [] : (cells[selected]?.weighed ?? [])
  return (
    <div class="story">
      <div class="words sentences" role="group" aria-label={label}>
        {slots.map(({ clauses, first, sentence }) => (
          <div class="slot" key={first}>
            <p>{sentence.map(word)}</p>
            {clauses.map((clause) => (
              <p class="clause" key={clause[0]?.position}>
                {clause.map(word)}
              </p>
            ))}
          </div>
        ))}
      </div>
      {selected !== undefined && weighed.length > 0 && (
        <div class="replacement">
          <p class="hint">Weighed for this word{edit && ': choose one, and the rest follows'}</p>
          <Readings
            reading={{
              tokens: weighed.map(({ token }) => token),
              probabilities: weighed.map(({ probability }) => probability),
            }}
            choose={
              edit &&
              ((token) => {
                edit(selected, token)
                select(undefined)
              })
            }
          />
        </div>
      )}
    </div>
  )
}
