/**
 * The settings of a request: how its answers are found and sampled. Completions, the socket and other routes
 * share them. Every number has both bounds; bounds that depend on the model are checked where it is known.
 */
import { Type, type Static, type TObject } from 'typebox'
import { restartPolicies } from '../../refine/budget.js'
import type { RestartsRequest } from '../../refine/presets.js'
import { nullableInteger, nullableNumber, nullableString } from './nullable-schema.js'
import { responseFormat, structureFields } from './structure-schema.js'
import { EnergyTerms } from './terms-schema.js'

const choice = <T extends string>(choices: readonly T[], description: string) =>
  Type.Unsafe<T>({ enum: choices, description })

const nullableChoice = <T extends string>(choices: readonly T[], description: string) =>
  Type.Unsafe<T | null>({ enum: [...choices, null], description })

/** The largest count that a request may contain; models and operators allow less. */
export const LARGEST_COUNT = 2 ** 31 - 1

/** The id of a token; models have fewer than this allows. */
export const Token = Type.Integer({ minimum: 0, maximum: LARGEST_COUNT })

/** For objects that must not have other fields. */
export const exact = { additionalProperties: false }

const finite = { minimum: -Number.MAX_VALUE, maximum: Number.MAX_VALUE }
const count = (description: string) =>
  Type.Integer({ minimum: 0, maximum: LARGEST_COUNT, description })
const real = (description: string) => Type.Number({ ...finite, description })

const Restarts = Type.Unsafe<RestartsRequest | null>({
  type: ['object', 'null'],
  additionalProperties: false,
  description:
    'descents that are over give their slots to new ones that begin elsewhere, until one reaches energy_target; ' +
    'max_steps counts the steps of all. null: none, whatever the effort',
  properties: {
    after: {
      anyOf: [count('steps of a descent'), { const: 'plateau', type: 'string' }],
      description:
        "steps of a descent, or 'plateau': it is over when its best energy stands still; default: the trained steps",
    },
    keep: count('descents at a time; default: candidates, else 8'),
    most: nullableInteger(0, LARGEST_COUNT, {
      description: 'most new descents of an answer; default: no limit',
    }),
    policy: {
      enum: restartPolicies,
      description:
        'where descents begin: the first as the model does and others from noise of different deviations (mixed, the default); ' +
        'noise; from the state of the one before, in part (partial) or with noise and Metropolis acceptance (near, population)',
    },
  },
})

/** A list of types instead of a union, so that errors name the field inside the object. */
const nullableObject = <T extends TObject>(schema: T) =>
  Type.Unsafe<Static<T> | null>({ ...schema, type: ['object', 'null'] })

export const Commit = Type.Object(
  {
    share: Type.Optional(real('share of the blanks that is committed at a time; or count')),
    count: Type.Optional(count('how many positions are committed at a time; or share')),
    by: Type.Optional(choice(['entropy'], 'the most certain positions are those of least entropy')),
    draw: Type.Optional(
      choice(
        ['most', 'temperature', 'sample'],
        'the most certain positions get their most probable tokens (default), or tokens drawn at the temperature of the request; or nearly certain ones get drawn tokens, which are guesses',
      ),
    ),
    after: Type.Optional(
      count('steps before the first commit and after each; default: the trained steps'),
    ),
    reopen: Type.Optional(
      Type.Boolean({
        description:
          'open all commits in the end, so that only what holds its energy without them is an answer; default: for guesses',
      }),
    ),
  },
  {
    ...exact,
    description:
      'positions become certain while the others go on; max_steps counts the steps of all candidates',
  },
)

