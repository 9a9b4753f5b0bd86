/** What the page is set to, and the run that it shows; all of it can be put into a link. */
import { batch, computed, effect, signal } from '@preact/signals'
import { positionTexts } from '../../src/tokenizer/template-positions.js'
import { hasFiles, place, type Place, places } from './place.js'
import { anotherInput, firstInput } from './puzzles.js'
import { parseRule } from './rule-text.js'
import { Run } from './run.js'
import { models } from './server.js'
import {
  type Effort,
  efforts,
  type Model,
  type Refinement,
  type Request,
  type Template,
} from './wire.js'

export const views = ['watch', 'compare', 'many', 'models'] as const
export type View = (typeof views)[number]

export const view = signal<View>('watch')
export const modelId = signal('')
export const model = computed(() => models.value.find(({ id }) => id === modelId.value))
/** A template, or a prompt. */
export const input = signal('')
/** Positions of the template that the reader has filled in. */
export const own = signal<ReadonlySet<number>>(new Set())
export const effort = signal<Effort>('medium')
/** Exact number of steps; 0: as the effort says. */
export const steps = signal(0)
export const candidates = signal(1)
export const noise = signal(0)
/** 1: descents that are over give way to new ones, until one reaches the model's energy target. */
export const restarts = signal(0)
export const seed = signal(1)
export const maxTokens = signal(24)
/** Rules beside the model's own, as they were typed (rule-text.ts). */
export const rules = signal<readonly string[]>([])
/** Steps a second; 0: as they come. */
export const paces = [1, 4, 16, 0] as const
export const pace = signal<number>(4)
export const run = signal<Run | undefined>(undefined)
/** Shown for a while, and read out. */
export const notice = signal('')
/** Candidate that is shown; undefined: the best. */
export const candidate = signal<number | undefined>(undefined)

/** Moments a second of a run. */
export const speed = (): number => (pace.value === 0 ? Infinity : pace.value)

/**
 * Candidates begin at one point where the start is fixed: noise of this standard deviation scatters them
 * in the first steps, and then lets them settle.
 */
export const NOISE = 0.5
export const NOISE_STEPS = 4

/** Descents at a time where they begin anew, unless candidates say otherwise: docs/http.md. */
const DESCENTS = 8
/** Efforts that let descents begin anew. */
const searching: readonly Effort[] = ['high', 'xhigh', 'max']

export const refinement = computed<Refinement>(() => ({
  ...(steps.value > 0 && { max_steps: steps.value }),
  ...(candidates.value > 1 && { candidates: candidates.value }),
  ...(noise.value > 0 && { noise: noise.value, noise_steps: NOISE_STEPS }),
  ...(restarts.value > 0
    ? { restarts: { keep: candidates.value > 1 ? candidates.value : DESCENTS } }
    : searching.includes(effort.value) && { restarts: null }),
}))

/** Whether a text is to be filled in: models whose answers are blocks of text see both sides of a blank. */
export const hasBlanks = ({ capabilities }: Model, text: string): boolean =>
  capabilities.template === null && capabilities.block > 1 && text.includes('_')

export const request = computed<Request | undefined>(() => {
  const chosen = model.value
  if (!chosen) return undefined
  const template = chosen.capabilities.template !== null || hasBlanks(chosen, input.value)
  const terms = rules.value.flatMap((rule) => parseRule(rule) ?? [])
  return {
    model: chosen.id,
    ...(template ? { template: input.value } : { prompt: input.value }),
    ...(!template && { max_tokens: maxTokens.value }),
    seed: seed.value,
    reasoning_effort: effort.value,
    ...(Object.keys(refinement.value).length > 0 && { refinement: refinement.value }),
    ...(terms.length > 0 && { energy_terms: terms }),
  }
})

/** Steps that an effort allows an answer: docs/http.md. */
export function stepsOf(kind: Effort, { capabilities }: Model): number {
  const trained = capabilities.steps
  const most = {
    none: capabilities.start === 'draft' ? 0 : 1,
    minimal: 1,
    low: Math.max(1, Math.floor(trained / 2)),
    medium: trained,
    high: (restarts.value > 0 ? 8 : 2) * trained,
    xhigh: (restarts.value > 0 ? 64 : 4) * trained,
    max: capabilities.max_steps,
  }
  return Math.min(most[kind], capabilities.max_steps)
}

/** Most steps of an answer. */
export const budget = computed(() =>
  steps.value > 0 ? steps.value : model.value ? stepsOf(effort.value, model.value) : 0,
)

/** Answers are computed there from now on; the present one begins again. */
export function choosePlace(chosen: Place): void {
  if (chosen === place.value) return
  const begun = run.value !== undefined
  batch(() => {
    stop()
    place.value = chosen
    if (begun) start()
  })
}

/** Whether models of these templates take the same input. */
export const takeTheSame = (a: Template, b: Template): boolean =>
  a.length === b.length &&
  a.blank === b.blank &&
  JSON.stringify(a.layout) === JSON.stringify(b.layout)

