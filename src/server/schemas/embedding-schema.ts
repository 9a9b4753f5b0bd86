/** Request and reply of `/v1/embeddings`. */
import { Type, type Static } from 'typebox'
import { nullableInteger, nullableString } from './nullable-schema.js'
import { exact, settings, Token } from './settings-schema.js'

export const EmbeddingRequest = Type.Object(
  {
    model: settings.model,
    input: Type.Union(
      [
        Type.String(),
        Type.Array(Type.String(), { minItems: 1, maxItems: 2048 }),
        Type.Array(Token, { minItems: 1 }),
        Type.Array(Type.Array(Token), { minItems: 1, maxItems: 2048 }),
      ],
      { description: 'a text, texts, a list of tokens, or lists of tokens' },
    ),
    encoding_format: Type.Optional(
      Type.Unsafe<'float' | 'base64' | null>({
        enum: ['float', 'base64', null],
        description: 'base64: little-endian float32; default float',
      }),
    ),
    dimensions: Type.Optional(
      nullableInteger(1, 65_536, { description: "the model's width is the only one" }),
    ),
    representation: Type.Optional(
      Type.Unsafe<'observed' | 'answer' | null>({
        enum: ['observed', 'answer', null],
        description:
          'observed: the mean state of the tokens. answer: where the answer after the text, or the ' +
          'blanks of a template, settled, within reasoning_effort or refinement. Default: observed, ' +
          'but answer for models of templates',
      }),
    ),
    normalize: Type.Optional(
      Type.Unsafe<boolean | null>({
        type: ['boolean', 'null'],
        description: 'to length 1; default true',
      }),
    ),
    reasoning_effort: settings.reasoning_effort,
    refinement: settings.refinement,
    user: Type.Optional(nullableString(512, { description: 'without effect' })),
  },
  exact,
)
export type EmbeddingRequest = Static<typeof EmbeddingRequest>

export const Embeddings = Type.Object({
  object: Type.Literal('list'),
  model: Type.String(),
  representation: Type.Union([Type.Literal('observed'), Type.Literal('answer')]),
  data: Type.Array(
    Type.Object({
      object: Type.Literal('embedding'),
      index: Type.Integer(),
      embedding: Type.Union([Type.Array(Type.Number()), Type.String()]),
    }),
  ),
  usage: Type.Object({ prompt_tokens: Type.Integer(), total_tokens: Type.Integer() }),
})
export type Embeddings = Static<typeof Embeddings>
