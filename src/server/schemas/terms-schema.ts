/**
 * Terms that a request adds to the energy (docs/composition.md). One object with the fields of all types, so
 * that errors name the field; which fields a type has is checked in requests/energy-terms.ts.
 */
import { Type, type Static } from 'typebox'
import { termTypes } from '../../refine/terms/term.js'

/** More positions than any model has. */
const LAST_POSITION = 65_535

const position = (description: string) =>
  Type.Optional(Type.Integer({ minimum: 0, maximum: LAST_POSITION, description }))

/** Characters of a prompt or template for another model. */
const LONGEST_PROMPT = 65_536

const text = (description: string, maxLength = 1024) =>
  Type.Optional(Type.String({ minLength: 1, maxLength, description }))

const index = { type: 'integer', minimum: 0, maximum: LAST_POSITION }

export const EnergyTerm = Type.Object(
  {
    type: Type.Unsafe<(typeof termTypes)[number]>({
      enum: termTypes,
      description:
        'distinct: no two positions of a group are equal; sum: numbers add up; compare: one number is less than ' +
        'another; token: a position holds one of some tokens; contains: a text occurs; count: a token occurs so ' +
        'often; similar: the representation is near that of a text; model: the energy of another served model',
    }),
    weight: Type.Optional(
      Type.Number({
        minimum: -1e6,
        maximum: 1e6,
        description: 'energy for each unit of the term; negative: away from it; default 20',
      }),
    ),
    required: Type.Optional(
      Type.Boolean({ description: 'no answer counts that does not satisfy it; default false' }),
    ),
    tolerance: Type.Optional(
      Type.Number({
        minimum: 0,
        maximum: 1e6,
        description:
          'the largest value that satisfies it; default: the tokens alone decide, 0.2 for similar, and any for model',
      }),
    ),
    positions: Type.Optional(
      Type.Unsafe<(number | number[])[]>({
        type: 'array',
        minItems: 1,
        maxItems: 4096,
        items: { ...index, type: ['integer', 'array'], minItems: 2, maxItems: 4096, items: index },
        description: 'distinct: groups of positions, or one group; sum: positions',
      }),
    ),
    equals: position('sum: what the numbers add up to, at most 1000; count: how often'),
    less: position('compare: the position of the lesser number'),
    than: position('compare: the position of the greater number'),
    position: position('token: where'),
    tokens: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 256 }), {
        minItems: 1,
        maxItems: 256,
        description: 'token: texts of one token each',
      }),
    ),
    not: Type.Optional(Type.Boolean({ description: 'token: none of them' })),
    text: text('contains: what occurs; similar: what is near'),
    token: text('count: a text of one token'),
    model: text('model: another model that is served here, with the same number of positions'),
    prompt: Type.Optional(
      Type.String({
        maxLength: LONGEST_PROMPT,
        description: 'model: what its answer follows; default: the prompt of the request',
      }),
    ),
    template: text(
      'model: what is given in its answer, as long as the completion; default: what is given in this one',
      LONGEST_PROMPT,
    ),
  },
  { additionalProperties: false },
)
export type EnergyTerm = Static<typeof EnergyTerm>

/** The most that an operator may allow. */
export const LARGEST_TERM_COUNT = 1024

export const EnergyTerms = Type.Optional(
  Type.Unsafe<EnergyTerm[] | null>({
    type: ['array', 'null'],
    maxItems: LARGEST_TERM_COUNT,
    items: EnergyTerm,
    description: 'terms added to the energy of every answer, in tokens of the completion',
  }),
)

/** What a step or a result says of each term. */
export const TermReply = Type.Object({
  type: Type.Unsafe<(typeof termTypes)[number]>({ enum: termTypes }),
  value: Type.Number({ description: 'in the units of its type' }),
  satisfied: Type.Boolean(),
})
