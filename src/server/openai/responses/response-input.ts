/** From the input of a request to its messages, and from messages to a prompt. */
import { randomUUID } from 'node:crypto'
import { BasinError } from '../../../errors.js'
import type { Requester } from '../../requests/requester.js'
import type { InputItem, InputMessage, ResponseRequest } from '../../schemas/response-schema.js'
import { type ConversationPrompt, conversationPrompt, type Turn } from '../chat-prompt.js'

type Content = InputMessage['content']

/** Throws `invalid_request` where there is none, `not_supported` for one that is not a text. */
function contentOf({ content, role }: InputItem, param: string): Content {
  if (content === undefined)
    throw new BasinError('invalid_request', { param, reason: 'is required' })
  const type = role === 'assistant' ? ('output_text' as const) : ('input_text' as const)
  if (typeof content === 'string') return [{ type, text: content }]
  return content.map((part, i) => {
    if (textTypes.includes(part.type) && part.text !== undefined) return { type, text: part.text }
    const reason = `models here read text, and no part of type ${part.type}`
    throw new BasinError('not_supported', { param: `${param}.${i}`, reason })
  })
}

/** Types of parts that are texts; `text` is what chat completions call it. */
const textTypes = ['input_text', 'output_text', 'text']

/** Throws `not_supported` for an item that models here cannot read. */
function messageOf(item: InputItem, param: string): InputMessage[] {
  const { role, type = 'message' } = item
  // What other models thought is no part of a conversation with this one.
  if (type === 'reasoning') return []
  if (type !== 'message') {
    const reason = `models here read messages, and no item of type ${type}`
    throw new BasinError('not_supported', { param: `${param}.type`, reason })
  }
  if (role === undefined) {
    throw new BasinError('invalid_request', { param: `${param}.role`, reason: 'is required' })
  }
  const content = contentOf(item, `${param}.content`)
  return [{ type, id: `msg_${randomUUID()}`, status: 'completed', role, content }]
}

/** The messages of a request, each with an id of its own. Throws what is wrong with its input. */
export function itemsOf({ input }: ResponseRequest): InputMessage[] {
  const given: InputItem[] =
    typeof input === 'string' ? [{ role: 'user', content: input }] : (input ?? [])
  return given.flatMap((item, i) => messageOf(item, `input.${i}`))
}

export const turnOf = ({ content, role }: InputMessage): Turn => ({
  role,
  text: content.map(({ text }) => text).join(''),
})

/** `history`: the turns before this request. Throws `empty_prompt`, `invalid_request`. */
export function promptOf(
  { instructions, template }: ResponseRequest,
  history: readonly Turn[],
  input: readonly Turn[],
  requester: Pick<Requester, 'client' | 'engine'>,
): Promise<ConversationPrompt> {
  const before: Turn[] =
    typeof instructions === 'string' ? [{ role: 'system', text: instructions }] : []
  const turns = [...before, ...history, ...input]
  if (turns.length === 0 && typeof template !== 'string') {
    throw new BasinError('empty_prompt', { param: 'input' })
  }
  return conversationPrompt(turns, requester, 'input', template)
}
