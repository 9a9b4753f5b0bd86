/** What is asked: the model, its input, and how long it may think. */
import type { Signal } from '@preact/signals'
import { positionTexts } from '../../src/tokenizer/template-positions.js'
import { alone, models } from './server.js'
import { kindOf } from './puzzles.js'
import { choosable, hasFiles, lacking, place, type Place, places } from './place.js'
import {
  another,
  candidates,
  chooseModel,
  choosePlace,
  effort,
  input,
  maxTokens,
  NOISE,
  noise,
  pace,
  paces,
  restarts,
  seed,
  setInput,
  steps,
  stepsOf,
} from './state.js'
import { tabNews } from './tab-channel.js'
import { efforts, type Model } from './wire.js'

/** Positions of a slider over a range of many sizes: its logarithm. */
const toSlider = (value: number, most: number): number =>
  Math.round((1000 * Math.log(Math.max(1, value))) / Math.log(most))
const fromSlider = (place: number, most: number): number => Math.round(most ** (place / 1000))

function Slider(props: {
  name: string
  value: string
  min: number
  max: number
  step?: number
  at: number
  set: (value: number) => void
}) {
  const { at, max, min, name, set, step = 1, value } = props
  const id = `slider-${name.replaceAll(' ', '-')}`
  return (
    <div class="slider">
      <label for={id}>{name}</label>
      <output for={id}>{value}</output>
      <input
        id={id}
        type="range"
        min={min}
        max={max}
        step={step}
        value={at}
        aria-valuetext={value}
        style={{ '--done': `${String((100 * (at - min)) / Math.max(1e-9, max - min))}%` }}
        onInput={({ currentTarget }) => set(Number(currentTarget.value))}
      />
    </div>
  )
}

/** One of several values, of which `text` says what the reader sees. */
interface Options<T> {
  name: string
  options: readonly T[]
  value: T
  set: (value: T) => void
  text?: (value: T) => string
}

export function Segments<T extends string | number>(props: Options<T>) {
  const { name, options, set, text = String, value } = props
  return (
    <fieldset class="segments">
      <legend>{name}</legend>
      <div>
        {options.map((option) => (
          <label key={option}>
            <input
              type="radio"
              name={name}
              checked={option === value}
              onChange={() => set(option)}
            />
            <span>{text(option)}</span>
          </label>
        ))}
      </div>
    </fieldset>
  )
}

/** A list that opens; its name is for screen readers. */
export function Choice<T extends string | number>(props: Options<T>) {
  const { name, options, set, text = String, value } = props
  return (
    <label>
      <span class="sr">{name}</span>
      <select
        value={value}
        onChange={({ currentTarget }) => {
          const option = options[currentTarget.selectedIndex]
          if (option !== undefined) set(option)
        }}
      >
        {options.map((option) => (
          <option key={option} value={option}>
            {text(option)}
          </option>
        ))}
      </select>
    </label>
  )
}

export function PaceSegments({ name }: { name: string }) {
  return (
    <Segments
      name={name}
      options={paces}
      value={pace.value as (typeof paces)[number]}
      set={(value) => (pace.value = value)}
      text={(value) => (value === 0 ? 'real time' : `${String(value)}/s`)}
    />
  )
}

export function Switch({ name, of }: { name: string; of: Signal<boolean> }) {
  return (
    <label class="switch">
      <input
        type="checkbox"
        checked={of.value}
        onChange={({ currentTarget }) => (of.value = currentTarget.checked)}
      />
      {name}
    </label>
  )
}

function Input({ model }: { model: Model }) {
  const { template } = model.capabilities
  const positions = positionTexts(input.value, template?.layout)
  const blanks = template ? positions.filter((text) => text === template.blank).length : 0
  const { length } = positions
  const wrong =
    template?.length != null && length !== template.length
      ? `It has ${String(length)} positions; this model takes ${String(template.length)}.`
      : template && blanks === 0
        ? `It has no blank (${template.blank}) left to fill.`
        : ''
  return (
    <div class="field input">
      <label for="input">{template ? 'Template' : 'Beginning of the text'}</label>
      <textarea
        id="input"
        rows={2}
        spellcheck={false}
        value={input.value}
        aria-describedby="input-hint"
        aria-invalid={wrong !== ''}
        onInput={({ currentTarget }) => setInput(currentTarget.value)}
      />
      <p class="hint" id="input-hint">
        {wrong ||
          (template
            ? `${String(blanks)} blanks (${template.blank}) to fill. You can type into the drawing, too.`
            : model.capabilities.block > 1
              ? 'The model goes on from here, or fills blanks: _ for a token, _{4} for four.'
              : 'The model goes on from here.')}
      </p>
      <div class="buttons">
        <button type="button" onClick={() => another(false)}>
          Another
        </button>
        {template?.layout &&
          ['sudoku', 'sum', 'sentences', 'graph'].includes(template.layout.kind) && (
            <button type="button" onClick={() => another(true)}>
              A harder one
            </button>
          )}
      </div>
    </div>
  )
}

