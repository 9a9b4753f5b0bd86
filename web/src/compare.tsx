/** Two budgets or two models on the same input, side by side, with both energies in one chart. */
import { computed, effect, signal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { EnergyChart, short, shown } from './chart.js'
import { Choice, PaceSegments, Switch } from './controls.js'
import { AnswerDrawing } from './drawings/answer.js'
import { eachFrame } from './frames.js'
import { stepAt } from './recording.js'
import { Run } from './run.js'
import { models } from './server.js'
import {
  another,
  input,
  model,
  modelId,
  NOISE,
  NOISE_STEPS,
  notice,
  request,
  speed,
  stepsOf,
  takeTheSame,
} from './state.js'
import { type Effort, efforts, type Model } from './wire.js'
import { stateOf } from './watch.js'

interface Side {
  model: string
  effort: Effort
  candidates: number
}

const sides = [
  signal<Side>({ model: '', effort: 'low', candidates: 1 }),
  signal<Side>({ model: '', effort: 'high', candidates: 1 }),
] as const
const runs = signal<readonly (Run | undefined)[]>([undefined, undefined])

effect(() => {
  const pace = speed()
  for (const each of runs.peek()) if (each) each.pace = pace
})

const none: ReadonlySet<number> = new Set()

/** Models that take the same input as the one that is chosen. */
const rivals = computed(() => {
  const own = model.value?.capabilities.template ?? null
  return models.value.filter(({ capabilities: { template } }) =>
    own && template ? takeTheSame(own, template) : own === template,
  )
})

const modelOf = (side: Side): Model | undefined =>
  rivals.value.find(({ id }) => id === side.model) ?? model.value

function startBoth(): void {
  const asked = request.value
  if (!asked) return
  for (const each of runs.value) each?.close()
  const rest = { ...asked }
  delete rest.refinement
  runs.value = sides.map(({ value: side }) => {
    const chosen = modelOf(side)
    const many = side.candidates > 1
    return new Run(
      {
        ...rest,
        model: chosen?.id ?? rest.model,
        reasoning_effort: side.effort,
        ...(many && {
          refinement: { candidates: side.candidates, noise: NOISE, noise_steps: NOISE_STEPS },
        }),
      },
      {
        pace: speed(),
        budget: chosen ? stepsOf(side.effort, chosen) : 0,
        hold: false,
      },
    )
  })
}

function SideView({ index }: { index: 0 | 1 }) {
  const side = sides[index]
  const current = runs.value[index]
  const chosen = modelOf(side.value)
  if (!chosen) return null
  const name = index === 0 ? 'A' : 'B'
  const version = current?.version.value
  const cursor = current?.cursor.value ?? -1
  const moment = current?.recording.moments[cursor]
  const step = stepAt(moment)
  const change = (part: Partial<Side>): void => {
    side.value = { ...side.value, ...part }
  }
  return (
    <section
      class={`panel side side-${name.toLowerCase()}`}
      aria-label={`Side ${name}`}
      data-version={version}
    >
      <div class="side-settings">
        <span class="side-name" aria-hidden="true">
          {name}
        </span>
        <Choice
          name={`Model ${name}`}
          options={rivals.value.map(({ id }) => id)}
          value={chosen.id}
          set={(id) => change({ model: id })}
        />
        <Choice
          name={`Effort ${name}`}
          options={efforts}
          value={side.value.effort}
          set={(effort) => change({ effort })}
          text={(effort) => `${effort} (${String(stepsOf(effort, chosen))} steps)`}
        />
        <Choice
          name={`Candidates ${name}`}
          options={[1, 2, 4, 8, 16]}
          value={side.value.candidates}
          set={(candidates) => change({ candidates })}
          text={(count) => (count === 1 ? '1 candidate' : `${String(count)} candidates`)}
        />
      </div>
      <AnswerDrawing
        model={chosen}
        recording={current?.recording}
        input={current ? (current.request.template ?? current.request.prompt ?? '') : input.value}
        cursor={cursor}
        own={none}
        label={`Answer ${name}`}
      />
      <p class="state">
        <span class="where">
          {step ? `energy ${short(step.energy)}, step ${String(cursor + 1)}` : 'not begun'}
        </span>
        <span>{stateOf(current)}</span>
      </p>
    </section>
  )
}

export function CompareView() {
  useEffect(() => {
    const end = eachFrame((seconds) => {
      for (const each of runs.value) each?.advance(seconds)
    })
    return () => {
      end()
      for (const each of runs.value) each?.close()
      runs.value = [undefined, undefined]
    }
  }, [modelId.value])
  const both = runs.value.filter((each) => each !== undefined)
  const done =
    both.length === 2 && both.every((each) => !each.live && each.cursor.value >= each.last)
  useEffect(() => {
    if (!done) return
    const [a, b] = both.map(({ recording: { ending } }) => ending?.energy.best ?? Number.NaN)
    if (a !== undefined && b !== undefined)
      notice.value = `Energy ${short(a)} for A, ${short(b)} for B.`
  }, [done])
  return (
    <div class="compare">
      <section class="panel compare-bar" aria-label="What is compared">
        <p class="hint">
          The same question to two budgets, or to two models. Whose energy gets lower, and in how
          many steps?
        </p>
        <div class="buttons">
          <button type="button" class="primary" onClick={startBoth}>
            {both.length > 0 ? 'Again' : 'Go'}
          </button>
          <button type="button" onClick={() => another(false)}>
            Another question
          </button>
          <button type="button" onClick={() => another(true)}>
            A harder one
          </button>
        </div>
        <PaceSegments name="Pace of both" />
      </section>
      <SideView index={0} />
      <SideView index={1} />
      <section class="panel energy" aria-label="Both energies">
        <div class="legend">
          <span class="key a">A</span>
          <span class="key b">B</span>
          <Switch of={shown.log} name="log scale" />
        </div>
        <EnergyChart
          curves={both.map((each, i) => ({
            recording: each.recording,
            upTo: each.cursor.value,
            name: i === 0 ? 'A' : 'B',
          }))}
          at={both.map((each) => each.cursor.value)}
          version={both.map((each) => each.version.value).join()}
          label="Both energies against steps"
        />
      </section>
    </div>
  )
}
