/**
 * Calls of tools in the text of a reply. Text around them is content; what only looks like a call is content
 * too. A reader takes text as it comes: a call is given when its last character is there. In which pieces the
 * text comes changes nothing of what is found.
 */
import { createHash, randomUUID } from 'node:crypto'
import { BasinError } from '../../errors.js'
import type { ToolFormat } from '../../tokenizer/chat-template.js'

export interface ToolCall {
  id: string
  type: 'function'
  /** `arguments`: JSON. */
  function: { name: string; arguments: string }
}

/** Content, or a call. */
export type ReplyPart = string | ToolCall

export interface ReadText {
  content: string
  calls: ToolCall[]
}

/** Content and calls apart. */
export const apart = (parts: readonly ReplyPart[]): ReadText => ({
  content: parts.filter((part) => typeof part === 'string').join(''),
  calls: parts.filter((part) => typeof part !== 'string'),
})

interface Marks {
  /** Before a call, or before all of them. Text that may become one is held back. */
  before: readonly string[]
  /** A reply that begins so is calls without a mark. */
  bare: RegExp | undefined
  /** What may stand between and after calls. */
  between: RegExp
  arguments: 'arguments' | 'parameters'
}

const marks: Readonly<Record<ToolFormat, Marks>> = {
  hermes: {
    before: ['<tool_call>'],
    bare: undefined,
    between: /^(\s|<\/tool_call>)*/,
    arguments: 'arguments',
  },
  llama: {
    before: ['<|python_tag|>'],
    bare: /^\s*\{/,
    between: /^(\s|;)*/,
    arguments: 'parameters',
  },
  mistral: {
    before: ['[TOOL_CALLS]'],
    bare: /^\s*\[\s*\{/,
    between: /^[\s,[\]]*/,
    arguments: 'arguments',
  },
}

/** After a call of `hermes`; its beginning may come before the rest of it. */
const CLOSING = '</tool_call>'

/** Templates of Mistral's models refuse ids of any other length. */
const MISTRAL_ID_LENGTH = 9

/** Of the call with this number in the reply that `reply` names. */
function callId(format: ToolFormat, reply: string, number: number): string {
  const digest = createHash('sha256').update(`${reply}/${number}`).digest('hex')
  return format === 'mistral' ? digest.slice(0, MISTRAL_ID_LENGTH) : `call_${digest.slice(0, 24)}`
}

export class ToolCallReader {
  /** Text that may belong to a call. */
  private held = ''
  private inCalls = false
  private anyText = false
  private calls = 0
  private readonly marks: Marks

  constructor(
    private readonly format: ToolFormat,
    /** A name of the reply, from which those of its calls follow. */
    private readonly reply: string = randomUUID(),
  ) {
    this.marks = marks[format]
  }

  /** The content and the calls that are certain with this text, in their order. */
  read(text: string): ReplyPart[] {
    this.held += text
    const found: ReplyPart[] = []
    while (this.inCalls ? this.readCall(found) : this.readContent(found));
    return found
  }

  /** What is left when no text follows: the beginning of a call that did not end is content. */
  end(): ReplyPart[] {
    const content = this.inCalls ? this.held.replace(this.marks.between, '') : this.held
    this.held = ''
    return content === '' ? [] : [content]
  }

  /** True where a call begins. */
  private readContent(found: ReplyPart[]): boolean {
    const { bare, before } = this.marks
    if (bare && !this.anyText) {
      // A list may still become one of calls.
      if (/^\s*\[?\s*$/.test(this.held)) return false
      if (bare.test(this.held)) return (this.inCalls = true)
    }
    const mark = before
      .map((each) => ({ each, at: this.held.indexOf(each) }))
      .find(({ at }) => at >= 0)
    const end = mark ? mark.at : this.held.length - beginning(this.held, before)
    const content = this.held.slice(0, end)
    this.anyText ||= content.trim() !== ''
    if (content !== '') found.push(content)
    this.held = this.held.slice(mark ? mark.at + mark.each.length : end)
    this.inCalls = mark !== undefined
    return this.inCalls
  }

  /** True where there may be more. */
  private readCall(found: ReplyPart[]): boolean {
    const { arguments: field, between } = this.marks
    const rest = this.held.replace(between, '')
    if (rest === '') return false
    if (!rest.startsWith('{')) {
      if (CLOSING.startsWith(rest)) return false
      this.inCalls = false
      this.anyText = true
      this.held = rest
      return true
    }
    const length = objectLength(rest)
    if (length === undefined) return false
    const text = rest.slice(0, length)
    const called = calledIn(text, field)
    if (called) {
      const id = callId(this.format, this.reply, this.calls++)
      found.push({ id, type: 'function', function: called })
    } else {
      this.inCalls = false
      this.anyText = true
      found.push(text)
    }
    this.held = rest.slice(length)
    return true
  }
}

/** How many characters at the end of the text may be the beginning of a mark. */
function beginning(text: string, before: readonly string[]): number {
  const longest = Math.max(...before.map(({ length }) => length)) - 1
  for (let count = Math.min(longest, text.length); count > 0; count--)
    if (before.some((mark) => mark.startsWith(text.slice(-count)))) return count
  return 0
}

/** Of the JSON object that the text begins with; undefined where it does not end. */
function objectLength(text: string): number | undefined {
  let depth = 0
  let inString = false
  for (let i = 0; i < text.length; i++) {
    const character = text[i]
    if (inString) {
      if (character === '\\') i++
      else if (character === '"') inString = false
    } else if (character === '"') inString = true
    else if (character === '{') depth++
    else if (character === '}' && --depth === 0) return i + 1
  }
  return undefined
}

function calledIn(text: string, field: Marks['arguments']): ToolCall['function'] | undefined {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return undefined
  }
  const { name, [field]: given = {} } = json as Record<string, unknown>
  if (typeof name !== 'string' || typeof given !== 'object' || given === null) return undefined
  return { name, arguments: JSON.stringify(given) }
}

/** The arguments of a call that a client sends back. `param`: the field that holds them. */
export function argumentsOf(text: string, param: string): Readonly<Record<string, unknown>> {
  let json: unknown
  try {
    json = JSON.parse(text === '' ? '{}' : text)
  } catch (cause) {
    throw new BasinError('invalid_request', { param, reason: 'is not JSON' }, { cause })
  }
  if (typeof json === 'object' && json !== null && !Array.isArray(json))
    return json as Readonly<Record<string, unknown>>
  throw new BasinError('invalid_request', { param, reason: 'must be a JSON object' })
}
