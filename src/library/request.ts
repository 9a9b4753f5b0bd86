/** What the library is asked for, and the settings of the HTTP API that it means. */
import { Type, type Static } from 'typebox'
import { Compile } from 'typebox/compile'
import { BasinError } from '../errors.js'
import type { Allocation, Selection, StepSizeOn } from '../refine/budget.js'
import type { CommitRequest, ReasoningEffort, RestartsRequest } from '../refine/presets.js'
import { refusal } from '../server/schema-errors.js'
import { exact, RefinementSettings, settings, Token } from '../server/schemas/settings-schema.js'
import type { ResponseFormat, StructuredOutputs } from '../server/schemas/structure-schema.js'
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
  /** Tokens less probable than this share of the most probable one are not drawn. */
  minP?: number
  /** The same seed gives the same answer. Default: a random one. */
  seed?: number
  /** Texts that end the completion and are not part of it. */
  stop?: string | string[]
  logitBias?: Readonly<Record<number, number>>
  presencePenalty?: number
  frequencyPenalty?: number
  /** Divides positive logits of tokens that were seen, multiplies negative ones. */
  repetitionPenalty?: number
  /** What the text is: JSON, or JSON of a schema. A request has one structure, by this field or one below. */
  responseFormat?: ResponseFormat
  /** A regular expression for the whole text. */
  guidedRegex?: string
  /** The text is one of these. */
  guidedChoice?: string[]
  /** Rules in the notation of GBNF, from `root` on. */
  guidedGrammar?: string
  /** A JSON schema, or its text. */
  guidedJson?: object | string | boolean
  /** The same, by the names of newer versions of vLLM. */
  structuredOutputs?: StructuredOutputs
  /** Terms that are added to the energy. One of type `model` names a directory, or a model of the package. */
  energyTerms?: readonly EnergyTerm[]
  /** Alternatives reported for every token, 0 to 5. */
  logprobs?: number
  /** Ends the request; what waits for it is rejected with the signal's reason. */
  signal?: AbortSignal
}

/** The name of a field of the API in camel case. */
const ownName = (field: string): string =>
  field.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())

const namesOf = ({ properties }: { properties: object }): Map<string, string> =>
  new Map(Object.keys(properties).map((field) => [ownName(field), field]))

const budgetSettings = Type.Object(
  { reasoning_effort: settings.reasoning_effort, refinement: settings.refinement },
  exact,
)
const answerSettings = Type.Object(
  { ...settings, prompt: Type.Optional(Type.Union([Type.String(), Type.Array(Token)])) },
  exact,
)
const checkedBudget = Compile(budgetSettings)
const checkedAnswer = Compile(answerSettings)

/** The fields of `refinement`, by their names here, where they stand beside the others. */
const refinementNames = namesOf(RefinementSettings)
/** All others. The model is known, and the effort has a shorter name. */
const answerNames = namesOf(
  Type.Omit(answerSettings, ['model', 'reasoning_effort', 'refinement']),
).set('effort', 'reasoning_effort')
const budgetNames = new Map([['effort', 'reasoning_effort']])

/** What a request says in the words of the API. Throws `invalid_request` for a field that `names` has not. */
function bodyOf(request: object, names: ReadonlyMap<string, string>): object {
  const body: Record<string, unknown> = {}
  const refinement: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(request)) {
    const detail = refinementNames.get(name)
    const field = names.get(name)
    if (value === undefined) continue
    if (detail !== undefined) refinement[detail] = value
    else if (field !== undefined) body[field] = value
    else throw new BasinError('invalid_request', { param: name, reason: 'there is no such field' })
  }
  return { ...body, refinement }
}

/** Checked as the HTTP API checks it. Throws with the API's name of the field. */
export function budgetFields(budget: AnswerBudget): Static<typeof budgetSettings> {
  const body = bodyOf(budget, budgetNames)
  if (checkedBudget.Check(body)) return body
  throw refusal(checkedBudget.Errors(body), body, 'request')
}

/** Checked as the HTTP API checks them. Throws with the API's name of the field, or for one that there is not. */
export function settingsOf(request: Omit<AnswerRequest, 'signal'>): Settings {
  const body = bodyOf(request, answerNames)
  if (checkedAnswer.Check(body)) return body
  throw refusal(checkedAnswer.Errors(body), body, 'request')
}
