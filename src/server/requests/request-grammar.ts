/**
 * What the text of a completion must match, from the fields by which OpenAI's API and vLLM's ask for it. Knows
 * no transport.
 */
import { BasinError } from '../../errors.js'
import type { ModelConfig } from '../../model/config.js'
import type { Grammar } from '../../tokenizer/grammar/grammar.js'
import { rulesOfObject, rulesOfSchema } from '../../tokenizer/grammar/json-rules.js'
import type { ResponseFormat, StructureFields } from '../schemas/structure-schema.js'
import { nestsBeyond } from '../json-nesting.js'

/** Characters of a schema, of rules, and of all choices together. */
const LONGEST_GRAMMAR = 65_536
/** Of the rules that a schema makes. */
const LONGEST_RULES = 262_144
const DEEPEST_SCHEMA = 32

/** A schema may come as its text, as vLLM allows. */
function schemaGrammar(schema: unknown, param: string): Grammar {
  const text = typeof schema === 'string' ? schema : JSON.stringify(schema)
  checkLength(text, LONGEST_GRAMMAR, param)
  if (nestsBeyond(text, DEEPEST_SCHEMA)) {
    const bound = `nested at most ${DEEPEST_SCHEMA} deep`
    throw new BasinError('out_of_range', { param, bound, value: 'more' })
  }
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (cause) {
    throw new BasinError('invalid_request', { param, reason: 'is not JSON' }, { cause })
  }
  const rules = rulesOfSchema(parsed, param)
  checkLength(rules, LONGEST_RULES, param)
  return { type: 'ebnf', rules, param }
}

function checkLength({ length }: string, most: number, param: string): void {
  if (length <= most) return
  const bound = `at most ${most} characters long`
  throw new BasinError('out_of_range', { param, bound, value: length })
}

const anyObject = (param: string): Grammar => ({ type: 'ebnf', rules: rulesOfObject(), param })

/** `place`: where the format has its schema. Undefined where the text is free. */
function formatGrammar(
  type: ResponseFormat['type'],
  schema: unknown,
  param: string,
  place: string,
): Grammar | undefined {
  if (type === 'text') return undefined
  if (type === 'json_object') return anyObject(`${param}.type`)
  if (schema !== undefined) return schemaGrammar(schema, place)
  throw new BasinError('invalid_request', { param: place, reason: 'is required' })
}

/** OpenAI's two APIs put the schema in different places. */
function* formatGrammars({ response_format: format, text }: StructureFields) {
  if (format)
    yield formatGrammar(
      format.type,
      format.json_schema?.schema,
      'response_format',
      'response_format.json_schema.schema',
    )
  const { format: ofText } = text ?? {}
  if (ofText) yield formatGrammar(ofText.type, ofText.schema, 'text.format', 'text.format.schema')
}

/** One for each field that asks for a structure. */
function* grammarsIn(fields: StructureFields): Generator<Grammar> {
  const { guided_choice, guided_grammar, guided_json, guided_regex } = fields
  const { structured_outputs: given } = fields
  for (const grammar of formatGrammars(fields)) if (grammar) yield grammar
  const wanted = [
    [
      'guided_',
      { json: guided_json, regex: guided_regex, choice: guided_choice, grammar: guided_grammar },
    ],
    ['structured_outputs.', given ?? {}],
  ] as const
  for (const [prefix, { choice, grammar, json, regex }] of wanted) {
    if (json !== undefined && json !== null) yield schemaGrammar(json, `${prefix}json`)
    if (typeof regex === 'string') yield { type: 'regex', pattern: regex, param: `${prefix}regex` }
    if (choice) {
      const param = `${prefix}choice`
      checkLength(choice.join(''), LONGEST_GRAMMAR, param)
      yield { type: 'choice', choices: choice, param }
    }
    if (typeof grammar === 'string')
      yield { type: 'ebnf', rules: grammar, param: `${prefix}grammar` }
  }
  if (given?.json_object) yield anyObject('structured_outputs.json_object')
  if (fields.implied) yield fields.implied
}

/** Undefined where the text is free. Throws what is wrong with what is asked for. */
export function grammarOf(
  fields: StructureFields & { template?: string | null },
  model: ModelConfig,
): Grammar | undefined {
  const [grammar, second] = grammarsIn(fields)
  if (!grammar) return undefined
  const { param } = grammar
  if (second) {
    const reason = `${second.param} asks for a structure too; a text can have one`
    throw new BasinError('invalid_request', { param, reason })
  }
  const { length: positions } = model.template ?? {}
  if (positions === undefined && typeof fields.template === 'string') {
    const reason = 'what is known of an answer that fills a template belongs into the template'
    throw new BasinError('not_supported', { param, reason })
  }
  return grammar
}
