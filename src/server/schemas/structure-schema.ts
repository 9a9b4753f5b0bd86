/** The fields by which a request holds its text to a structure: OpenAI's names, and vLLM's. */
import { Type, type Static, type TObject } from 'typebox'
import type { Grammar } from '../../tokenizer/grammar/grammar.js'
import { nullableBoolean, nullableString } from './nullable-schema.js'

const LONGEST_PATTERN = 4096
const LONGEST_RULES = 65_536

const schema = Type.Unsafe<unknown>({ description: 'a JSON schema' })

interface NamedSchema {
  name: string
  description?: string | null
  strict?: boolean | null
  schema?: unknown
}

/** Of chat completions and completions. */
export interface ResponseFormat {
  type: 'text' | 'json_object' | 'json_schema'
  json_schema?: NamedSchema
}

/** Of responses. */
export interface TextFormat extends Partial<NamedSchema> {
  type: 'text' | 'json_object' | 'json_schema'
}

const choices = Type.Array(Type.String({ minLength: 1, maxLength: 4096 }), {
  minItems: 1,
  maxItems: 1024,
})
const orNull = <T extends typeof choices>(each: T) => Type.Union([each, Type.Null()])

const guides = {
  regex: Type.Optional(
    nullableString(LONGEST_PATTERN, { description: 'a regular expression for the whole text' }),
  ),
  choice: Type.Optional(orNull(choices)),
  grammar: Type.Optional(
    nullableString(LONGEST_RULES, { description: 'rules in the notation of GBNF, from root on' }),
  ),
  json: Type.Optional(
    Type.Unsafe<unknown>({
      type: ['object', 'string', 'boolean', 'null'],
      additionalProperties: true,
      description: 'a JSON schema, or its text',
    }),
  ),
}

const StructuredOutputs = Type.Object(
  {
    ...guides,
    json_object: Type.Optional(nullableBoolean({ description: 'any JSON object' })),
    disable_any_whitespace: Type.Optional(
      nullableBoolean({ description: 'without effect: there is no free white space in JSON' }),
    ),
    disable_additional_properties: Type.Optional(
      nullableBoolean({
        description: 'without effect: a schema that names properties has no others',
      }),
    ),
  },
  { additionalProperties: false },
)
export type StructuredOutputs = Static<typeof StructuredOutputs>

const named = {
  name: { type: 'string', maxLength: 64, description: 'without effect' },
  description: { type: ['string', 'null'], maxLength: 4096, description: 'without effect' },
  strict: {
    type: ['boolean', 'null'],
    description: 'without effect: every answer is held to the schema',
  },
}

/** Of chat completions and completions. */
export const responseFormat = Type.Optional(
  Type.Unsafe<ResponseFormat | null>({
    type: ['object', 'null'],
    properties: {
      type: { enum: ['text', 'json_object', 'json_schema'] },
      json_schema: {
        type: 'object',
        properties: { ...named, schema },
        required: ['name'],
        additionalProperties: false,
      },
    },
    required: ['type'],
    additionalProperties: false,
    description: 'what the text is: JSON, or JSON of a schema; not for models that fill templates',
  }),
)

/** Of responses, in `text`. Other types are refused where the request is read. */
export const textFormat = {
  type: 'object',
  properties: { type: { type: 'string', maxLength: 32 }, ...named, schema },
  required: ['type'],
  additionalProperties: false,
  description: 'text, json_object, or json_schema with a schema',
}

/** Of all routes that generate text. */
export const structureFields = {
  guided_regex: guides.regex,
  guided_choice: guides.choice,
  guided_grammar: guides.grammar,
  guided_json: guides.json,
  structured_outputs: Type.Optional(
    Type.Unsafe<StructuredOutputs | null>({
      ...StructuredOutputs,
      type: ['object', 'null'],
      description:
        'the same as guided_regex and its like, under the names of newer versions of vLLM',
    }),
  ),
}

export type StructureFields = Partial<Static<TObject<typeof structureFields>>> & {
  response_format?: ResponseFormat | null
  text?: { format?: TextFormat } | null
  /** No field of a request: rules that follow from other fields. */
  implied?: Grammar | undefined
}
