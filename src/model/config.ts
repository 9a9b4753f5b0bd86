/**
 * `config.json`: everything that determines what a checkpoint computes, and nothing about how or where it
 * is computed. One schema is the type, the validation and the documentation (docs/checkpoint.md).
 */
import { join } from 'node:path'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { BasinError } from '../errors.js'
import { contextCaches, draftsFromContext } from './derived.js'
import { readText } from './regular-file.js'

const MAX_CONFIG_BYTES = 2 ** 20

const count = (maximum: number, description: string) =>
  Type.Integer({ minimum: 1, maximum, description })

const exact = { additionalProperties: false }

/** How a template is drawn: `basin generate` and the web page know these kinds. */
export const TemplateLayout = Type.Union(
  [
    Type.Object(
      {
        kind: Type.Literal('sudoku'),
        columns: count(64, 'cells along a side'),
        box_columns: count(64, 'cells along the long side of a box'),
        box_rows: count(64, 'box_columns x box_rows = columns'),
      },
      exact,
    ),
    Type.Object({ kind: Type.Literal('maze'), columns: count(64, 'squares along a side') }, exact),
    Type.Object(
      {
        kind: Type.Literal('sum'),
        columns: count(64, 'digits of a term, least significant first; the sum has one more'),
      },
      exact,
    ),
    Type.Object({ kind: Type.Literal('brackets') }, exact),
    Type.Object(
      {
        kind: Type.Literal('sentences'),
        head: Type.Integer({ minimum: 0, maximum: 64, description: 'tokens before the first' }),
        sentence: count(64, 'tokens of a sentence'),
        clauses: count(64, 'clauses after each sentence'),
        clause: count(64, 'tokens of a clause'),
      },
      exact,
    ),
    Type.Object(
      {
        kind: Type.Literal('graph'),
        edges: count(1024, 'edges that there is room for'),
      },
      exact,
    ),
  ],
  { description: 'how a template is drawn; absent: as text' },
)
export type TemplateLayout = Static<typeof TemplateLayout>

export const ModelConfig = Type.Object(
  {
    format: Type.Literal('basin-ebt/1'),
    name: Type.String({
      pattern: '^[a-z0-9][a-z0-9._-]{0,63}$',
      description: 'what requests call `model`',
    }),
    description: Type.String({ maxLength: 500 }),
    created: Type.Integer({ minimum: 0, description: 'Unix time, seconds' }),
    vocab_size: count(1_000_000, 'V: tokens, special ones included'),
    dim: count(16_384, 'D: width of the residual stream'),
    layers: count(256, 'L: transformer blocks'),
    heads: count(256, 'H: attention heads; D / H is even'),
    ffn_dim: count(131_072, 'hidden width of SwiGLU'),
    context_length: count(1_048_576, 'most positions a sequence may have, including its answers'),
    norm_eps: Type.Number({ exclusiveMinimum: 0, maximum: 1 }),
    rope_theta: Type.Number({ minimum: 1, maximum: 1e9 }),
    conditioning: Type.Union(
      [
        Type.Literal('none'),
        Type.Literal('time_embed'),
        Type.Literal('adaln'),
        Type.Literal('candidate'),
      ],
      {
        description:
          'how the landscape enters: not at all; a token at position 0; adaptive norms; added to the candidate',
      },
    ),
    landscapes: count(
      1024,
      'T: energies conditioned on a step index; step s uses landscape min(s, T-1)',
    ),
    steps: count(4096, 'the number of steps the model was trained for: the default budget'),
    step_decay: Type.Optional(
      Type.Object(
        {
          from: Type.Number({ minimum: 1, maximum: 100 }),
          steps: count(4096, 'how many steps it takes to fall to alpha'),
          start: Type.Optional(
            Type.Integer({
              minimum: 0,
              maximum: 4096,
              description: 'how many steps have alpha before it',
            }),
          ),
          repeat: Type.Optional(Type.Boolean({ description: 'begins again whenever it ends' })),
        },
        {
          additionalProperties: false,
          description:
            'inference takes steps that fall linearly from `from` times alpha to alpha; absent: alpha throughout',
        },
      ),
    ),
    energy_target: Type.Optional(
      Type.Number({
        description:
          'answers at or below this energy have almost always been right; efforts above medium end there',
      }),
    ),
    answer: Type.Object(
      {
        space: Type.Union([Type.Literal('vocab'), Type.Literal('latent')]),
        block: count(4096, 'K: positions inferred at once'),
        start: Type.Union([Type.Literal('noise'), Type.Literal('zeros'), Type.Literal('draft')]),
        draft: Type.Optional(
          Type.Union([Type.Literal('queries'), Type.Literal('observed')], {
            description:
              'what a draft is read from: a pass over the position queries (default), or the observed stream at the last token, which costs nothing (K = 1, residual)',
          }),
        ),
        anchor: Type.Optional(
          Type.Boolean({
            description:
              'draft observed: the opinion is a correction of the draft, F = A y_0 + C norm(h), and drafts have a matrix of their own',
          }),
        ),
        start_scale: Type.Number({
          minimum: 0,
          maximum: 1000,
          description: 'standard deviation of `noise`',
        }),
        normalize: Type.Union(
          [Type.Literal('every_step'), Type.Literal('first_step'), Type.Literal('never')],
          { description: 'vocab space: when the state passes through softmax before a step' },
        ),
        embed: Type.Union([Type.Literal('vocab_to_embed'), Type.Literal('embeddings')], {
          description: 'vocab space: the matrix that turns probabilities into an embedding',
        }),
      },
      { additionalProperties: false },
    ),
    energy: Type.Object(
      {
        kind: Type.Union([
          Type.Literal('head'),
          Type.Literal('potential'),
          Type.Literal('residual'),
        ]),
        direction: Type.Union([Type.Literal('exact'), Type.Literal('amortized')], {
          description: 'residual only: descend along (I - dF/dy)^T (y - F), or along y - F',
        }),
        doubt: Type.Number({
          minimum: 0,
          maximum: 1000,
          description: 'residual: lambda, weight of the entropy term',
        }),
      },
      { additionalProperties: false },
    ),
    template: Type.Optional(
      Type.Object(
        {
          blank: Type.String({
            minLength: 1,
            maxLength: 8,
            description: 'marks a position to be inferred',
          }),
          length: Type.Optional(
            count(4096, 'when set, every request must carry a template of this many positions'),
          ),
          example: Type.Optional(
            Type.String({ description: 'a template to try, shown to newcomers', maxLength: 4096 }),
          ),
          layout: Type.Optional(TemplateLayout),
        },
        { additionalProperties: false },
      ),
    ),
    commit: Type.Optional(
      Type.Object(
        { after: count(4096, 'steps before the first commit and after each') },
        {
          additionalProperties: false,
          description:
            'answers commit their positions, the most certain first, evenly over their steps and with tokens drawn at the temperature of the request, unless it says otherwise',
        },
      ),
    ),
    temperature: Type.Optional(
      Type.Number({
        minimum: 0,
        maximum: 2,
        description:
          'for requests without one; 0 where an answer is either right or wrong; default 1',
      }),
    ),
    feed_forward: Type.Optional(
      Type.Boolean({
        description:
          'a feed-forward control: no energy; one pass gives the answer (for training and evaluation only)',
      }),
    ),
  },
  { additionalProperties: false },
)
export type ModelConfig = Static<typeof ModelConfig>