const placeNames: Record<Place, string> = { server: 'the server', browser: 'this browser' }

/** The switch between the server and this browser, and what the engine in the tab is doing. */
function PlaceOf({ model }: { model: Model }) {
  if (!alone && !choosable.value) return null
  const why = hasFiles(model) ? lacking : 'The server keeps the files of this model.'
  const news = place.value === 'browser' ? tabNews.value : ''
  return (
    <div class="field">
      {choosable.value && (
        <Segments
          name="Computed by"
          options={why === '' ? places : (['server'] as const)}
          value={place.value}
          set={choosePlace}
          text={(value) => placeNames[value]}
        />
      )}
      <p class="hint" role="status" data-testid="tab">
        {why || news || (alone ? 'Computed in this tab; nothing leaves it.' : '')}
      </p>
    </div>
  )
}

export function Controls({ model }: { model: Model }) {
  const { capabilities } = model
  const most = Math.min(capabilities.max_steps, Math.max(4096, 64 * capabilities.steps))
  const asEffort = stepsOf(effort.value, model)
  const atSteps = steps.value > 0 ? steps.value : Math.max(1, asEffort)
  const mostCandidates = Math.min(64, capabilities.max_candidates)
  return (
    <section class="panel controls" aria-label="What is asked">
      <div class="column">
        <div class="field">
          <label for="model">Model</label>
          <select
            id="model"
            value={model.id}
            onChange={({ currentTarget }) => chooseModel(currentTarget.value)}
          >
            {models.value.map((each) => (
              <option key={each.id} value={each.id}>
                {each.id} ({kindOf(each)})
              </option>
            ))}
          </select>
          <p class="hint">{model.description}</p>
        </div>
        <PlaceOf model={model} />
        <Input model={model} />
      </div>
      <div class="column">
        <Segments
          name="Effort"
          options={efforts}
          value={steps.value > 0 ? ('' as (typeof efforts)[number]) : effort.value}
          set={(value) => {
            effort.value = value
            steps.value = 0
          }}
        />
        <Slider
          name="steps"
          value={
            steps.value > 0
              ? String(steps.value)
              : effort.value === 'max'
                ? 'no limit'
                : `${String(asEffort)} (${effort.value})`
          }
          min={0}
          max={1000}
          at={toSlider(Math.min(atSteps, most), most)}
          set={(place) => (steps.value = fromSlider(place, most))}
        />
        <Slider
          name="candidates"
          value={String(candidates.value)}
          min={1}
          max={mostCandidates}
          at={candidates.value}
          set={(value) => {
            candidates.value = value
            // They would all be one and the same without it.
            if (value > 1 && noise.value === 0) noise.value = NOISE
            if (value === 1) noise.value = 0
          }}
        />
        <Slider
          name="noise"
          value={noise.value.toFixed(2)}
          min={0}
          max={2}
          step={0.05}
          at={noise.value}
          set={(value) => (noise.value = value)}
        />
        {capabilities.energy_target !== null && (
          <Segments
            name="Descents"
            options={[0, 1] as const}
            value={restarts.value > 0 ? 1 : 0}
            set={(value) => (restarts.value = value)}
            text={(value) => (value === 0 ? 'once' : 'begin anew')}
          />
        )}
        {!capabilities.template && (
          <Slider
            name="words"
            value={String(maxTokens.value)}
            min={1}
            max={Math.min(200, capabilities.context_length - 16)}
            at={maxTokens.value}
            set={(value) => (maxTokens.value = value)}
          />
        )}
      </div>
      <div class="column">
        <PaceSegments name="Pace" />
        <p class="hint">
          {pace.value === 0
            ? 'Every step as soon as it has been taken.'
            : `Slow enough to see: ${String(pace.value)} steps a second; the engine waits.`}
        </p>
        <div class="field seed">
          <label for="seed">Seed</label>
          <input
            id="seed"
            type="number"
            min={0}
            step={1}
            value={seed.value}
            onChange={({ currentTarget }) => {
              const value = Number(currentTarget.value)
              if (Number.isSafeInteger(value) && value >= 0) seed.value = value
            }}
          />
          <p class="hint">The same seed finds the same answer.</p>
        </div>
        <p class="hint keys">
          <kbd>space</kbd> pause <kbd>→</kbd> step <kbd>←</kbd> back <kbd>Enter</kbd> again
        </p>
      </div>
    </section>
  )
}
