/** Requests and replies of `/v1/responses`. The meaning of their fields follows the OpenAI API. */
import { Type, type Static } from 'typebox'
import { refusedFields, responseRefusals, withoutEffect } from './openai-fields.js'
import { Logprob, RefinementReply } from './reply-schema.js'
import { type TextFormat, textFormat } from './structure-schema.js'
import {
  nullableAnyObject,
  nullableBoolean,
  nullableInteger,
  nullableString,
} from './nullable-schema.js'
import { efforts, exact, LARGEST_COUNT, settings } from './settings-schema.js'
import { functionFields, ToolName } from './tool-schema.js'

/** A client may send back parts of an earlier answer as they were; only their texts are read. */
const Part = Type.Object({
  type: Type.String({ maxLength: 64, description: 'input_text, output_text or text' }),
  text: Type.Optional(Type.String()),
})

const roles = ['user', 'assistant', 'system', 'developer'] as const
export type Role = (typeof roles)[number]

const CallId = Type.String({ minLength: 1, maxLength: 128 })

/** Items of types that models here cannot read are refused where the input is read, with their type. */
const InputItem = Type.Object({
  type: Type.Optional(
    Type.String({
      maxLength: 64,
      description:
        'message (default), function_call or function_call_output; reasoning has no effect',
    }),
  ),
  role: Type.Optional(Type.Unsafe<Role>({ enum: roles })),
  content: Type.Optional(
    Type.Union([Type.String(), Type.Array(Part, { maxItems: 1024 })], {
      description: 'a text, or parts of type input_text or output_text',
    }),
  ),
  call_id: Type.Optional(CallId),
  name: Type.Optional(
    Type.String({ maxLength: 64, description: 'of the function that was called' }),
  ),
  arguments: Type.Optional(Type.String({ description: 'of a function_call: JSON' })),
  output: Type.Optional(
    Type.Union([Type.String(), Type.Array(Part, { maxItems: 1024 })], {
      description: 'of a function_call_output: a text, or parts of type input_text',
    }),
  ),
  id: Type.Optional(nullableString(128, { description: 'without effect' })),
  status: Type.Optional(nullableString(32, { description: 'without effect' })),
  phase: Type.Optional(nullableString(32, { description: 'without effect' })),
})
export type InputItem = Static<typeof InputItem>

/** Tools of other types have other fields; they are refused where the request is read, with their type. */
const Tool = Type.Object(
  {
    type: Type.String({ maxLength: 64, description: 'function is the only one' }),
    name: Type.Optional(ToolName),
    ...functionFields,
  },
  { additionalProperties: true },
)
export type Tool = Static<typeof Tool>

const ToolChoice = Type.Union([
  Type.Literal('none'),
  Type.Literal('auto'),
  Type.Literal('required'),
  Type.Object(
    { type: Type.String({ maxLength: 64 }), name: Type.Optional(ToolName) },
    { additionalProperties: true },
  ),
])
type ToolChoice = Static<typeof ToolChoice>

/** Values of OpenAI's `include`, and one of ours. Those of tools and images are accepted without effect. */
const includable = [
  'basin:refinement_step',
  'message.output_text.logprobs',
  'reasoning.encrypted_content',
  'file_search_call.results',
  'web_search_call.results',
  'web_search_call.action.sources',
  'message.input_image.image_url',
  'computer_call_output.output.image_url',
  'code_interpreter_call.outputs',
] as const

const nullable = <T>(properties: Record<string, object>, options: object = {}) =>
  Type.Unsafe<T | null>({
    type: ['object', 'null'],
    properties,
    additionalProperties: false,
    ...options,
  })

/** The settings of all requests without those for which this API has other names. */
const sampling = Type.Omit(Type.Object(settings), [
  'max_tokens',
  'logprobs',
  'response_format',
]).properties

