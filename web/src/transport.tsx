/** Under the drawing: play, pause, one step, more, enough, and the scrubber over every step. */
import { useEffect } from 'preact/hooks'
import { place } from './place.js'
import type { Run } from './run.js'
import { model, start } from './state.js'

interface TransportProps {
  current: Run | undefined
  state: string
  pointed: string
}

const icons = {
  play: 'M8 5v14l11-7z',
  pause: 'M7 5h3.5v14H7zM13.5 5H17v14h-3.5z',
  back: 'M7 5h2.5v14H7zM18 5v14l-8-7z',
  step: 'M6 5v14l8-7zM14.500 5H17v14h-2.500z',
  again: 'M12 5a7 7 0 1 0 7 7h-2.200A4.800 4.800 0 1 1 12 7.200V10l4.500-3.900L12 2z',
  stop: 'M6.500 6.500h11v11h-11z',
}

export function Icon({ name }: { name: keyof typeof icons }) {
  return (
    <svg viewBox="0 0 24 24" class="icon" aria-hidden="true">
      <path d={icons[name]} />
    </svg>
  )
}

/** Keys that act wherever the focus is, but in fields that take text. */
function useShortcuts(current: Run | undefined): void {
  useEffect(() => {
    const pressed = (event: KeyboardEvent): void => {
      const { target } = event
      const field =
        target instanceof HTMLElement && target.closest('input, textarea, select, [role=tablist]')
      if (field || event.ctrlKey || event.metaKey || event.altKey) return
      const button = target instanceof HTMLElement && target.closest('button, a, summary')
      const acts: Readonly<Record<string, () => void>> = {
        ' ': () =>
          current?.playing.value ? current.pause() : current ? current.resume() : start(),
        Enter: start,
        '.': () => current?.step(),
        ArrowRight: () => current?.step(),
        ArrowLeft: () => current?.seek(current.cursor.value - 1),
        Home: () => current?.seek(0),
        End: () => current?.seek(current.last),
      }
      const act = acts[event.key]
      if (!act || (button && (event.key === ' ' || event.key === 'Enter'))) return
      act()
      event.preventDefault()
    }
    addEventListener('keydown', pressed)
    return () => removeEventListener('keydown', pressed)
  }, [current])
}

export function Transport({ current, pointed, state }: TransportProps) {
  useShortcuts(current)
  const cursor = current?.cursor.value ?? -1
  const version = current?.version.value
  const last = current?.last ?? -1
  const expected = current?.expected ?? 0
  const playing = current?.playing.value === true && current.phase.value !== 'failed'
  const phase = current?.phase.value
  const open = phase === 'running' || phase === 'held'
  const more = Math.max(1, model.value?.capabilities.steps ?? 16)
  return (
    <div class={`transport${pointed}`} data-version={version}>
      <input
        class="scrubber"
        type="range"
        aria-label="Step"
        aria-valuetext={
          cursor < 0 ? 'before the first step' : `step ${String(cursor + 1)} of ${String(expected)}`
        }
        min={0}
        max={Math.max(1, expected)}
        value={cursor + 1}
        disabled={last < 0}
        style={{ '--done': `${String((100 * (cursor + 1)) / Math.max(1, expected))}%` }}
        onInput={({ currentTarget }) => current?.seek(Number(currentTarget.value) - 1)}
      />
      <div class="buttons">
        <button type="button" class="primary go" title="Begin (Enter)" onClick={start}>
          {current ? 'Again' : 'Go'}
        </button>
        <button
          type="button"
          class="icon-button"
          aria-label="One step back"
          title="One step back (←)"
          disabled={cursor < 0}
          onClick={() => current?.seek(cursor - 1)}
        >
          <Icon name="back" />
        </button>
        <button
          type="button"
          class="icon-button"
          aria-label={playing ? 'Pause' : 'Play'}
          title={playing ? 'Pause (space)' : 'Play (space)'}
          disabled={!current || (playing && current.live && !current.canPause)}
          onClick={() => (playing ? current.pause() : current?.resume())}
        >
          <Icon name={playing ? 'pause' : 'play'} />
        </button>
        <button
          type="button"
          class="icon-button"
          aria-label="One step"
          title="One step (→)"
          disabled={!current || (cursor >= last && !open)}
          onClick={() => current?.step()}
        >
          <Icon name="step" />
        </button>
        <button
          type="button"
          disabled={!open}
          title="A larger budget for this answer"
          onClick={() => current?.extend(more)}
        >
          Extend <span class="amount">+{more}</span>
        </button>
        <button
          type="button"
          disabled={phase !== 'running' && !(playing && cursor < last)}
          title="Settle now, with the best so far"
          onClick={() => current?.finish()}
        >
          Finish
        </button>
        <button
          type="button"
          class="quiet"
          disabled={phase !== 'running' && phase !== 'opening'}
          title="End without an answer"
          onClick={() => current?.cancel()}
        >
          Cancel
        </button>
      </div>
      <p class="state" data-phase={phase ?? 'ready'}>
        <span class="where">
          {cursor < 0 ? 'start' : `step ${String(cursor + 1)}`}
          {last >= 0 && ` of ${String(expected)}`}
        </span>
        <span>{state}</span>
      </p>
      {current?.kind.value === 'stream' && (
        <p class="note" role="alert">
          No WebSocket gets through to this server, so the answer comes as a stream: you can watch,
          extend, finish and replay it, but not pause the server or go on after the end.
        </p>
      )}
      {current && current.failure.value !== '' && phase !== 'failed' && (
        <p class="note" role="alert">
          {place.value === 'server' ? 'The server' : 'This browser'} says: {current.failure.value}.
        </p>
      )}
    </div>
  )
}