export const RefinementSettings = Type.Object(
  {
    max_steps: Type.Optional(
      nullableInteger(0, LARGEST_COUNT, {
        description: 'most steps per answer; null: unbounded, up to the cap on seconds',
      }),
    ),
    min_steps: Type.Optional(count('steps before convergence may end the answer')),
    max_seconds: Type.Optional(real('most seconds per answer')),
    tolerance: Type.Optional(
      real('relative change of energy at or below which a step counts as calm'),
    ),
    patience: Type.Optional(count('calm steps in a row that mean convergence')),
    plateau: Type.Optional(
      count('steps over which the best energy falls by no more than the tolerance: converged too'),
    ),
    gradient_tolerance: Type.Optional(real('gradient norm at or below which the answer settles')),
    energy_target: Type.Optional(real('ends the answer when its best energy is at or below this')),
    candidates: Type.Optional(count('independent starting points of the same answer')),
    select: Type.Optional(
      choice(
        ['min', 'max_gap', 'max'],
        'which candidate is the answer: lowest energy, largest drop, highest energy',
      ),
    ),
    allocation: Type.Optional(
      choice(
        ['even', 'adaptive'],
        'max_steps for each candidate, or one total of max_steps x candidates, spent where the energy still falls; default even',
      ),
    ),
    restarts: Type.Optional(Restarts),
    commit: Type.Optional(nullableObject(Commit)),
    step_size: Type.Optional(
      real('replaces the trained step size when >= 1, multiplies it when below 1'),
    ),
    step_size_on: Type.Optional(
      Type.Union([Type.Literal('every_landscape'), Type.Literal('last_landscape')], {
        description: 'where step_size applies; elsewhere the trained size; default every_landscape',
      }),
    ),
    noise: Type.Optional(real('standard deviation of the noise of each step')),
    noise_steps: Type.Optional(count('noise in the first so many steps only')),
    landscape_steps: Type.Optional(
      count('steps on each landscape before the next; default 1; the last takes the rest'),
    ),
    keep: Type.Optional(
      choice(['best', 'last'], 'the answer returned: the best seen, or the last'),
    ),
    accept_lower: Type.Optional(
      Type.Boolean({ description: 'take only the steps that lower the energy' }),
    ),
    line_search: Type.Optional(
      Type.Boolean({
        description:
          'take only those, and halve the step size after a step that would not; double it after one that did, up to the full size',
      }),
    ),
    metropolis: Type.Optional(
      real(
        'undo a step that raises the energy, terms included, by d with probability 1 - exp(-d / this)',
      ),
    ),
  },
  { additionalProperties: false, description: 'The exact budget of every answer' },
)

export const efforts = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const

/** What an extension adds to the limits of the present answer. */
export const extension = {
  steps: Type.Optional(Type.Integer({ minimum: 0, maximum: LARGEST_COUNT })),
  seconds: Type.Optional(Type.Number({ minimum: 0, maximum: LARGEST_COUNT })),
}

/** The settings that chat completions and completions share. */
export const sharedSettings = {
  model: Type.Optional(nullableString(64, { description: 'default: the one listed first' })),
  max_tokens: Type.Optional(
    nullableInteger(0, LARGEST_COUNT, {
      description: 'most tokens of a completion; default 16; 0 only with echo and logprobs',
    }),
  ),
  temperature: Type.Optional(
    nullableNumber(0, 2, {
      description: "0: always the most probable token; default: the model's own, else 1",
    }),
  ),
  top_p: Type.Optional(nullableNumber(0, 1, { description: 'default 1' })),
  top_k: Type.Optional(
    nullableInteger(-1, LARGEST_COUNT, { description: '0 (default) and -1: no limit' }),
  ),
  stop: Type.Optional(
    Type.Union(
      [
        Type.String({ minLength: 1, maxLength: 256 }),
        Type.Array(Type.String({ minLength: 1, maxLength: 256 }), { maxItems: 4 }),
        Type.Null(),
      ],
      { description: 'texts that end the completion and are not part of it' },
    ),
  ),
  seed: Type.Optional(
    nullableInteger(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, {
      description: 'the same seed gives the same completion; default: a random one',
    }),
  ),
  logit_bias: Type.Optional(
    Type.Unsafe<Readonly<Record<string, number>> | null>({
      type: ['object', 'null'],
      patternProperties: { '^[0-9]{1,7}$': { type: 'number', minimum: -100, maximum: 100 } },
      additionalProperties: false,
      maxProperties: 1024,
      description: 'added to the logits, by token id',
    }),
  ),
  min_p: Type.Optional(
    nullableNumber(0, 1, {
      description:
        'tokens less probable than this share of the most probable one are not drawn; default 0',
    }),
  ),
  repetition_penalty: Type.Optional(
    nullableNumber(0.01, 100, {
      description:
        'divides positive logits of tokens of the prompt and the completion, multiplies negative ' +
        'ones; default 1',
    }),
  ),
  presence_penalty: Type.Optional(nullableNumber(-2, 2, { description: 'default 0' })),
  frequency_penalty: Type.Optional(nullableNumber(-2, 2, { description: 'default 0' })),
  reasoning_effort: Type.Optional(
    nullableChoice(efforts, 'a preset of the budget; default medium: the trained number of steps'),
  ),
  refinement: Type.Optional(nullableObject(RefinementSettings)),
  ...structureFields,
  energy_terms: EnergyTerms,
}

export const settings = {
  ...sharedSettings,
  response_format: responseFormat,
  logprobs: Type.Optional(
    nullableInteger(0, 5, { description: 'alternatives reported for every token' }),
  ),
  template: Type.Optional(
    nullableString(65_536, {
      description:
        'known text of the answer with blanks between: only the blanks are inferred. ' +
        'GET /v1/models has the character that marks a blank',
    }),
  ),
}
