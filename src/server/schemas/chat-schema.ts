/** Request and reply of `/v1/chat/completions`. The meaning of their fields follows the OpenAI API. */
import { Type, type Static } from 'typebox'
import { FinishReason, streamOptions, withoutEffect } from './completion-schema.js'
import { Logprob, RefinementReply, Usage } from './reply-schema.js'
import {
  exact,
  nullableBoolean,
  nullableInteger,
  nullableString,
  sharedSettings,
} from './settings-schema.js'

const TextPart = Type.Object({ type: Type.Literal('text'), text: Type.String() }, exact)

const Message = Type.Object(
  {
    role: Type.Unsafe<'system' | 'developer' | 'user' | 'assistant'>({
      enum: ['system', 'developer', 'user', 'assistant'],
    }),
    content: Type.Union([Type.String(), Type.Array(TextPart)], {
      description: 'a text, or parts of type text',
    }),
    name: Type.Optional(nullableString(64, { description: 'without effect' })),
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
    stream: Type.Optional(nullableBoolean({ description: 'answer with server-sent events' })),
    stream_options: streamOptions,
    ...withoutEffect,
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
          content: Type.String(),
          refusal: Type.Null(),
        }),
        logprobs: Type.Union([ChatLogprobs, Type.Null()]),
        finish_reason: FinishReason,
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
