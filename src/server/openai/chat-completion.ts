/** Conversations as completions: from a chat request to a completion request, and back for the reply. */
import { BasinError } from '../../errors.js'
import type { EngineClient } from '../../generation/client/engine-client.js'
import type { ToolFormat } from '../../tokenizer/chat-template.js'
import type { Grammar } from '../../tokenizer/grammar/grammar.js'
import { tokenBytes } from '../event-fields.js'
import type { Chat, ChatLogprobs, ChatRequest, Message } from '../schemas/chat-schema.js'
import type { Completion, CompletionRequest, Logprobs } from '../schemas/completion-schema.js'
import { chatRefusals } from '../schemas/openai-fields.js'
import type { ChunkChoice, CompletionApi } from './completion-run.js'
import type { ConversationPrompt, Turn } from './chat-prompt.js'
import { refuseFields } from './refuse-fields.js'
import { apart, argumentsOf, type ReadText, ToolCallReader } from './tool-calls.js'
import type { AskedTools } from './tools.js'

/** Throws `invalid_request` for a message without a content, `not_supported` for one that is not a text. */
function textOf({ content }: Message, param: string): string {
  if (typeof content === 'string') return content
  if (content === undefined || content === null) {
    throw new BasinError('invalid_request', { param, reason: 'is required' })
  }
  return content.map((part, i) => partText(part, `${param}.${i}`)).join('')
}

type Part = Exclude<Message['content'], string | null | undefined>[number]

function partText({ refusal, text, type }: Part, param: string): string {
  const said = { text, refusal }[type]
  if (said !== undefined) return said
  if (type === 'text' || type === 'refusal') {
    throw new BasinError('invalid_request', { param: `${param}.${type}`, reason: 'is required' })
  }
  const reason = `models here read text, and no part of type ${type}`
  throw new BasinError('not_supported', { param, reason })
}

/** The turns of a request. `tools`: whether the model reads calls. Throws what is wrong with its messages. */
export const turnsOf = (
  { messages }: ChatRequest,
  { tools }: Pick<EngineClient, 'tools'>,
): Turn[] =>
  messages.map((message, i) => {
    const param = `messages.${i}`
    const called = calledIn(message, param)
    if (called && !tools) {
      const reason = 'the model calls no tools'
      const field = message.role === 'tool' ? 'role' : 'tool_calls'
      throw new BasinError('not_supported', { param: `${param}.${field}`, reason })
    }
    const silent = message.tool_calls?.length && (message.content ?? null) === null
    const text = silent ? '' : textOf(message, `${param}.content`)
    return { role: message.role, text, ...(called && { called }) }
  })

/** The tools that a message of the assistant called, or the call that a tool's message answers. */
function calledIn(message: Message, param: string): Turn['called'] {
  const { name, role, tool_call_id: id, tool_calls: calls } = message
  if (role === 'tool')
    return { ...(id && { tool_call_id: id }), ...(typeof name === 'string' && { name }) }
  if (role !== 'assistant' || !calls?.length) return undefined
  return {
    tool_calls: calls.map((call, i) => ({
      ...call,
      function: {
        name: call.function.name,
        arguments: argumentsOf(
          call.function.arguments,
          `${param}.tool_calls.${i}.function.arguments`,
        ),
      },
    })),
  }
}

export function toolsOf({ tool_choice: choice, tools }: ChatRequest): AskedTools {
  return {
    functions: tools?.map((tool) => tool.function),
    choice:
      choice && typeof choice === 'object'
        ? { name: choice.function.name, param: 'tool_choice.function.name' }
        : (choice ?? 'auto'),
  }
}

/** `room`: the default of `max_tokens`. */
export function completionRequestOf(
  body: ChatRequest,
  { prompt, template }: ConversationPrompt,
  room: number,
  grammar?: Grammar,
): CompletionRequest & { implied?: Grammar } {
  refuseFields(body, chatRefusals)
  const { logprobs, max_completion_tokens: most, reasoning, top_logprobs: top } = body
  if (typeof top === 'number' && !logprobs) {
    const reason = 'needs logprobs'
    throw new BasinError('invalid_request', { param: 'top_logprobs', reason })
  }
  return {
    ...body,
    prompt: [...prompt],
    ...(template !== undefined && { template }),
    max_tokens: most ?? body.max_tokens ?? room,
    logprobs: logprobs ? (top ?? 0) : null,
    reasoning_effort: body.reasoning_effort ?? reasoning?.effort ?? null,
    ...(grammar && { implied: grammar }),
  }
}

function chatLogprobs(logprobs: Logprobs | null): ChatLogprobs | null {
  if (!logprobs) return null
  const { token_logprobs: values, tokens, top_logprobs: tops } = logprobs
  const content = tokens.map((token, i) => ({
    token,
    logprob: values[i] ?? 0,
    bytes: tokenBytes(token),
    top_logprobs: Object.entries(tops[i] ?? {}).map(([other, logprob]) => ({
      token: other,
      logprob,
      bytes: tokenBytes(other),
    })),
  }))
  return { content, refusal: null }
}

/** `format`: of the calls in its texts, if the model was told of tools. */
export const chatOf = ({ choices, ...head }: Completion, format?: ToolFormat): Chat => ({
  ...head,
  object: 'chat.completion',
  choices: choices.map(({ finish_reason: reason, text, logprobs, ...rest }) => {
    const { calls, content } = format ? callsIn(text, format) : { calls: [], content: text }
    const called = calls.length > 0
    return {
      ...rest,
      message: {
        role: 'assistant',
        content: called && content.trim() === '' ? null : content,
        refusal: null,
        ...(called && { tool_calls: calls }),
      },
      logprobs: chatLogprobs(logprobs),
      finish_reason: called && reason === 'stop' ? 'tool_calls' : reason,
    }
  }),
})

function callsIn(text: string, format: ToolFormat): ReadText {
  const reader = new ToolCallReader(format)
  return apart([...reader.read(text), ...reader.end()])
}

/** The first chunk of a choice names the role. */
const chatChunkChoice = ({ first, logprobs, text, ...rest }: ChunkChoice): object => ({
  ...rest,
  delta: { ...(first && { role: 'assistant' }), ...((first || text) && { content: text }) },
  logprobs: chatLogprobs(logprobs),
})

export const chatCompletions: CompletionApi = {
  idPrefix: 'chatcmpl',
  chunkObject: 'chat.completion.chunk',
  route: 'chat/completions',
  chunkChoice: chatChunkChoice,
}

/** With calls as deltas of their own, each when it is complete. For one reply. */
export function chatCompletionsWithTools(format: ToolFormat): CompletionApi {
  const readers = new Map<number, { reader: ToolCallReader; calls: number }>()
  const chunkChoice = ({ finish_reason, first, index, logprobs, text }: ChunkChoice): object => {
    const choice = readers.get(index) ?? { reader: new ToolCallReader(format), calls: 0 }
    readers.set(index, choice)
    const { reader } = choice
    const { calls, content } = apart([
      ...reader.read(text),
      ...(finish_reason === null ? [] : reader.end()),
    ])
    const numbered = calls.map((call, i) => ({ index: choice.calls + i, ...call }))
    choice.calls += calls.length
    return {
      index,
      delta: {
        ...(first && { role: 'assistant', content: null }),
        ...(content && { content }),
        ...(numbered.length > 0 && { tool_calls: numbered }),
      },
      logprobs: chatLogprobs(logprobs),
      finish_reason: finish_reason === 'stop' && choice.calls > 0 ? 'tool_calls' : finish_reason,
    }
  }
  return { ...chatCompletions, chunkChoice }
}
