/** From the input of a request to its items, and from items to the turns of a conversation and to a prompt. */
import { randomUUID } from 'node:crypto'
import { BasinError } from '../../../errors.js'
import type { EngineClient } from '../../../generation/client/engine-client.js'
import type { Tool } from '../../../tokenizer/chat-template.js'
import type { Requester } from '../../requests/requester.js'
import type {
  InputItem,
  InputMessage,
  OutputItem,
  ResponseRequest,
  StoredItem,
} from '../../schemas/response-schema.js'
import { type ConversationPrompt, conversationPrompt, type Turn } from '../chat-prompt.js'
import { argumentsOf } from '../tool-calls.js'

type ContentParts = Exclude<InputItem['content'], string | undefined>

/** Types of parts that are texts; `text` is what chat completions call it. */
const textTypes = ['input_text', 'output_text', 'text']

/** Throws `invalid_request` where there is none, `not_supported` for one that is not a text. */
function textsOf(content: string | ContentParts | undefined, param: string): string[] {
  if (typeof content === 'string') return [content]
  return present(content, param).map(({ text, type }, i) => {
    if (textTypes.includes(type) && text !== undefined) return text
    const reason = `models here read text, and no part of type ${type}`
    throw new BasinError('not_supported', { param: `${param}.${i}`, reason })
  })
}

function present<T>(value: T | undefined, param: string): T {
  if (value !== undefined) return value
  throw new BasinError('invalid_request', { param, reason: 'is required' })
}

function messageOf({ content, role }: InputItem, param: string): InputMessage {
  const from = present(role, `${param}.role`)
  const type = from === 'assistant' ? ('output_text' as const) : ('input_text' as const)
  return {
    type: 'message',
    id: `msg_${randomUUID()}`,
    status: 'completed',
    role: from,
    content: textsOf(content, `${param}.content`).map((text) => ({ type, text })),
  }
}

function callOf({ arguments: given, call_id: call, name }: InputItem, param: string): StoredItem {
  return {
    type: 'function_call',
    id: `fc_${randomUUID()}`,
    call_id: present(call, `${param}.call_id`),
    name: present(name, `${param}.name`),
    arguments: JSON.stringify(
      argumentsOf(present(given, `${param}.arguments`), `${param}.arguments`),
    ),
    status: 'completed',
  }
}

const callOutputOf = ({ call_id: call, output }: InputItem, param: string): StoredItem => ({
  type: 'function_call_output',
  id: `fc_${randomUUID()}`,
  call_id: present(call, `${param}.call_id`),
  output: textsOf(output, `${param}.output`).join(''),
  status: 'completed',
})

/** Throws `not_supported` for an item that the model cannot read. */
function storedItemOf(
  item: InputItem,
  { tools }: Pick<EngineClient, 'tools'>,
  param: string,
): StoredItem[] {
  const { type = 'message' } = item
  // What other models thought is no part of a conversation with this one.
  if (type === 'reasoning') return []
  if (type === 'message') return [messageOf(item, param)]
  const refuse = (reason: string) =>
    new BasinError('not_supported', { param: `${param}.type`, reason })
  if (type !== 'function_call' && type !== 'function_call_output')
    throw refuse(`models here read messages and calls of functions, and no item of type ${type}`)
  if (!tools) throw refuse('the model calls no tools')
  return [type === 'function_call' ? callOf(item, param) : callOutputOf(item, param)]
}

/** The items of a request, each with an id of its own. Throws what is wrong with its input. */
export function itemsOf(
  { input }: ResponseRequest,
  engine: Pick<EngineClient, 'tools'>,
): StoredItem[] {
  const given: InputItem[] =
    typeof input === 'string' ? [{ role: 'user', content: input }] : (input ?? [])
  return given.flatMap((item, i) => storedItemOf(item, engine, `input.${i}`))
}

/** Calls belong to the turn of the assistant before them, as chat templates write them. */
export function turnsOf(items: readonly (StoredItem | OutputItem)[]): Turn[] {
  const turns: Turn[] = []
  for (const item of items) {
    if (item.type === 'message') {
      turns.push({ role: item.role, text: item.content.map(({ text }) => text).join('') })
    } else if (item.type === 'function_call_output') {
      turns.push({ role: 'tool', text: item.output, called: { tool_call_id: item.call_id } })
    } else {
      const { arguments: given, call_id: id, name } = item
      const call = {
        id,
        type: 'function' as const,
        function: { name, arguments: argumentsOf(given, 'input') },
      }
      const last = turns.at(-1)
      const turn = last?.role === 'assistant' ? last : { role: 'assistant', text: '' }
      if (turn !== last) turns.push(turn)
      turn.called = { tool_calls: [...(turn.called?.tool_calls ?? []), call] }
    }
  }
  return turns
}

/** `history`: the turns before this request. Throws `empty_prompt`, `invalid_request`. */
export function promptOf(
  { instructions, template }: ResponseRequest,
  history: readonly Turn[],
  input: readonly Turn[],
  requester: Pick<Requester, 'client' | 'engine'>,
  tools?: readonly Tool[],
): Promise<ConversationPrompt> {
  const before: Turn[] =
    typeof instructions === 'string' ? [{ role: 'system', text: instructions }] : []
  const turns = [...before, ...history, ...input]
  if (turns.length === 0 && typeof template !== 'string') {
    throw new BasinError('empty_prompt', { param: 'input' })
  }
  return conversationPrompt(turns, requester, 'input', template, tools)
}
