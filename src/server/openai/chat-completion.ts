/** Conversations as completions: from a chat request to a completion request, and back for the reply. */
import { BasinError } from '../../errors.js'
import { tokenBytes } from '../event-fields.js'
import type { Chat, ChatLogprobs, ChatRequest, Message } from '../schemas/chat-schema.js'
import type { Completion, CompletionRequest, Logprobs } from '../schemas/completion-schema.js'
import { chatRefusals } from '../schemas/openai-fields.js'
import type { ChunkChoice, CompletionApi } from './completion-run.js'
import type { ConversationPrompt, Turn } from './chat-prompt.js'
import { refuseFields } from './refuse-fields.js'

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

/** The turns of a request. Throws what is wrong with its messages. */
export const turnsOf = ({ messages }: ChatRequest): Turn[] =>
  messages.map((message, i) => {
    const param = `messages.${i}`
    if (message.role === 'tool') {
      const reason = 'the model calls no tools'
      throw new BasinError('not_supported', { param: `${param}.role`, reason })
    }
    return { role: message.role, text: textOf(message, `${param}.content`) }
  })

/** `room`: the default of `max_tokens`. */
export function completionRequestOf(
  body: ChatRequest,
  { prompt, template }: ConversationPrompt,
  room: number,
): CompletionRequest {
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
