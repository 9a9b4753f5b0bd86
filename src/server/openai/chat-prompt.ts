/**
 * From the turns of a conversation to what an engine is asked. A model with a chat template reads them by it.
 * Any other model gets the plain one, so that every client can talk to it: a model of text continues the
 * contents, with a blank line before each but those of the assistant, which continued what was before them; a
 * model of puzzles fills the last message of the user, which is its template.
 */
import { BasinError } from '../../errors.js'
import type { EngineClient } from '../../generation/client/engine-client.js'
import type { ChatMessage, Tool } from '../../tokenizer/chat-template.js'
import type { Requester } from '../requests/requester.js'

/** One message: who speaks, and what. */
export interface Turn {
  role: string
  text: string
  /** Tools that the assistant called, or the call that a tool answers. */
  called?: Omit<ChatMessage, 'content' | 'role'>
}

export interface ConversationPrompt {
  /** Tokens; empty where there is a template. */
  prompt: readonly number[]
  template?: string
}

/** Before a message that continues nothing, for models without a chat template. */
const SEPARATOR = '\n\n'

/** A model that fills templates of one length: a board, a sum. */
const fillsTemplates = ({ model }: Pick<EngineClient, 'model'>): boolean =>
  model.template?.length !== undefined

/**
 * `param`: the field that holds the turns. `template`: what the request names besides them; a model that fills
 * templates of one length reads nothing else then. Throws `invalid_request`, and what the chat template throws.
 */
export async function conversationPrompt(
  turns: readonly Turn[],
  { client, engine }: Pick<Requester, 'client' | 'engine'>,
  param: string,
  template?: string | null,
  tools?: readonly Tool[],
): Promise<ConversationPrompt> {
  const given = typeof template === 'string' ? { template } : undefined
  if (engine.chat && turns.length > 0) {
    const messages = turns.map(({ called, role, text }) => ({ role, content: text, ...called }))
    return { prompt: await engine.converse(messages, client, tools), ...given }
  }
  if (fillsTemplates(engine))
    return { prompt: [], ...(given ?? { template: puzzleIn(turns, param) }) }
  const text = plainText(turns)
  return { prompt: text === '' ? [] : await engine.tokenize(text, client, param), ...given }
}

const plainText = (turns: readonly Turn[]): string =>
  turns
    .map(({ role, text }, i) => (i === 0 || role === 'assistant' ? text : SEPARATOR + text))
    .join('')

function puzzleIn(turns: readonly Turn[], param: string): string {
  const puzzle = turns.findLast(({ role }) => role === 'user')?.text
  if (puzzle !== undefined) return puzzle
  const reason = 'this model fills templates; it needs a message of the user, which is the template'
  throw new BasinError('invalid_request', { param, reason })
}
