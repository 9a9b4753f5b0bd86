/** Request and reply of `/v1/chat/completions`. The meaning of their fields follows the OpenAI API. */
import { Type, type Static } from 'typebox'
import { FinishReason, streamOptions } from './completion-schema.js'
import { chatRefusals, refusedFields, withoutEffect } from './openai-fields.js'
import { Logprob, RefinementReply, Usage } from './reply-schema.js'
import { responseFormat } from './structure-schema.js'
import {
  nullableAnyObject,
  nullableBoolean,
  nullableInteger,
  nullableString,
} from './nullable-schema.js'
import { efforts, exact, sharedSettings } from './settings-schema.js'
import { functionFields, ToolName } from './tool-schema.js'

/** Parts of other types are refused where messages are read, with their type. */
const Part = Type.Object({
  type: Type.String({ maxLength: 64, description: 'text; refusal in messages of the assistant' }),
  text: Type.Optional(Type.String()),
  refusal: Type.Optional(Type.String()),
})

const chatRoles = ['system', 'developer', 'user', 'assistant', 'tool'] as const

const ToolCall = Type.Object(
  {
    id: Type.String({ maxLength: 128 }),
    type: Type.Literal('function'),
    function: Type.Object(
      { name: ToolName, arguments: Type.String({ description: 'JSON' }) },
      exact,
    ),
  },
  exact,
)

const FunctionTool = Type.Object(
  {
    type: Type.Literal('function'),
    function: Type.Object({ name: ToolName, ...functionFields }, exact),
  },
  exact,
)

const Message = Type.Object(
  {
    role: Type.Unsafe<(typeof chatRoles)[number]>({ enum: chatRoles }),
    content: Type.Optional(
      Type.Union([Type.String(), Type.Array(Part), Type.Null()], {
        description: 'a text, or parts of type text, which are joined',
      }),
    ),
    name: Type.Optional(nullableString(64, { description: 'without effect' })),
    tool_call_id: Type.Optional(nullableString(128, { description: 'of a message of a tool' })),
    tool_calls: Type.Optional(
      Type.Union([Type.Array(ToolCall, { maxItems: 128 }), Type.Null()], {
        description: 'of a message of the assistant',
      }),
    ),
    refusal: Type.Optional(
      nullableString(65_536, { description: 'without effect: part of replies that are sent back' }),
    ),
    annotations: Type.Optional(
      Type.Unsafe<unknown[] | null>({ type: ['array', 'null'], description: 'without effect' }),
    ),
    audio: Type.Optional(Type.Null()),
    function_call: Type.Optional(Type.Null()),
  },
  exact,
)
export type Message = Static<typeof Message>

export const ChatRequest = Type.Object(
  {
    messages: Type.Array(Message, { minItems: 1, maxItems: 1024 }),
    ...sharedSettings,
    max_completion_tokens: sharedSettings.max_tokens,
    n: Type.Optional(nullableInteger(1, 128, { description: 'answers to the conversation' })),
    logprobs: Type.Optional(nullableBoolean({ description: 'log-probabilities of every token' })),
    top_logprobs: Type.Optional(
      nullableInteger(0, 20, { description: 'alternatives of every token; needs logprobs' }),
    ),
    reasoning: Type.Optional(
      Type.Unsafe<{ effort?: (typeof efforts)[number] | null } | null>({
        type: ['object', 'null'],
        properties: { effort: { enum: [...efforts, null] } },
        description: 'its effort is the same as reasoning_effort; its other fields have no effect',
      }),
    ),
    response_format: responseFormat,
    modalities: Type.Optional(
      Type.Unsafe<string[] | null>({
        type: ['array', 'null'],
        items: { enum: ['text'] },
        description: 'text is the only one',
      }),
    ),
    verbosity: Type.Optional(nullableString(32, { description: 'without effect' })),
    prediction: Type.Optional(nullableAnyObject({ description: 'without effect' })),
    tools: Type.Optional(
      Type.Union([Type.Array(FunctionTool, { maxItems: 128 }), Type.Null()], {
        description: 'what the model may call, if its chat template knows tools',
      }),
    ),
    tool_choice: Type.Optional(
      Type.Union(
        [
          Type.Literal('none'),
          Type.Literal('auto'),
          Type.Literal('required'),
          Type.Object(
            { type: Type.Literal('function'), function: Type.Object({ name: ToolName }, exact) },
            exact,
          ),
          Type.Null(),
        ],
        {
          description:
            'required, or a tool by its name: the text is one call, with arguments of its schema',
        },
      ),
    ),
    parallel_tool_calls: Type.Optional(nullableBoolean({ description: 'without effect' })),
    stream: Type.Optional(nullableBoolean({ description: 'answer with server-sent events' })),
    stream_options: streamOptions,
    ...withoutEffect,
    ...refusedFields(chatRefusals),
  },
  exact,
)
export type ChatRequest = Static<typeof ChatRequest>

export const ChatLogprobs = Type.Object({
  content: Type.Array(Logprob),
  refusal: Type.Null(),
})
export type ChatLogprobs = Static<typeof ChatLogprobs>

export const Chat = Type.Object(
  {
    id: Type.String(),
    object: Type.Literal('chat.completion'),
    created: Type.Integer({ description: 'Unix time, seconds' }),
    model: Type.String(),
    choices: Type.Array(
      Type.Object({
        index: Type.Integer(),
        message: Type.Object({
          role: Type.Literal('assistant'),
          content: Type.Union([Type.String(), Type.Null()], {
            description: 'null where there are only calls',
          }),
          refusal: Type.Null(),
          tool_calls: Type.Optional(Type.Array(ToolCall)),
        }),
        logprobs: Type.Union([ChatLogprobs, Type.Null()]),
        finish_reason: Type.Union([...FinishReason.anyOf, Type.Literal('tool_calls')]),
        refinement: RefinementReply,
      }),
    ),
    usage: Usage,
    refinement: RefinementReply,
  },
  {
    description:
      'With `stream`, `text/event-stream` instead: objects `chat.completion.chunk` with a `delta` ' +
      'in place of the message, then `data: [DONE]`',
  },
)
export type Chat = Static<typeof Chat>