export const ResponseRequest = Type.Object(
  {
    input: Type.Optional(
      Type.Union([Type.String(), Type.Array(InputItem, { maxItems: 1024 }), Type.Null()], {
        description:
          'a text, or messages. A model without a chat template continues their texts, joined by blank ' +
          'lines, or fills the last one of the user as its template',
      }),
    ),
    instructions: Type.Optional(
      nullableString(1_048_576, { description: 'precede all messages, for this answer only' }),
    ),
    previous_response_id: Type.Optional(
      nullableString(128, { description: 'continues the conversation after that response' }),
    ),
    resume_from: Type.Optional(
      nullableString(1_048_576, {
        description:
          'a state of GET /v1/responses/{id}/state: goes on from there, with all that was asked then. Beside it ' +
          'only background, stream, stream_options, include, store and metadata',
      }),
    ),
    ...sampling,
    max_output_tokens: Type.Optional(
      nullableInteger(1, LARGEST_COUNT, { description: 'default: what the context has room for' }),
    ),
    reasoning: Type.Optional(
      nullable<{ effort?: (typeof efforts)[number] | null }>({
        effort: { enum: [...efforts, null], description: 'a preset of the budget' },
        summary: { type: ['string', 'null'], maxLength: 32, description: 'without effect' },
        generate_summary: {
          type: ['string', 'null'],
          maxLength: 32,
          description: 'without effect',
        },
        context: { type: ['string', 'null'], maxLength: 32, description: 'without effect' },
        mode: { type: ['string', 'null'], maxLength: 32, description: 'without effect' },
      }),
    ),
    background: Type.Optional(
      nullableBoolean({ description: 'runs on without this connection; needs store' }),
    ),
    stream: Type.Optional(nullableBoolean({ description: 'answer with server-sent events' })),
    stream_options: Type.Optional(
      nullable<{ include_refinement?: boolean }>({
        include_refinement: { type: 'boolean', description: 'events basin:refinement_step' },
        include_obfuscation: { type: 'boolean', description: 'without effect' },
      }),
    ),
    include: Type.Optional(
      Type.Unsafe<(typeof includable)[number][] | null>({
        type: ['array', 'null'],
        items: { enum: includable },
        maxItems: includable.length,
      }),
    ),
    top_logprobs: Type.Optional(
      nullableInteger(0, 20, { description: 'alternatives of every token' }),
    ),
    text: Type.Optional(
      nullable<{ format?: TextFormat }>({
        format: textFormat,
        verbosity: { type: ['string', 'null'], maxLength: 32, description: 'without effect' },
      }),
    ),
    tools: Type.Optional(
      Type.Union([Type.Array(Tool, { maxItems: 128 }), Type.Null()], {
        description: 'functions that the model may call, if its chat template knows tools',
      }),
    ),
    tool_choice: Type.Optional(
      Type.Union([ToolChoice, Type.Null()], {
        description:
          'required, or {type: "function", name}: the text is one call, with arguments of its schema',
      }),
    ),
    parallel_tool_calls: Type.Optional(nullableBoolean({ description: 'without effect' })),
    max_tool_calls: Type.Optional(
      nullableInteger(0, LARGEST_COUNT, { description: 'without effect' }),
    ),
    truncation: Type.Optional(nullableString(32, { description: 'disabled is the only one' })),
    ...withoutEffect,
    ...refusedFields(responseRefusals),
    store: Type.Optional(nullableBoolean({ description: 'keep it for later; default true' })),
    metadata: Type.Optional(
      Type.Unsafe<Record<string, string> | null>({
        type: ['object', 'null'],
        propertyNames: { maxLength: 64 },
        additionalProperties: { type: 'string', maxLength: 512 },
        maxProperties: 16,
        description: 'comes back with the response',
      }),
    ),
    background_options: Type.Optional(nullableAnyObject({ description: 'without effect' })),
    access_programs: Type.Optional(nullableAnyObject({ description: 'without effect' })),
    image: Type.Optional(nullableAnyObject({ description: 'without effect' })),
  },
  exact,
)
export type ResponseRequest = Static<typeof ResponseRequest>

const status = (...names: readonly string[]) => Type.Unsafe<string>({ enum: names })
const orNull = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) =>
  Type.Union([schema, Type.Null()])

const OutputMessage = Type.Object({
  type: Type.Literal('message'),
  id: Type.String(),
  status: status('in_progress', 'completed', 'incomplete'),
  role: Type.Literal('assistant'),
  content: Type.Array(
    Type.Object({
      type: Type.Literal('output_text'),
      text: Type.String(),
      annotations: Type.Array(Type.Unknown()),
      logprobs: Type.Array(Logprob),
    }),
  ),
})
export type OutputMessage = Static<typeof OutputMessage>

const FunctionCall = Type.Object({
  type: Type.Literal('function_call'),
  id: Type.String(),
  call_id: Type.String(),
  name: Type.String(),
  arguments: Type.String({ description: 'JSON' }),
  status: Type.Literal('completed'),
})
export type FunctionCall = Static<typeof FunctionCall>

/** What a model says: texts, and calls of tools. */
const OutputItem = Type.Union([OutputMessage, FunctionCall])
export type OutputItem = Static<typeof OutputItem>

