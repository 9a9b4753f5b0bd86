/**
 * Encodes conversations by the Jinja template in a model's `tokenizer_config.json`; a request cannot bring
 * a template. Message contents are plain text even where they spell special tokens: the template is
 * rendered with placeholders, and each content is encoded on its own.
 */
import { Template } from '@huggingface/jinja'
import { randomUUID } from 'node:crypto'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { BasinError } from '../errors.js'
import type { Tokenizer } from './tokenizer.js'

export interface ChatMessage {
  role: string
  content: string
}

export interface ChatTemplate {
  /** Tokens up to where the assistant's reply begins. Throws `invalid_request` where the template fails. */
  encode(messages: readonly ChatMessage[]): number[]
}

const MAX_FILE_BYTES = 2 ** 20

const pathIn = (directory: string): string => join(directory, 'tokenizer_config.json')

/** Throws `invalid_tokenizer`. */
export function hasChatTemplate(directory: string): boolean {
  const path = pathIn(directory)
  return existsSync(path) && templateOf(path) !== undefined
}

/** Undefined for a model without a chat template. Throws `invalid_tokenizer`. */
export function openChatTemplate(
  directory: string,
  tokenizer: Tokenizer,
): ChatTemplate | undefined {
  const path = pathIn(directory)
  if (!existsSync(path)) return undefined
  const source = templateOf(path)
  if (source === undefined) return undefined
  let template: Template
  try {
    template = new Template(source)
  } catch (cause) {
    throw invalid(path, 'chat_template is not a Jinja template', cause)
  }
  const knowsDevelopers = source.includes('developer')
  return {
    encode: (messages) =>
      encodeWith(template, tokenizer, knowsDevelopers ? messages : messages.map(withoutDeveloper)),
  }
}

/** What OpenAI calls a developer's message, most templates call the system's. */
const withoutDeveloper = ({ content, role }: ChatMessage): ChatMessage => ({
  role: role === 'developer' ? 'system' : role,
  content,
})

const invalid = (path: string, reason: string, cause?: unknown): BasinError =>
  new BasinError('invalid_tokenizer', { path, reason }, { cause })

function templateOf(path: string): string | undefined {
  const stat = statSync(path)
  if (!stat.isFile()) throw invalid(path, 'is not a regular file')
  if (stat.size > MAX_FILE_BYTES) throw invalid(path, `is larger than ${MAX_FILE_BYTES} bytes`)
  let json: unknown
  try {
    json = JSON.parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw invalid(path, 'is not JSON', cause)
  }
  const source = (json as { chat_template?: unknown } | null)?.chat_template
  if (source === undefined || source === null) return undefined
  if (typeof source === 'string') return source
  throw invalid(path, 'chat_template is not a text')
}

function encodeWith(
  template: Template,
  tokenizer: Tokenizer,
  messages: readonly ChatMessage[],
): number[] {
  const nonce = randomUUID().replaceAll('-', '')
  const placeholders = messages.map(({ role }, index) => ({ role, content: `${nonce}.${index}.` }))
  let rendered: string
  try {
    // The engine puts the begin-of-text token before every context itself.
    const tokens = { bos_token: '', eos_token: nameOf(tokenizer, tokenizer.bos) }
    rendered = template.render({ messages: placeholders, add_generation_prompt: true, ...tokens })
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'the chat template cannot render them'
    throw new BasinError('invalid_request', { param: 'messages', reason }, { cause })
  }
  return rendered.split(new RegExp(`${nonce}\\.([0-9]+)\\.`)).flatMap((piece, i) => {
    if (i % 2 === 0) return tokenizer.encode(piece, { special: 'all', param: 'messages' })
    const content = messages[Number(piece)]?.content ?? ''
    return tokenizer.encode(content, { param: `messages.${piece}.content` })
  })
}

const nameOf = ({ special }: Tokenizer, id: number | undefined): string =>
  [...special].find(([, each]) => each === id)?.[0] ?? ''
