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
  },
  exact,
)
export type LandscapeRequest = Static<typeof LandscapeRequest>

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
      energies: Type.Array(Type.Union([Type.Number(), Type.Null()]), {
        description: 'null where it is not finite',
      }),
    }),
    { description: 'a direction of length 0 is left out' },
  ),
  refinement: RefinementReply,
  usage: Usage,
})
export type LandscapeReply = Static<typeof LandscapeReply>
