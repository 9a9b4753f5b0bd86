/** A text that grows piece by piece, inked by the certainty each piece settled with. */
import { useState } from 'preact/hooks'
import type { Moment, Piece } from '../recording.js'
import type { Position } from '../wire.js'
import { inkOf, LEGIBLE } from './props.js'

interface StoryProps {
  prompt: string
  pieces: readonly Piece[]
  moment: Moment | undefined
  /** Of the positions that settle now; a position that is given reads its own token alone. */
  current: readonly Position[] | undefined
  /** Puts another word in the place of a piece and goes on from there. */
  replace?: (piece: number, text: string) => void
}

/** Readings of one position as bars. */
export function Readings({
  choose,
  reading,
}: {
  reading: Position
  choose?: ((text: string) => void) | undefined
}) {
  return (
    <ol class="readings">
      {reading.tokens.map((token, i) => {
        const probability = reading.probabilities[i] ?? 0
        const body = (
          <>
            <span class="token">{token.replaceAll('\n', '⏎').replaceAll(' ', '\u2423')}</span>
            <span class="bar" aria-hidden="true">
              <span style={{ transform: `scaleX(${probability.toFixed(3)})` }} />
            </span>
            <span class="share">{(100 * probability).toFixed(probability < 0.1 ? 1 : 0)}%</span>
          </>
        )
        return (
          <li key={token}>
            {choose ? (
              <button type="button" onClick={() => choose(token)}>
                {body}
              </button>
            ) : (
              body
            )}
          </li>
        )
      })}
    </ol>
  )
}

/** Another word in place of a piece: one of those that were weighed, or one's own. */
function Replacement({
  piece,
  replace,
}: {
  piece: Piece
  replace: ((text: string) => void) | undefined
}) {
  const [text, setText] = useState(piece.text)
  return (
    <div class="replacement">
      <p class="hint">
        What else was weighed instead of <q>{piece.text.trim()}</q>
        {replace && ': choose one, or write your own, and the rest follows'}
      </p>
      <Readings reading={piece.others} choose={replace} />
      {replace && (
        <form
          onSubmit={(event) => {
            event.preventDefault()
            replace(/^\s/.test(piece.text) && !/^\s/.test(text) ? ` ${text}` : text)
          }}
        >
          <input
            aria-label="Your own word"
            value={text}
            onInput={({ currentTarget }) => setText(currentTarget.value)}
          />
          <button type="submit">Put it there</button>
        </form>
      )}
    </div>
  )
}

export function StoryDrawing({ current, moment, pieces, prompt, replace }: StoryProps) {
  const [selected, select] = useState<number | undefined>()
  const shown = pieces.slice(0, moment ? moment.settled : 0)
  const piece = selected === undefined ? undefined : shown[selected]
  const [doubtful] = [...(current ?? [])].sort(
    (a, b) => (a.probabilities[0] ?? 1) - (b.probabilities[0] ?? 1),
  )
  return (
    <div class="story">
      <p class="words">
        <span class="prompt">{prompt}</span>
        {shown.map(({ certainty, text }, i) => (
          // A button of its own kind would not break within lines as words do.
          <span
            key={i}
            role="button"
            tabIndex={0}
            class={i === selected ? 'piece selected' : 'piece'}
            style={{ '--sure': inkOf(certainty, LEGIBLE).toFixed(2) }}
            title={`${String(Math.round(100 * certainty))}% sure`}
            aria-pressed={i === selected}
            onClick={() => select(i === selected ? undefined : i)}
            onKeyDown={(event) => {
              if (event.key !== 'Enter' && event.key !== ' ') return
              select(i === selected ? undefined : i)
              event.preventDefault()
              event.stopPropagation()
            }}
          >
            {text}
          </span>
        ))}
        {current?.map(({ probabilities, tokens }, i) => (
          // Another reading is another element, so that its change shows.
          <span
            key={`${i} ${tokens[0] ?? ''}`}
            class="current"
            style={{ '--sure': inkOf(probabilities[0] ?? 1, LEGIBLE).toFixed(2) }}
          >
            {tokens[0]}
          </span>
        ))}
      </p>
      {piece && selected !== undefined ? (
        <Replacement
          key={selected}
          piece={piece}
          replace={
            replace &&
            ((text) => {
              select(undefined)
              replace(selected, text)
            })
          }
        />
      ) : (
        doubtful && (
          <div class="replacement">
            <p class="hint">
              {current?.length === 1 ? 'Weighed for the next word' : 'Weighed where it is in doubt'}
            </p>
            <Readings reading={doubtful} />
          </div>
        )
      )}
    </div>
  )
}