const InputMessage = Type.Object({
  type: Type.Literal('message'),
  id: Type.String(),
  status: Type.Literal('completed'),
  role: Type.Unsafe<Role>({ enum: roles }),
  content: Type.Array(
    Type.Object({
      type: Type.Unsafe<'input_text' | 'output_text'>({ enum: ['input_text', 'output_text'] }),
      text: Type.String(),
    }),
  ),
})
export type InputMessage = Static<typeof InputMessage>

const FunctionCallOutput = Type.Object({
  type: Type.Literal('function_call_output'),
  id: Type.String(),
  call_id: Type.String(),
  output: Type.String(),
  status: Type.Literal('completed'),
})

/** An item of a request's input, as it is kept. */
export const StoredItem = Type.Union([InputMessage, FunctionCall, FunctionCallOutput])
export type StoredItem = Static<typeof StoredItem>

const ResponseUsage = Type.Object({
  input_tokens: Type.Integer(),
  input_tokens_details: Type.Object({ cached_tokens: Type.Integer() }),
  output_tokens: Type.Integer(),
  output_tokens_details: Type.Object({ reasoning_tokens: Type.Integer() }),
  total_tokens: Type.Integer(),
})

const statuses = [
  'queued',
  'in_progress',
  'completed',
  'incomplete',
  'failed',
  'cancelled',
] as const

export const ResponseReply = Type.Object(
  {
    id: Type.String(),
    object: Type.Literal('response'),
    created_at: Type.Integer({ description: 'Unix time, seconds' }),
    completed_at: orNull(Type.Integer()),
    status: Type.Unsafe<(typeof statuses)[number]>({ enum: statuses }),
    background: Type.Boolean(),
    error: orNull(Type.Object({ code: Type.String(), message: Type.String() })),
    incomplete_details: orNull(
      Type.Object({
        reason: Type.Union([Type.Literal('max_output_tokens'), Type.Literal('unsatisfied')]),
      }),
    ),
    instructions: orNull(Type.String()),
    max_output_tokens: orNull(Type.Integer()),
    model: Type.String(),
    output: Type.Array(OutputItem),
    parallel_tool_calls: Type.Boolean(),
    previous_response_id: orNull(Type.String()),
    reasoning: Type.Object({ effort: orNull(Type.String()), summary: Type.Null() }),
    store: Type.Boolean(),
    temperature: Type.Number(),
    text: Type.Object({
      format: Type.Unsafe<TextFormat>({ type: 'object', additionalProperties: true }),
    }),
    tool_choice: Type.Unsafe<ToolChoice>({ description: 'as it was asked' }),
    tools: Type.Array(Type.Unsafe<Tool>({ type: 'object', additionalProperties: true })),
    top_p: Type.Number(),
    truncation: Type.Literal('disabled'),
    usage: orNull(ResponseUsage),
    metadata: Type.Record(Type.String(), Type.String()),
    seed: Type.Integer({ description: 'the same seed gives the same answer' }),
    refinement: Type.Union([RefinementReply, Type.Null()], { description: 'null until it ends' }),
  },
  {
    description:
      'With `stream`, `text/event-stream` instead: events named by their `type`, numbered by ' +
      '`sequence_number`',
  },
)
export type ResponseReply = Static<typeof ResponseReply>

export const StateReply = Type.Object({
  id: Type.String(),
  object: Type.Literal('response.state'),
  model: Type.String(),
  steps: Type.Integer({ description: 'descent steps that it has taken' }),
  state: Type.String({ description: 'for resume_from' }),
})
export type StateReply = Static<typeof StateReply>

export const Retrieval = Type.Object(
  {
    stream: Type.Optional(Type.Boolean({ description: 'its events, from the first on' })),
    starting_after: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: LARGEST_COUNT,
        description: 'only events after this sequence_number; needs stream',
      }),
    ),
    include: Type.Optional(Type.Unknown({ description: 'what was asked for at the beginning' })),
    'include[]': Type.Optional(Type.Unknown({ description: 'the same' })),
    include_obfuscation: Type.Optional(Type.Boolean({ description: 'without effect' })),
  },
  exact,
)

export const ItemQuery = Type.Object(
  {
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, description: 'default 20' })),
    order: Type.Optional(Type.Unsafe<'asc' | 'desc'>({ enum: ['asc', 'desc'] })),
    after: Type.Optional(Type.String({ maxLength: 128, description: 'the id of an item' })),
    include: Type.Optional(Type.Unknown()),
    'include[]': Type.Optional(Type.Unknown()),
  },
  exact,
)
