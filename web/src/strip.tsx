/** What the server is doing, in a line: from its own metrics, where they are within reach. */
import { signal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { type Sample, parseMetrics, sumOf } from './metrics.js'
import { send, status } from './server.js'

const SECONDS = 2

interface Figures {
  running: number
  waiting: number
  slots: number
  slotsUsed: number
  stepsPerSecond: number
  queries: number
  hits: number
  version: string
}

const figures = signal<Figures | undefined>(undefined)
/** Metrics may be on a port of their own, or for other keys. */
const hidden = signal(false)

let before: { at: number; steps: number } | undefined

function figuresOf(samples: readonly Sample[]): Figures {
  const at = performance.now() / 1000
  const steps = sumOf(samples, 'basin_refinement_steps_total')
  const rate = before ? Math.max(0, (steps - before.steps) / (at - before.at)) : 0
  before = { at, steps }
  return {
    running: sumOf(samples, 'basin_requests', { state: 'running' }),
    waiting: sumOf(samples, 'basin_requests', { state: 'waiting' }),
    slots: sumOf(samples, 'basin_slots'),
    slotsUsed: sumOf(samples, 'basin_slots_used'),
    stepsPerSecond: rate,
    queries: sumOf(samples, 'basin_prefix_cache_queries_total'),
    hits: sumOf(samples, 'basin_prefix_cache_hits_total'),
    version: samples.find(({ name }) => name === 'basin_build_info')?.labels['version'] ?? '',
  }
}

async function look(): Promise<void> {
  if (document.hidden || hidden.value || status.value !== 'there') return
  try {
    figures.value = figuresOf(parseMetrics(await (await send('metrics')).text()))
  } catch {
    // A server that is away is looked for elsewhere; one that refuses is asked no more.
    figures.value = undefined
    hidden.value = status.peek() === 'there'
  }
}

export function MetricsStrip() {
  useEffect(() => {
    void look()
    const timer = setInterval(() => void look(), SECONDS * 1000)
    return () => clearInterval(timer)
  }, [status.value])
  const { value } = figures
  if (!value) return <span class="hint">{hidden.value && 'Metrics are not told here.'}</span>
  const items: [string, string][] = [
    ['running', String(value.running)],
    ['queue', String(value.waiting)],
    ['slots', `${String(value.slotsUsed)} / ${String(value.slots)}`],
    ['steps/s', Math.round(value.stepsPerSecond).toLocaleString('en')],
    [
      'prefix cache',
      value.queries > 0 ? `${String(Math.round((100 * value.hits) / value.queries))}%` : '–',
    ],
  ]
  return (
    <div class="strip">
      <dl>
        {items.map(([name, said]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{said}</dd>
          </div>
        ))}
      </dl>
      {value.version !== '' && <span class="version">Basin {value.version}</span>}
    </div>
  )
}
