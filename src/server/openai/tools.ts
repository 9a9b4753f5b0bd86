/**
 * The tools of a request: which the model is told of, and the rules that its text follows where it must call
 * one.
 */
import { BasinError } from '../../errors.js'
import type { EngineClient } from '../../generation/client/engine-client.js'
import type { Tool, ToolFormat } from '../../tokenizer/chat-template.js'
import { type Grammar, literal } from '../../tokenizer/grammar/grammar.js'
import { rulesOfSchema } from '../../tokenizer/grammar/json-rules.js'

export interface AskedFunction {
  name: string
  description?: string | null | undefined
  /** A JSON schema. */
  parameters?: Readonly<Record<string, unknown>> | null | undefined
}

/** What a request says of tools, in the words of either API. */
export interface AskedTools {
  functions: readonly AskedFunction[] | undefined
  /** One that has to be called comes with the field that names it. */
  choice: 'auto' | 'none' | 'required' | { name: string; param: string }
}

export interface OfferedTools {
  format: ToolFormat
  tools: readonly Tool[]
  /** Where the text must be a call. */
  grammar?: Grammar
}

/**
 * Undefined where the model may call none. Throws `not_supported` for a model that calls no tools, and
 * `invalid_request` for a choice that is no tool.
 */
export function offeredTools(
  { choice, functions }: AskedTools,
  { model, tools: format }: Pick<EngineClient, 'model' | 'tools'>,
): OfferedTools | undefined {
  if (choice === 'none') return undefined
  if (functions && !format) {
    const reason = `${model.name} calls no tools: it has no chat template that knows them`
    throw new BasinError('not_supported', { param: 'tools', reason })
  }
  if (!functions?.length || !format) {
    if (choice === 'auto') return undefined
    throw new BasinError('invalid_request', { param: 'tool_choice', reason: 'needs tools' })
  }
  const tools = functions.map(({ description, name, parameters }): Tool => ({
    type: 'function',
    function: {
      name,
      ...(typeof description === 'string' && { description }),
      parameters: parameters ?? { type: 'object', properties: {} },
    },
  }))
  if (choice === 'auto') return { format, tools }
  if (choice === 'required') return { format, tools, grammar: callGrammar(tools, format) }
  const wanted = tools.filter((tool) => tool.function.name === choice.name)
  if (wanted.length > 0) return { format, tools, grammar: callGrammar(wanted, format) }
  const reason = `there is no tool ${choice.name} among tools`
  throw new BasinError('invalid_request', { param: choice.param, reason })
}

const around: Readonly<Record<ToolFormat, readonly [string, string]>> = {
  hermes: ['<tool_call>\n', '\n</tool_call>'],
  llama: ['', ''],
  mistral: ['[TOOL_CALLS][', ']'],
}

/** One call of one of the tools, with arguments of its schema. */
function callGrammar(tools: readonly Tool[], format: ToolFormat): Grammar {
  const field = format === 'llama' ? 'parameters' : 'arguments'
  const calls = tools.map(({ function: { name, parameters } }, i) => ({
    type: 'object',
    properties: {
      name: { const: name },
      [field]: withReferencesFrom(`#/$defs/${i}/properties/${field}`, parameters),
    },
    required: ['name', field],
    additionalProperties: false,
  }))
  const schema = {
    anyOf: calls.map((_, i) => ({ $ref: `#/$defs/${i}` })),
    $defs: Object.fromEntries(calls.entries()),
  }
  const [before, after] = around[format].map((text) => (text === '' ? '' : literal(text)))
  const rules = rulesOfSchema(schema, 'tools')
  const call = rules.replace(/^root ::=/m, 'toolcall ::=')
  return { type: 'ebnf', rules: `root ::= ${before} toolcall ${after}\n${call}`, param: 'tools' }
}

/** References into a schema, where the schema stands at another place. */
function withReferencesFrom(place: string, schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map((each) => withReferencesFrom(place, each))
  if (typeof schema !== 'object' || schema === null) return schema
  return Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [
      key,
      key === '$ref' && typeof value === 'string'
        ? value.replace(/^#/, place)
        : withReferencesFrom(place, value),
    ]),
  )
}
