/** Parts that replies share. One schema gives the type, the serialisation and the OpenAPI document. */
import { Type, type Static, type TSchema } from 'typebox'
import { TermReply } from './terms-schema.js'

export const ErrorReply = Type.Object(
  {
    error: Type.Object({
      message: Type.String(),
      type: Type.String(),
      param: Type.Union([Type.String(), Type.Null()], { description: 'the field at fault' }),
      code: Type.String(),
    }),
  },
  { description: 'An error, shaped as the OpenAI API shapes them' },
)

/** The schema of an error for each status. */
export const refusals = (...statuses: readonly number[]) =>
  Object.fromEntries(statuses.map((status) => [status, ErrorReply]))

/** `success` for 200, and the schema of an error for these statuses and those that any route may answer. */
export const replies = <T extends TSchema>(success: T, ...errors: readonly number[]) => ({
  200: success,
  ...refusals(...errors, 400, 401, 403, 500, 503),
})

/** Statuses of errors of a route that reads a body. */
export const bodyErrors = [400, 404, 408, 413, 415] as const

export const Usage = Type.Object({
  prompt_tokens: Type.Integer(),
  completion_tokens: Type.Integer(),
  total_tokens: Type.Integer(),
})
export type Usage = Static<typeof Usage>

const Alternative = Type.Object({
  token: Type.String(),
  logprob: Type.Number(),
  bytes: Type.Array(Type.Integer({ minimum: 0, maximum: 255 }), { description: 'UTF-8' }),
})

/** A token as chat completions and responses report its log-probability. */
export const Logprob = Type.Object({
  token: Type.String(),
  logprob: Type.Number(),
  bytes: Alternative.properties.bytes,
  top_logprobs: Type.Array(Alternative),
})
export type Logprob = Static<typeof Logprob>

export const StopReason = Type.Union(
  [
    Type.Literal('diverged'),
    Type.Literal('converged'),
    Type.Literal('energy_target'),
    Type.Literal('max_steps'),
    Type.Literal('max_seconds'),
    Type.Literal('finished'),
    Type.Literal('cancelled'),
  ],
  { description: 'the rule that ended the latest answer' },
)

export const RefinementReply = Type.Object(
  {
    steps: Type.Integer({
      description:
        'descent steps, summed over the answers of the completion; with restarts those of all descents',
    }),
    energy: Type.Object(
      { initial: Type.Number(), final: Type.Number(), best: Type.Number() },
      { description: 'of the latest answer' },
    ),
    candidates: Type.Integer(),
    restarts: Type.Optional(
      Type.Integer({ description: 'descents that took the place of others, over all answers' }),
    ),
    converged: Type.Boolean({ description: 'every answer ended by convergence' }),
    stop_reason: StopReason,
    disagreement: Type.Optional(Type.Number()),
    doubt: Type.Optional(Type.Number({ description: 'entropy of the read-out, nats' })),
    terms: Type.Optional(
      Type.Array(TermReply, {
        description: 'of the completion, in the order of energy_terms; absent: there were none',
      }),
    ),
  },
  { description: 'A summary of the descent' },
)
