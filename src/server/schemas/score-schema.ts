/** Requests and replies of `/v1/score` and `/v1/rerank`. */
import { Type, type Static } from 'typebox'
import { Usage } from './reply-schema.js'
import { nullableBoolean, nullableInteger } from './nullable-schema.js'
import { exact, settings, Token } from './settings-schema.js'

const Text = Type.Union([Type.String(), Type.Array(Token)])

/** By what an answer is measured, and how long the model descends for a read-out. */
const measured = {
  by: Type.Optional(
    Type.Unsafe<Measure | null>({
      enum: ['energy', 'readout', null],
      description:
        "energy: the model's own, of the given tokens, without a step. readout: minus the " +
        'log-probability of the tokens in the answers that descent finds in their place. ' +
        'Default: energy, but readout for residual energies of free text, which rate points of the ' +
        'latent space and not tokens',
    }),
  ),
  reasoning_effort: settings.reasoning_effort,
  refinement: settings.refinement,
}
export type Measure = 'energy' | 'readout'

export const ScoreRequest = Type.Object(
  {
    model: settings.model,
    prompt: Type.Optional(
      Type.Union([Text, Type.Null()], { description: 'what the answers follow; default: nothing' }),
    ),
    answers: Type.Array(Text, { minItems: 1, description: 'texts, or lists of tokens' }),
    ...measured,
  },
  exact,
)
export type ScoreRequest = Static<typeof ScoreRequest>

const Part = Type.Object({
  text: Type.String(),
  tokens: Type.Integer({ description: 'at most the positions that the model infers at once' }),
  energy: Type.Number({ description: 'of these tokens after all before them; lower fits better' }),
  disagreement: Type.Optional(Type.Number()),
  doubt: Type.Optional(Type.Number({ description: 'entropy of the read-out, nats' })),
})

export const Score = Type.Object({
  object: Type.Literal('score'),
  index: Type.Integer(),
  energy: Type.Number({ description: 'the sum of its parts; lower fits better' }),
  energy_per_token: Type.Number(),
  tokens: Type.Integer(),
  parts: Type.Array(Part),
})
export type Score = Static<typeof Score>

export const Scores = Type.Object({
  object: Type.Literal('list'),
  model: Type.String(),
  by: Type.Union([Type.Literal('energy'), Type.Literal('readout')]),
  data: Type.Array(Score),
  usage: Usage,
})
export type Scores = Static<typeof Scores>

const Document = Type.Union([Type.String(), Type.Object({ text: Type.String() }, exact)])

export const RerankRequest = Type.Object(
  {
    model: settings.model,
    query: Type.String(),
    documents: Type.Array(Document, { minItems: 1, description: 'texts, or {text}' }),
    top_n: Type.Optional(nullableInteger(1, 1_000_000, { description: 'default: all' })),
    return_documents: Type.Optional(nullableBoolean({ description: 'default true' })),
    ...measured,
  },
  exact,
)
export type RerankRequest = Static<typeof RerankRequest>

export const Reranked = Type.Object({
  model: Type.String(),
  by: Type.Union([Type.Literal('energy'), Type.Literal('readout')]),
  results: Type.Array(
    Type.Object({
      index: Type.Integer({ description: 'of the document in the request' }),
      relevance_score: Type.Number({
        description:
          'exp(-energy per token) by readout, else 1 / (1 + exp(energy per token)): from 0 to 1',
      }),
      document: Type.Optional(Type.Object({ text: Type.String() })),
    }),
    { description: 'most relevant first' },
  ),
  usage: Usage,
})
export type Reranked = Static<typeof Reranked>
