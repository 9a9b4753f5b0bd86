/** Sentences, one a line, whose open words fall into place; an open word shows what is weighed for it. */
import { useState } from 'preact/hooks'
import type { Cell } from '../cells.js'
import { type DrawingProps, inkOf, LEGIBLE } from './props.js'
import { Readings } from './story.js'
import type { Layout } from '../wire.js'

interface SentencesProps extends DrawingProps {
  layout: Extract<Layout, { kind: 'sentences' }>
}

/** Whether a sentence stands here, or nothing. */
const hasWords = (line: readonly Cell[]): boolean =>
  line.some(({ given, text }) => !given || /\p{L}/u.test(text))

export function SentencesDrawing({ cells, edit, label, layout, own }: SentencesProps) {
  const [selected, select] = useState<number | undefined>()
  const { columns, head } = layout
  const lines = Array.from({ length: Math.ceil((cells.length - head) / columns) }, (_, line) => ({
    first: head + line * columns,
    words: cells.slice(head + line * columns, head + (line + 1) * columns),
  })).filter(({ words }) => hasWords(words))
  const open = (position: number, { given }: Cell): void => {
    if (given) edit?.(position, undefined)
    select(position === selected ? undefined : position)
  }
  const weighed = selected === undefined ? [] : (cells[selected]?.weighed ?? [])
  return (
    <div class="story">
      <div class="words sentences" role="group" aria-label={label}>
        {lines.map(({ first, words }) => (
          <div key={first}>
            {words.map((cell, i) => {
              const position = first + i
              if (cell.given && !own.has(position)) return cell.text
              const sure = `${String(Math.round(100 * cell.certainty))}% sure`
              return (
                <span
                  key={`${String(position)}${cell.text}`}
                  role="button"
                  tabIndex={0}
                  class={`piece ${cell.given ? 'own' : 'read'} ${position === selected ? 'selected' : ''}`}
                  style={{ '--sure': inkOf(cell.certainty, LEGIBLE).toFixed(2) }}
                  data-position={position}
                  title={cell.given ? 'yours: click to leave it open again' : sure}
                  aria-pressed={position === selected}
                  onClick={() => open(position, cell)}
                  onKeyDown={(event) => {
                    if (event.key !== 'Enter' && event.key !== ' ') return
                    open(position, cell)
                    event.preventDefault()
                    event.stopPropagation()
                  }}
                >
                  {cell.text === '' ? ' ___' : cell.text}
                </span>
              )
            })}
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
