/** What the library is asked for, and the settings of the HTTP API that it means. */
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { BasinError } from '../errors.js'
import type { Allocation, Selection, StepSizeOn } from '../refine/budget.js'
import type {
  CommitRequest,
  ReasoningEffort,
  RefinementRequest,
  RestartsRequest,
} from '../refine/presets.js'
import { refusal } from '../server/schema-errors.js'
import { settings, Token, exact } from '../server/schemas/settings-schema.js'
import type { EnergyTerm } from '../server/schemas/terms-schema.js'
import type { Settings } from '../server/requests/request-settings.js'

/** What may be spent on every answer. What is absent is decided by the effort, or by the model. */
export interface AnswerBudget {
  /** A preset of the budget; default `medium`: the trained number of steps. */
  effort?: ReasoningEffort
  /** Most steps of an answer; null: unbounded, up to `maxSeconds`. */
  maxSteps?: number | null
  minSteps?: number
  maxSeconds?: number
  /** Relative change of the energy at or below which a step counts as calm. */
  tolerance?: number
  /** Calm steps in a row that mean convergence. */
  patience?: number
  /** Steps over which the best energy falls by no more than the tolerance: converged too. */
  plateau?: number
  /** Gradient norm at or below which the answer settles. */
  gradientTolerance?: number
  /** Ends the answer when its best energy is at or below this. */
  energyTarget?: number
  /** Independent starting points of the same answer. */
  candidates?: number
  select?: Selection
  allocation?: Allocation
  /** Descents that are over give their slots to new ones; null: never. */
  restarts?: RestartsRequest | null
  /** Positions that become certain while the others go on. */
  commit?: CommitRequest | null
  /** A step that raises the energy by d is kept with probability exp(-d / metropolis). */
  metropolis?: number
  stepSize?: number
  stepSizeOn?: StepSizeOn
  /** Standard deviation of the noise of each step. */
  noise?: number
  noiseSteps?: number
  landscapeSteps?: number
  /** The answer that is returned: the best seen, or the last. */
  keep?: 'best' | 'last'
  acceptLower?: boolean
  lineSearch?: boolean
}

export interface AnswerRequest extends AnswerBudget {
  /** A text or its tokens; default: nothing. */
  prompt?: string | readonly number[]
  /** Known text of the answer with blanks between: only the blanks are inferred. */
  template?: string
  /** Most tokens of the completion; default 16. A template has its own length. */
  maxTokens?: number
  /** 0: always the most probable token; default: the model's own, else 1. */
  temperature?: number
  topP?: number
  topK?: number
  /** The same seed gives the same answer. Default: a random one. */
  seed?: number
  /** Texts that end the completion and are not part of it. */
  stop?: string | string[]
  logitBias?: Readonly<Record<number, number>>
  presencePenalty?: number
  frequencyPenalty?: number
  /** Terms that are added to the energy. One of type `model` names a directory, or a model of the package. */
  energyTerms?: readonly EnergyTerm[]
  /** Alternatives reported for every token, 0 to 5. */
  logprobs?: number
  /** Ends the request; what waits for it is rejected with the signal's reason. */
  signal?: AbortSignal
}

/** Without the fields that are undefined. */
const present = <T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }

export const budgetFields = (
  asked: AnswerBudget,
): Pick<Settings, 'reasoning_effort' | 'refinement'> => {
  const refinement: RefinementRequest = present({
    max_steps: asked.maxSteps,
    min_steps: asked.minSteps,
    max_seconds: asked.maxSeconds,
    tolerance: asked.tolerance,
    patience: asked.patience,
    plateau: asked.plateau,
    gradient_tolerance: asked.gradientTolerance,
    energy_target: asked.energyTarget,
    candidates: asked.candidates,
    select: asked.select,
    allocation: asked.allocation,
    restarts: asked.restarts,
    commit: asked.commit,
    metropolis: asked.metropolis,
    step_size: asked.stepSize,
    step_size_on: asked.stepSizeOn,
    noise: asked.noise,
    noise_steps: asked.noiseSteps,
    landscape_steps: asked.landscapeSteps,
    keep: asked.keep,
    accept_lower: asked.acceptLower,
    line_search: asked.lineSearch,
  })
  return present({ reasoning_effort: asked.effort, refinement }) as Settings
}

const Asked = Type.Object(
  { ...settings, prompt: Type.Optional(Type.Union([Type.String(), Type.Array(Token)])) },
  exact,
)
const asked = Compile(Asked)

/** Checked as the HTTP API checks them. Throws `invalid_request` or `out_of_range` with the API's name of the field. */
export function settingsOf(request: AnswerRequest): Settings {
  const body = {
    ...present({
      prompt: request.prompt,
      template: request.template,
      max_tokens: request.maxTokens,
      temperature: request.temperature,
      top_p: request.topP,
      top_k: request.topK,
      seed: request.seed,
      stop: request.stop,
      logit_bias: request.logitBias,
      presence_penalty: request.presencePenalty,
      frequency_penalty: request.frequencyPenalty,
      logprobs: request.logprobs,
      energy_terms: request.energyTerms,
    }),
    ...budgetFields(request),
  }
  if (asked.Check(body)) return body
  throw refusal(asked.Errors(body), body, 'request')
}

/** The names of the fields of a request, to refuse what is misspelt. */
const known = new Set(
  (
    'prompt template maxTokens temperature topP topK seed stop logitBias presencePenalty frequencyPenalty ' +
    'logprobs energyTerms signal effort maxSteps minSteps maxSeconds tolerance patience plateau gradientTolerance ' +
    'energyTarget candidates select allocation restarts commit metropolis stepSize stepSizeOn noise noiseSteps ' +
    'landscapeSteps keep acceptLower lineSearch'
  ).split(' '),
)

/** A field that the library does not have would be without effect: it throws `invalid_request`. */
export function refuseUnknown(request: AnswerRequest): void {
  const unknown = Object.keys(request).find((name) => !known.has(name))
  if (unknown === undefined) return
  const reason = 'there is no such field'
  throw new BasinError('invalid_request', { param: unknown, reason })
}