export {
  contextCaches,
  contextOffset,
  draftsFromContext,
  landscapeOf,
  stateWidth,
  trainedStepSize,
} from './derived.js'

/** Positions of a template in this layout; undefined: any number. */
function positionsOf(layout: TemplateLayout): number | undefined {
  switch (layout.kind) {
    case 'sudoku':
    case 'maze':
      return layout.columns ** 2
    case 'sum':
      // Two terms, the sum with its carry, and the signs between them.
      return 3 * layout.columns + 3
    case 'graph':
      // Name and colour of both ends.
      return 4 * layout.edges
    case 'brackets':
    case 'sentences':
      return undefined
  }
}

const rules: readonly [(c: ModelConfig) => boolean, string][] = [
  [(c) => c.dim % c.heads === 0, 'dim must be a multiple of heads'],
  [(c) => (c.dim / c.heads) % 2 === 0, 'dim / heads must be even (rotary pairs)'],
  [
    (c) => c.answer.space === 'latent' || c.energy.kind === 'head',
    'vocab space has the head energy only',
  ],
  [(c) => c.answer.block <= c.context_length, 'answer.block must fit context_length'],
  [(c) => c.conditioning !== 'none' || c.landscapes === 1, 'landscapes need a conditioning'],
  [
    (c) => c.answer.start !== 'draft' || c.answer.space === 'latent',
    'a draft start needs latent space (it is read from the position queries)',
  ],
  [
    (c) => c.answer.draft === undefined || c.answer.start === 'draft',
    'answer.draft needs answer.start draft',
  ],
  [
    (c) =>
      !draftsFromContext(c) ||
      (c.answer.block === 1 &&
        c.energy.kind === 'residual' &&
        c.energy.direction === 'amortized' &&
        contextCaches(c) === 1),
    'a draft from the observed stream needs block 1, the residual energy along its amortized direction, and one context for all landscapes',
  ],
  [
    (c) => !c.answer.anchor || draftsFromContext(c),
    'answer.anchor needs answer.draft observed: the opinion corrects that draft',
  ],
  [
    (c) => c.template?.length === undefined || c.template.length <= c.answer.block,
    'template.length must not exceed answer.block',
  ],
  [
    ({ template }) => {
      const positions = template?.layout && positionsOf(template.layout)
      return positions === undefined || positions === template?.length
    },
    'template.layout must describe template.length positions',
  ],
]

/** Checks a parsed config.json. Throws `invalid_checkpoint` naming the field. */
export function parseConfig(json: unknown, path: string): ModelConfig {
  if (!Value.Check(ModelConfig, json)) {
    const first = Value.Errors(ModelConfig, json)[0]
    const field = first?.instancePath.slice(1).replaceAll('/', '.') ?? ''
    throw new BasinError('invalid_checkpoint', {
      path,
      reason: `${field} ${first?.message ?? 'is invalid'}`.trim(),
    })
  }
  const broken = rules.find(([holds]) => !holds(json))
  if (broken) throw new BasinError('invalid_checkpoint', { path, reason: broken[1] })
  return Object.freeze(json)
}

export function readConfig(directory: string): ModelConfig {
  const path = join(directory, 'config.json')
  const text = readText(path, MAX_CONFIG_BYTES)
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw new BasinError(
      'invalid_checkpoint',
      { path, reason: (cause as Error).message },
      { cause },
    )
  }
  return parseConfig(json, path)
}