export function chooseModel(id: string): void {
  const chosen = models.value.find((each) => each.id === id)
  if (!chosen || id === modelId.value) return
  const before = model.value?.capabilities.template
  const now = chosen.capabilities.template
  batch(() => {
    modelId.value = id
    if (!hasFiles(chosen)) place.value = 'server'
    stop()
    // The same puzzle in the hands of another model is worth looking at.
    if (before && now && takeTheSame(before, now)) return
    own.value = new Set()
    input.value = firstInput(chosen)
    rules.value = []
  })
}

export function setInput(text: string): void {
  batch(() => {
    stop()
    own.value = new Set()
    input.value = text
  })
}

export function setRules(next: readonly string[]): void {
  batch(() => {
    stop()
    rules.value = next
  })
}

export function another(hard: boolean): void {
  if (model.value) setInput(anotherInput(model.value, hard, input.value))
}

function stop(): void {
  run.value?.close()
  run.value = undefined
  candidate.value = undefined
}

export function start(): void {
  if (!request.value) return
  stop()
  const textual = model.value?.capabilities.template === null
  run.value = new Run(request.value, { pace: speed(), budget: budget.value, hold: true, textual })
}

/** Sets a position of the template while the answer settles: the rest goes on around it. */
export function edit(position: number, character: string | undefined): void {
  const template = model.value?.capabilities.template
  if (!template) return
  const characters = positionTexts(input.value, template.layout)
  if (position >= characters.length) return
  const next = character ?? template.blank
  if (characters[position] === next) return
  characters[position] = next
  const filled = new Set(own.value)
  if (character === undefined) filled.delete(position)
  else filled.add(position)
  const open = characters.includes(template.blank)
  const current = run.value
  batch(() => {
    own.value = filled
    input.value = characters.join('')
    if (!current || !open) stop()
    else if (!current.clamp(position, next, model.value?.capabilities.steps ?? 16)) start()
  })
}

/** Writes another word in the place of a settled one; what came after it is found anew. */
export function replace(piece: number, text: string): void {
  const pieces = run.value?.recording.pieces
  if (!pieces) return
  const kept = pieces.slice(0, piece).map(({ text: each }) => each)
  const left = Math.max(1, maxTokens.value - piece - 1)
  batch(() => {
    input.value = [input.value, ...kept, text].join('')
    maxTokens.value = left
    start()
  })
}

effect(() => {
  const speedNow = speed()
  const current = run.peek()
  if (current) current.pace = speedNow
})

// --- The link -----------------------------------------------------------------------------------

const numbers = { steps, candidates, noise, restarts, seed, tokens: maxTokens, pace } as const

/** The state as a fragment: `#model=sudoku6&input=...`. */
export function linkOf(moment?: number): string {
  const fields = new URLSearchParams({ model: modelId.value, input: input.value })
  fields.set('effort', effort.value)
  for (const [name, { value }] of Object.entries(numbers)) fields.set(name, String(value))
  if (own.value.size > 0) fields.set('own', [...own.value].join('.'))
  for (const rule of rules.value) fields.append('rule', rule)
  if (view.value !== 'watch') fields.set('view', view.value)
  if (place.value === 'browser') fields.set('in', 'browser')
  if (run.value) fields.set('run', '1')
  if (moment !== undefined && moment >= 0) fields.set('at', String(moment + 1))
  return `#${fields.toString()}`
}

export interface Link {
  run: boolean
  /** Moment to stand at, from 0. */
  at: number | undefined
}

/** Takes the state of a link. Undefined where it names no model that is served. */
export function restore(hash: string): Link | undefined {
  const fields = new URLSearchParams(hash.replace(/^#/, ''))
  const named = models.value.find(({ id }) => id === fields.get('model'))
  if (!named) return undefined
  const kind = efforts.find((each) => each === fields.get('effort'))
  const at = Number(fields.get('at') ?? Number.NaN)
  batch(() => {
    stop()
    modelId.value = named.id
    input.value = fields.get('input') ?? firstInput(named)
    if (kind) effort.value = kind
    for (const [name, target] of Object.entries(numbers)) {
      const value = Number(fields.get(name) ?? Number.NaN)
      if (Number.isFinite(value) && value >= 0) target.value = value
    }
    const positions = (fields.get('own') ?? '').split('.').filter(Boolean).map(Number)
    own.value = new Set(positions.filter(Number.isInteger))
    rules.value = fields.getAll('rule').filter((rule) => parseRule(rule))
    view.value = views.find((each) => each === fields.get('view')) ?? 'watch'
    const asked = places.find((each) => each === fields.get('in')) ?? place.peek()
    place.value = hasFiles(named) ? asked : 'server'
  })
  return { run: fields.get('run') === '1', at: Number.isInteger(at) ? at - 1 : undefined }
}
