/** What can be taken along: the request as code, a link, and the run as JSON or as a moving picture. */
import { signal } from '@preact/signals'
import { codeOf, languages, type Language } from './code.js'
import { addressOf, alone } from './server.js'
import { linkOf, model, notice, request, run } from './state.js'
import { animatedSvg } from './svg.js'

const language = signal<Language>('curl')
const copied = signal('')

async function copy(what: string, text: string): Promise<void> {
  await navigator.clipboard.writeText(text)
  copied.value = what
  notice.value = `${what} copied`
  setTimeout(() => (copied.value = ''), 1600)
}

function save(name: string, type: string, content: string): void {
  const url = URL.createObjectURL(new Blob([content], { type }))
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}

function runAsJson(): string {
  const recording = run.value?.recording
  const { ending, moments, pieces } = recording ?? {}
  return JSON.stringify({ request: recording?.request, moments, pieces, ending }, null, 1)
}

function runAsSvg(): string | undefined {
  const { value: current } = run
  const { value: chosen } = model
  if (!current || !chosen) return undefined
  return animatedSvg(current.recording, chosen)
}

function Saving({ code }: { code: string }) {
  const current = run.value
  const none = !current || current.version.value === 0 || current.last < 0
  const name = `basin-${model.value?.id ?? 'run'}`
  return (
    <div class="buttons">
      {!alone && (
        <button type="button" onClick={() => void copy('Code', code)}>
          {copied.value === 'Code' ? 'Copied' : 'Copy the code'}
        </button>
      )}
      <button
        type="button"
        onClick={() => {
          const hash = linkOf(run.value?.cursor.value)
          history.replaceState(null, '', hash)
          void copy('Link', location.href)
        }}
      >
        {copied.value === 'Link' ? 'Copied' : 'Copy a link'}
      </button>
      <button
        type="button"
        disabled={none}
        onClick={() => save(`${name}.json`, 'application/json', runAsJson())}
      >
        Save the run (JSON)
      </button>
      <button
        type="button"
        disabled={none}
        onClick={() => {
          const picture = runAsSvg()
          if (picture) save(`${name}.svg`, 'image/svg+xml', picture)
        }}
      >
        Save it moving (SVG)
      </button>
    </div>
  )
}

export function TakeAway() {
  if (!request.value) return null
  const code = codeOf(language.value, request.value, addressOf('.').href.replace(/\/$/, ''))
  return (
    <section class="panel take" aria-label="Take it with you">
      <div class="title">
        <h2>Take it with you</h2>
        {!alone && (
          <div class="segments" role="group" aria-label="Language">
            {languages.map((each) => (
              <button
                key={each}
                type="button"
                aria-pressed={language.value === each}
                onClick={() => (language.value = each)}
              >
                {each}
              </button>
            ))}
          </div>
        )}
      </div>
      {!alone && (
        <div class="code">
          <pre tabIndex={0} aria-label={`The request in ${language.value}`}>
            <code>{code}</code>
          </pre>
        </div>
      )}
      <Saving code={code} />
    </section>
  )
}
