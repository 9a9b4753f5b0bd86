/** Conversations as completions: from a chat request to a completion request, and back for the reply. */
import { BasinError } from '../../errors.js'
import type { ChatMessage } from '../../tokenizer/chat-template.js'
import { tokenBytes } from '../event-fields.js'
import type { Chat, ChatLogprobs, ChatRequest, Message } from '../schemas/chat-schema.js'
import type { Completion, CompletionRequest, Logprobs } from '../schemas/completion-schema.js'
import type { ChunkChoice, CompletionApi } from './completion-run.js'

const textOf = ({ content }: Message): string =>
  typeof content === 'string' ? content : content.map(({ text }) => text).join('')

export const messagesOf = ({ messages }: ChatRequest): ChatMessage[] =>
  messages.map((message) => ({ role: message.role, content: textOf(message) }))

/** `prompt`: the tokens of the conversation. `room`: the default of `max_tokens`. */
export function completionRequestOf(
  { max_completion_tokens: most, logprobs, top_logprobs: top, ...rest }: ChatRequest,
  prompt: number[],
  room: number,
): CompletionRequest {
  if (typeof top === 'number' && !logprobs) {
    const reason = 'needs logprobs'
    throw new BasinError('invalid_request', { param: 'top_logprobs', reason })
  }
  return {
    ...rest,
    prompt,
    max_tokens: most ?? rest.max_tokens ?? room,
    logprobs: logprobs ? (top ?? 0) : null,
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

export const chatOf = ({ choices, ...head }: Completion): Chat => ({
  ...head,
  object: 'chat.completion',
  choices: choices.map(({ text, logprobs, ...rest }) => ({
    ...rest,
    message: { role: 'assistant', content: text, refusal: null },
    logprobs: chatLogprobs(logprobs),
  })),
})

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
