/** The frame of the page: what is at its top, and which of the views is open. */
import { useEffect } from 'preact/hooks'
import { CompareView } from './compare.js'
import { eachFrame } from './frames.js'
import { ManyView } from './many.js'
import { ModelsView } from './models-view.js'
import { place } from './place.js'
import { alone, key, loadModels, models, status, useKey } from './server.js'
import {
  chooseModel,
  effort,
  linkOf,
  model,
  notice,
  restore,
  run,
  start,
  view,
  type View,
  views,
} from './state.js'
import { MetricsStrip } from './strip.js'
import type { Layout, Model } from './wire.js'
import { theme, toggleTheme } from './theme.js'
import { endTour, Tour, tourIsNew } from './tour.js'
import { WatchView } from './watch.js'

const names: Record<View, string> = {
  watch: 'Watch',
  compare: 'Compare',
  many: 'Many at once',
  models: 'Models',
}

/** What a newcomer sees first: a small board that takes its time, if there is a model of one. */
function firstModel(): Model | undefined {
  const ranks: Record<Layout['kind'] | 'none', number> = {
    sudoku: 0,
    maze: 1,
    sum: 2,
    graph: 3,
    sentences: 4,
    brackets: 5,
    none: 6,
  }
  const rank = ({ capabilities: { template } }: Model): number =>
    ranks[template?.layout?.kind ?? 'none']
  const length = ({ capabilities }: Model): number => capabilities.template?.length ?? Infinity
  return [...models.value].sort(
    (a, b) =>
      rank(a) - rank(b) || length(a) - length(b) || b.capabilities.steps - a.capabilities.steps,
  )[0]
}

/** Opens what the link says, or plays an example to whoever comes without one. */
function open(): void {
  const link = restore(location.hash)
  if (link) {
    endTour(false)
    if (!link.run || view.value !== 'watch') return
    start()
    const begun = run.value
    if (!begun || link.at === undefined) return
    const { at } = link
    begun.pace = Infinity
    const ready = begun.version.subscribe(() => {
      if (begun.last < at && begun.live) return
      queueMicrotask(() => ready())
      begun.seek(at)
    })
    return
  }
  const first = firstModel()
  if (!first) return
  chooseModel(first.id)
  // It ends where it is as good as right, and goes on where it is not.
  if (first.capabilities.energy_target !== null) effort.value = 'high'
  start()
}

function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 24" aria-hidden="true">
      <path class="bowl" d="M2 3c5 0 5 17 14 17S25 3 30 3" />
      <circle class="ball" cx="16" cy="15.5" r="3.2" />
    </svg>
  )
}

function Status() {
  if (status.value === 'there' || status.value === 'opening') return null
  if (status.value === 'locked')
    return (
      <form
        class="banner"
        aria-label="Key"
        onSubmit={(event) => {
          event.preventDefault()
          const field = new FormData(event.currentTarget).get('key')
          if (typeof field === 'string') void useKey(field)
        }}
      >
        <label for="key">This server answers to keys. Yours:</label>
        <input id="key" name="key" type="password" autocomplete="off" defaultValue={key.value} />
        <button type="submit" class="primary">
          Use it
        </button>
        {key.value !== '' && <span class="hint">The server does not know the one you gave.</span>}
      </form>
    )
  return (
    <p class="banner" role="alert">
      The server is not there.{' '}
      {place.value === 'browser'
        ? 'This browser computes without it.'
        : 'What was recorded can still be replayed; the page goes on by itself as soon as the server is back.'}
    </p>
  )
}

function Tabs() {
  const move = (event: KeyboardEvent, i: number): void => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    if (step === undefined) return
    const next = views[(i + step + views.length) % views.length] ?? 'watch'
    view.value = next
    document.getElementById(`tab-${next}`)?.focus()
    event.stopPropagation()
  }
  return (
    <div class="tabs" role="tablist" aria-label="Views">
      {views.map((name, i) => (
        <button
          key={name}
          type="button"
          role="tab"
          id={`tab-${name}`}
          aria-selected={view.value === name}
          aria-controls="view"
          tabIndex={view.value === name ? 0 : -1}
          onClick={() => (view.value = name)}
          onKeyDown={(event) => move(event, i)}
        >
          {names[name]}
        </button>
      ))}
    </div>
  )
}

export function App() {
  useEffect(() => {
    void loadModels()
    const opened = models.subscribe((list) => {
      if (list.length === 0 || model.value) return
      queueMicrotask(open)
    })
    const moved = (): void => {
      if (location.hash !== '' && location.hash !== linkOf()) open()
    }
    addEventListener('hashchange', moved)
    return () => {
      opened()
      removeEventListener('hashchange', moved)
    }
  }, [])
  useEffect(() => eachFrame((seconds) => run.value?.advance(seconds)), [])
  return (
    <>
      <header>
        <h1>
          <a class="brand" href="./" aria-label="Basin, start again">
            <Logo />
            <span>Basin</span>
          </a>
        </h1>
        <Tabs />
        <div class="tools">
          <button type="button" class="quiet" onClick={() => (tourIsNew.value = true)}>
            Tour
          </button>
          {!alone && (
            <a class="quiet" href="docs">
              API
            </a>
          )}
          <button
            type="button"
            class="quiet round"
            aria-label={theme.value === 'dark' ? 'Light colours' : 'Dark colours'}
            onClick={toggleTheme}
          >
            <svg viewBox="0 0 24 24" aria-hidden="true">
              {theme.value === 'dark' ? (
                <path d="M12 4V2m0 20v-2M4 12H2m20 0h-2M6.3 6.3 4.9 4.9m14.2 14.2-1.4-1.4m0-11.4 1.4-1.4M4.9 19.1l1.4-1.4M12 7.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9Z" />
              ) : (
                <path d="M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5Z" />
              )}
            </svg>
          </button>
        </div>
      </header>
      <Status />
      {view.value === 'watch' && <Tour />}
      <main>
        <div id="view" role="tabpanel" aria-labelledby={`tab-${view.value}`}>
          {!model.value && status.value === 'opening' && <p class="hint">Asking the server …</p>}
          {model.value && view.value === 'watch' && <WatchView model={model.value} />}
          {model.value && view.value === 'compare' && <CompareView />}
          {model.value && view.value === 'many' && <ManyView />}
          {view.value === 'models' && <ModelsView />}
        </div>
      </main>
      <footer>{!alone && <MetricsStrip />}</footer>
      <p class="sr" role="status" aria-live="polite">
        {notice.value}
      </p>
    </>
  )
}
