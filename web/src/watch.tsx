/** One answer: the drawing and its transport, the energy beside it, the controls below. */
import { useComputed, useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { EnergyChart, short, shown } from './chart.js'
import { Controls, Switch } from './controls.js'
import { AnswerDrawing } from './drawings/answer.js'
import { LandscapePanel } from './landscape.js'
import { stepAt } from './recording.js'
import type { Run } from './run.js'
import { Rules } from './rules.js'
import { place } from './place.js'
import { candidate, edit, input, notice, own, replace, run } from './state.js'
import { TakeAway } from './take.js'
import { pointed } from './tour.js'
import { Transport } from './transport.js'
import type { Model } from './wire.js'

const endings: Readonly<Record<string, string>> = {
  converged: 'its energy came to rest',
  energy_target: 'it is as good as it needs to be',
  max_steps: 'the steps were spent',
  max_seconds: 'the seconds were spent',
  finished: 'you asked for the best so far',
  cancelled: 'it was cancelled',
  diverged: 'its energy was no longer finite',
}

/** What a run is doing, in a sentence. */
export function stateOf(current: Run | undefined): string {
  if (!current) return 'Ready.'
  const { ending } = current.recording
  switch (current.phase.value) {
    case 'opening':
      return place.value === 'server' ? 'Asking the server …' : 'Asking this browser …'
    case 'running':
      return current.playing.value ? 'Settling.' : 'Paused.'
    case 'failed':
      return `It failed: ${current.failure.value}.`
    case 'cancelled':
      return 'Cancelled.'
    case 'held':
    case 'ended':
      if (current.playing.value && current.cursor.value < current.last) return 'Settling.'
      return ending ? `Settled: ${endings[ending.reason] ?? ending.reason}.` : 'Settled.'
  }
}

function Readout({
  dash,
  field,
  name,
  value,
}: {
  name: string
  value: number | undefined
  dash?: string
  field?: (typeof shown)[keyof typeof shown]
}) {
  const body = (
    <>
      {dash !== undefined && (
        <svg class="swatch" viewBox="0 0 22 6" aria-hidden="true">
          <line x1="0" y1="3" x2="22" y2="3" stroke-dasharray={dash} />
        </svg>
      )}
      <span class="name">{name}</span>
      <span class="value">{value === undefined ? '–' : short(value)}</span>
    </>
  )
  if (!field) return <div class="readout">{body}</div>
  return (
    <button
      type="button"
      class="readout"
      aria-pressed={field.value}
      title={field.value ? `Hide ${name}` : `Show ${name}`}
      onClick={() => (field.value = !field.value)}
    >
      {body}
    </button>
  )
}

function Candidates({ current }: { current: Run }) {
  const count = current.recording.candidates
  if (count < 2) return null
  const moment = current.recording.moments[current.cursor.value]
  return (
    <div class="candidates" role="group" aria-label="Which candidate is shown">
      <button
        type="button"
        aria-pressed={candidate.value === undefined}
        onClick={() => (candidate.value = undefined)}
      >
        best
      </button>
      {Array.from({ length: count }, (_, i) => (
        <button
          key={i}
          type="button"
          aria-pressed={candidate.value === i}
          class={moment?.leader === i ? 'leader' : ''}
          title={short(moment?.candidates[i]?.energy ?? Number.NaN)}
          onClick={() => (candidate.value = i)}
        >
          {i + 1}
        </button>
      ))}
    </div>
  )
}

/** Which part of a text settles at a position: a word, or a block of tokens. A template settles whole. */
function partAt({ capabilities: { block, template } }: Model, position: number): string {
  if (template) return ''
  return `${block === 1 ? 'word' : 'block'} ${String(Math.floor(position / block) + 1)}, `
}

export function WatchView({ model }: { model: Model }) {
  const current = run.value
  const version = current?.version.value
  const cursor = current?.cursor.value ?? -1
  const hover = useSignal<number | undefined>(undefined)
  const moments = current?.recording.moments ?? []
  const looked = moments[hover.value ?? cursor]
  const step = stepAt(looked, candidate.value)
  const sentence = useComputed(() => stateOf(run.value)).value
  useEffect(() => {
    const settled = sentence.startsWith('Settled') && step
    notice.value = settled ? `${sentence} Energy ${short(step.energy)}.` : sentence
  }, [sentence])
  const mark = (name: string): string => (pointed.value === name ? ' pointed' : '')
  const first = moments[0]
  const label =
    first && looked
      ? `Energy over ${String(moments.length)} steps: ${short(stepAt(first)?.energy ?? 0)} at first, ${short(looked.best)} at best`
      : 'Energy against steps: nothing has run yet'
  return (
    <div class="watch">
      <section class={`panel hero${mark('answer')}`} aria-label="The answer">
        <AnswerDrawing
          model={model}
          recording={current?.recording}
          input={input.value}
          cursor={cursor}
          candidate={candidate.value}
          own={own.value}
          edit={edit}
          replace={replace}
          label="The answer"
        />
        <Transport current={current} state={sentence} pointed={mark('transport')} />
      </section>
      <section class={`panel energy${mark('chart')}`} aria-label="The energy">
        <div class={`headline${mark('energy')}`}>
          <div class="big" data-testid="energy">
            {step ? short(step.energy) : '–'}
          </div>
          <div class="caption">
            energy
            <span class="at">
              {looked
                ? `${partAt(model, looked.position)}step ${String(looked.step)}`
                : 'before the first step'}
            </span>
          </div>
          <Switch of={shown.log} name="log scale" />
        </div>
        <EnergyChart
          curves={
            current
              ? [
                  {
                    recording: current.recording,
                    upTo: current.live || current.playing.value ? cursor : current.last,
                    name: 'energy',
                  },
                ]
              : []
          }
          at={[cursor]}
          version={version}
          onSeek={(moment) => run.value?.seek(moment)}
          hover={hover}
          label={label}
        />
        <div class="readouts">
          <Readout name="best so far" value={looked?.best} dash="3 3" field={shown.best} />
          {(step?.disagreement !== undefined || !step) && (
            <>
              <Readout
                name="disagreement"
                value={step?.disagreement}
                dash="7 4"
                field={shown.disagreement}
              />
              <Readout name="doubt" value={step?.doubt} dash="2 3" field={shown.doubt} />
            </>
          )}
          <Readout name="gradient" value={step?.gradient_norm} />
        </div>
        {current && <Candidates current={current} />}
      </section>
      <Controls model={model} />
      <Rules model={model} terms={step?.terms} />
      <LandscapePanel model={model} />
      <TakeAway />
    </div>
  )
}
