/** Request and reply of `/v1/completions`. The meaning of their fields follows the OpenAI API. */
import { Type, type Static } from 'typebox'
import { withoutEffect } from './openai-fields.js'
import { RefinementReply, Usage } from './reply-schema.js'
import { nullableBoolean, nullableInteger, nullableString } from './nullable-schema.js'
import { exact, settings, Token } from './settings-schema.js'

export const streamOptions = Type.Optional(
  Type.Unsafe<{
    include_usage?: boolean
    include_refinement?: boolean
    include_obfuscation?: boolean
  } | null>({
    type: ['object', 'null'],
    properties: {
      include_usage: { type: 'boolean', description: 'a last chunk carries the usage' },
      include_refinement: { type: 'boolean', description: 'a chunk for every descent step' },
      include_obfuscation: { type: 'boolean', description: 'without effect' },
    },
    additionalProperties: false,
  }),
)

export const CompletionRequest = Type.Object(
  {
    prompt: Type.Optional(
      Type.Union(
        [
          Type.String(),
          Type.Array(Type.String()),
          Type.Array(Token),
          Type.Array(Type.Array(Token)),
          Type.Null(),
        ],
        { description: 'a text, texts, a list of tokens, or lists of tokens' },
      ),
    ),
    ...settings,
    n: Type.Optional(nullableInteger(1, 128, { description: 'completions of each prompt' })),
    best_of: Type.Optional(
      nullableInteger(1, 128, {
        description: 'choices that run, of which the n of the lowest energy per token are returned',
      }),
    ),
    echo: Type.Optional(nullableBoolean({ description: 'the prompt precedes the completion' })),
    suffix: Type.Optional(nullableString(65_536, { description: 'not supported; see template' })),
    stream: Type.Optional(nullableBoolean({ description: 'answer with server-sent events' })),
    stream_options: streamOptions,
    ...withoutEffect,
  },
  exact,
)
export type CompletionRequest = Static<typeof CompletionRequest>

export const Logprobs = Type.Object({
  tokens: Type.Array(Type.String()),
  token_logprobs: Type.Array(Type.Union([Type.Number(), Type.Null()])),
  top_logprobs: Type.Array(Type.Union([Type.Record(Type.String(), Type.Number()), Type.Null()])),
  text_offset: Type.Array(Type.Integer()),
})
export type Logprobs = Static<typeof Logprobs>

export const FinishReason = Type.Union(
  [
    Type.Literal('stop'),
    Type.Literal('length'),
    Type.Literal('unsatisfied'),
    Type.Literal('cancelled'),
  ],
  { description: 'unsatisfied: a required term is not satisfied by what was found' },
)

export const Completion = Type.Object(
  {
    id: Type.String(),
    object: Type.Literal('text_completion'),
    created: Type.Integer({ description: 'Unix time, seconds' }),
    model: Type.String(),
    choices: Type.Array(
      Type.Object({
        index: Type.Integer(),
        text: Type.String(),
        logprobs: Type.Union([Logprobs, Type.Null()]),
        finish_reason: FinishReason,
        refinement: RefinementReply,
      }),
    ),
    usage: Usage,
    refinement: Type.Intersect([RefinementReply], {
      description: 'of the choice whose answer has the lowest energy',
    }),
  },
  {
    description:
      'With `stream`, `text/event-stream` instead: chunks of this shape, then `data: [DONE]`',
  },
)
export type Completion = Static<typeof Completion>
