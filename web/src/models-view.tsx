/** What is served, and for administrators what of it is in memory. */
import { signal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { kindOf } from './puzzles.js'
import { ask, key, models, reasonOf, Refusal, status } from './server.js'
import { chooseModel, modelId, notice, view } from './state.js'
import type { Model, ModelState } from './wire.js'

const states = signal<readonly ModelState[] | undefined>(undefined)
const problem = signal('')
const busy = signal('')

/** Between two looks while a model comes or goes. */
const MOVING_MS = 400

/** Nobody administers without a key. */
async function loadStates(): Promise<void> {
  if (key.value === '') {
    states.value = undefined
    return
  }
  try {
    states.value = (await ask<{ data: ModelState[] }>('admin/models')).data
    problem.value = ''
    const moving = states.value.some(({ state }) => state === 'loading' || state === 'leaving')
    if (moving) setTimeout(() => void loadStates(), MOVING_MS)
  } catch (error) {
    states.value = undefined
    const refused = error instanceof Refusal && (error.status === 403 || error.status === 404)
    problem.value = refused ? '' : reasonOf(error)
  }
}

async function change(id: string, verb: 'load' | 'unload'): Promise<void> {
  busy.value = id
  try {
    await ask(`admin/models/${id}/${verb}`, {})
    notice.value = `${id}: ${verb === 'load' ? 'loaded' : 'unloading'}`
  } catch (error) {
    problem.value = reasonOf(error)
  }
  busy.value = ''
  await loadStates()
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`

function answersOf(model: Model): string {
  const { block, template } = model.capabilities
  if (template) return `a whole ${kindOf(model)}`
  return block === 1 ? 'text, word by word' : `text, in blocks of ${String(block)} tokens`
}

function Card({ model, state }: { model: Model; state: ModelState | undefined }) {
  const { capabilities: can } = model
  const facts: [string, string][] = [
    ['answers', answersOf(model)],
    ['positions at once', String(can.block)],
    ['trained steps', String(can.steps)],
    ['energy', can.energy],
    ['width', String(can.dimensions)],
    ['context', String(can.context_length)],
  ]
  if (state) facts.push(['memory', mib(state.bytes)])
  return (
    <article class="panel card">
      <div class="title">
        <h2>{model.id}</h2>
        {state && <span class={`badge ${state.state}`}>{state.state}</span>}
      </div>
      <p>{model.description}</p>
      <dl>
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <div class="buttons">
        <button
          type="button"
          class={model.id === modelId.value ? '' : 'primary'}
          onClick={() => {
            chooseModel(model.id)
            view.value = 'watch'
          }}
        >
          Watch it
        </button>
        {state && (
          <button
            type="button"
            disabled={busy.value === model.id || state.state === 'loading'}
            onClick={() => void change(model.id, state.state === 'unloaded' ? 'load' : 'unload')}
          >
            {busy.value === model.id ? 'Wait …' : state.state === 'unloaded' ? 'Load' : 'Unload'}
          </button>
        )}
      </div>
    </article>
  )
}

export function ModelsView() {
  useEffect(() => void loadStates(), [status.value])
  return (
    <div class="models">
      {problem.value !== '' && (
        <p class="note" role="alert">
          {problem.value}
        </p>
      )}
      <div class="cards">
        {models.value.map((model) => (
          <Card
            key={model.id}
            model={model}
            state={states.value?.find(({ id }) => id === model.id)}
          />
        ))}
      </div>
      {!states.value && models.value.length > 0 && (
        <p class="hint">
          Which models are in memory, and loading and unloading them, is for holders of an
          administrator’s key (basin keys add NAME --admin).
        </p>
      )}
    </div>
  )
}
