/** From the input of a request to its messages, and from messages to a prompt. */
import { randomUUID } from 'node:crypto'
import { BasinError } from '../../../errors.js'
import type { EngineClient } from '../../../generation/client/engine-client.js'
import type {
  InputItem,
  InputMessage,
  ResponseRequest,
  Role,
} from '../../schemas/response-schema.js'

/** One turn of a conversation. */
export interface Turn {
  role: Role
  text: string
}

const contentOf = ({ content, role }: InputItem): InputMessage['content'] => {
  const type = role === 'assistant' ? ('output_text' as const) : ('input_text' as const)
  if (typeof content === 'string') return [{ type, text: content }]
  return content.map(({ text }) => ({ type, text }))
}

/** The messages of a request, each with an id of its own. */
export function itemsOf({ input }: ResponseRequest): InputMessage[] {
  const given: InputItem[] =
    typeof input === 'string' ? [{ role: 'user', content: input }] : (input ?? [])
  return given.map((item) => ({
    type: 'message',
    id: `msg_${randomUUID()}`,
    status: 'completed',
    role: item.role,
    content: contentOf(item),
  }))
}

export const turnOf = ({ content, role }: InputMessage): Turn => ({
  role,
  text: content.map(({ text }) => text).join(''),
})

/** `history`: the turns before this request. Throws `empty_prompt`, `not_supported`. */
export async function promptOf(
  { instructions }: ResponseRequest,
  history: readonly Turn[],
  input: readonly Turn[],
  engine: EngineClient,
): Promise<readonly number[]> {
  if (engine.chat) {
    const before: Turn[] =
      typeof instructions === 'string' ? [{ role: 'system', text: instructions }] : []
    const turns = [...before, ...history, ...input]
    if (turns.length === 0) throw new BasinError('empty_prompt', { param: 'input' })
    return engine.converse(turns.map(({ role, text }) => ({ role, content: text })))
  }
  const reason =
    'this model has no chat template: it reads the texts of user and assistant one after another'
  if (typeof instructions === 'string') {
    throw new BasinError('not_supported', { param: 'instructions', reason })
  }
  if (input.some(({ role }) => role === 'system' || role === 'developer')) {
    throw new BasinError('not_supported', { param: 'input', reason })
  }
  const text = [...history, ...input].map((turn) => turn.text).join('')
  return text === '' ? [] : engine.tokenize(text)
}
