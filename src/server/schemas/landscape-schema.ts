/** Request and reply of `/v1/landscape`. */
import { Type, type Static } from 'typebox'
import { RefinementReply, Usage } from './reply-schema.js'
import { exact, settings, Token } from './settings-schema.js'

const directions = ['candidates', 'gradient', 'random'] as const

export const LandscapeRequest = Type.Object(
  {
    model: settings.model,
    prompt: Type.Optional(
      Type.Union([Type.String(), Type.Array(Token), Type.Null()], {
        description: 'the landscape is that of the first answer after it',
      }),
    ),
    template: settings.template,
    reasoning_effort: settings.reasoning_effort,
    refinement: settings.refinement,
    seed: settings.seed,
    directions: Type.Optional(
      Type.Unsafe<(typeof directions)[number][] | null>({
        type: ['array', 'null'],
        items: { enum: directions },
        minItems: 1,
        maxItems: directions.length,
        description:
          'candidates: to each other one. gradient: along one more step of the descent. random: ' +
          'anywhere. Default: all',
      }),
    ),
    random: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 16, description: 'random directions; default 2' }),
    ),
    points: Type.Optional(
      Type.Integer({ minimum: 3, maximum: 257, description: 'of each line; default 33' }),
    ),
    reach: Type.Optional(
      Type.Number({
        minimum: 1e-3,
        maximum: 100,
        description: 't runs from -reach to reach; default 1.5',
      }),
    ),
    plane: Type.Optional(
      Type.Object(
        {
          points: Type.Optional(
            Type.Integer({ minimum: 3, maximum: 64, description: 'along each side; default 25' }),
          ),
        },
        {
          additionalProperties: false,
          description: 'the energy on the plane in which most of the descent lies, with its path',
        },
      ),
    ),
  },
  exact,
)
export type LandscapeRequest = Static<typeof LandscapeRequest>

const Energy = Type.Union([Type.Number(), Type.Null()], {
  description: 'null where it is not finite',
})

export const LandscapeReply = Type.Object({
  object: Type.Literal('landscape'),
  model: Type.String(),
  text: Type.String({ description: 'the answer at the centre of all lines' }),
  lines: Type.Array(
    Type.Object({
      direction: Type.Unsafe<'candidate' | 'gradient' | 'random'>({
        enum: ['candidate', 'gradient', 'random'],
      }),
      candidate: Type.Optional(Type.Integer({ description: 'the one at t = 1' })),
      length: Type.Number({ description: 'distance from t = 0 to t = 1' }),
      at: Type.Array(Type.Number(), { description: 't' }),
      energies: Type.Array(Energy),
    }),
    { description: 'a direction of length 0 is left out' },
  ),
  plane: Type.Optional(
    Type.Object({
      x: Type.Array(Type.Number(), { description: 'of the columns, from the end of the descent' }),
      y: Type.Array(Type.Number(), { description: 'of the rows' }),
      energies: Type.Array(Type.Array(Energy), { description: '[rows][columns]' }),
      path: Type.Array(Type.Object({ x: Type.Number(), y: Type.Number(), energy: Energy }), {
        description: 'the descent laid onto the plane, from its start to its end',
      }),
      explained: Type.Number({
        description: "share of the path's squared distances from its end that lies in the plane",
      }),
    }),
  ),
  refinement: RefinementReply,
  usage: Usage,
})
export type LandscapeReply = Static<typeof LandscapeReply>
