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
  /** Of the assistant: tools that it called. */
  tool_calls?: readonly CalledTool[]
  /** Of a tool: the call that it answers, and its name. */
  tool_call_id?: string
  name?: string
}

export interface CalledTool {
  id: string
  type: 'function'
  /** Templates write the arguments as JSON. */
  function: { name: string; arguments: Readonly<Record<string, unknown>> }
}

/** A tool that the model may call, as templates read it. */
export interface Tool {
  type: 'function'
  function: {
    name: string
    description?: string
    parameters: Readonly<Record<string, unknown>>
  }
}

/**
 * How a model writes calls. `hermes` (Qwen too): JSON between <tool_call> and </tool_call>. `llama` (3.1): JSON
 * with `parameters`. `mistral`: a list of JSON after [TOOL_CALLS].
 */
export type ToolFormat = 'hermes' | 'llama' | 'mistral'

/** What the template of a model knows. `tools` is absent where it knows none, or writes calls in an unknown format. */
export interface ChatAbility {
  /** It has a chat template. */
  chat: boolean
  tools?: ToolFormat | undefined
}

export interface ChatTemplate {
  /** Tokens up to where the assistant's reply begins. Throws `invalid_request` where the template fails. */
  encode(messages: readonly ChatMessage[], tools?: readonly Tool[]): number[]
}

const MAX_FILE_BYTES = 2 ** 20

const pathIn = (directory: string): string => join(directory, 'tokenizer_config.json')

/** Throws `invalid_tokenizer`. */
export function chatAbility(directory: string): ChatAbility {
  const path = pathIn(directory)
  const source = existsSync(path) ? templateOf(path) : undefined
  if (source === undefined) return { chat: false }
  const tools = toolFormatOf(source)
  return { chat: true, ...(tools && { tools }) }
}

function toolFormatOf(source: string): ToolFormat | undefined {
  if (!/\btools\b/.test(source)) return undefined
  if (source.includes('[TOOL_CALLS]')) return 'mistral'
  if (source.includes('<tool_call>')) return 'hermes'
  return source.includes('"parameters"') ? 'llama' : undefined
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
    encode: (messages, tools) =>
      encodeWith(
        template,
        tokenizer,
        knowsDevelopers ? messages : messages.map(withoutDeveloper),
        tools,
      ),
  }
}

/** What OpenAI calls a developer's message, most templates call the system's. */
const withoutDeveloper = (message: ChatMessage): ChatMessage => ({
  ...message,
  role: message.role === 'developer' ? 'system' : message.role,
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
  tools: readonly Tool[] | undefined,
): number[] {
  refuseSpecial(tokenizer, messages, tools)
  const nonce = randomUUID().replaceAll('-', '')
  const placeholders = messages.map((message, index) => ({
    ...message,
    // Templates tell a turn that only calls tools by its empty content.
    content: message.content === '' && message.tool_calls ? '' : `${nonce}.${index}.`,
  }))
  let rendered: string
  try {
    // The engine puts the begin-of-text token before every context itself.
    const tokens = { bos_token: '', eos_token: nameOf(tokenizer, tokenizer.bos) }
    rendered = template.render({
      messages: placeholders,
      add_generation_prompt: true,
      ...(tools && { tools }),
      ...tokens,
    })
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

/**
 * Tools and calls become part of the template's own text, in which special tokens are what they spell. Throws
 * `invalid_request` for one that spells any.
 */
function refuseSpecial(
  tokenizer: Tokenizer,
  messages: readonly ChatMessage[],
  tools: readonly Tool[] = [],
): void {
  const refuse = (value: unknown, param: string) => {
    const text = JSON.stringify(value)
    const found = [...tokenizer.special.keys()].find((token) => text.includes(token))
    if (found === undefined) return
    const reason = `contains ${found}, which is a token of its own to the model`
    throw new BasinError('invalid_request', { param, reason })
  }
  tools.forEach((tool, i) => {
    refuse(tool, `tools.${i}`)
  })
  messages.forEach(({ name, tool_call_id, tool_calls }, i) => {
    refuse({ name, tool_call_id, tool_calls }, `messages.${i}`)
  })
}

const nameOf = ({ special }: Tokenizer, id: number | undefined): string =>
  [...special].find(([, each]) => each === id)?.[0] ?? ''
