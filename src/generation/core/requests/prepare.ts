/**
 * From the text of a request to the tokens that are observed and the positions that are inferred. What a
 * request can get wrong about texts, templates and lengths is found here, before it costs anything. Knows
 * no engine and no scheduler.
 */
import { BasinError } from '../../../errors.js'
import type { ModelConfig } from '../../../model/config.js'
import { canonicalTemplate, encodeTemplateOf } from '../../../tokenizer/answer-template.js'
import type { Tokenizer } from '../../../tokenizer/tokenizer.js'
import type { EngineRequest } from '../../protocol.js'
import { BLANK } from '../answers/answer-shape.js'

/** What marks a blank in the text of a template where the model does not say. */
export const BLANK_MARK = '_'

export interface Prepared {
  /** Begin-of-text, if the tokenizer has one, and the prompt. */
  context: number[]
  /** Tokens of the prompt and of what is given after it. */
  promptTokens: number
  template: readonly number[] | undefined
  /** Tokens that stand before the completion and are scored. */
  given: readonly number[]
  /** Most tokens of the completion; a template is always filled to its end. */
  maxTokens: number
  /** The most positions that context and answers take together, whole blocks counted. */
  positions: number
}

function tokensOf(
  text: string | readonly number[],
  tokenizer: Tokenizer,
  param: string,
): readonly number[] {
  if (typeof text === 'string') return tokenizer.encode(text, { param })
  const unknown = text.find(
    (token) => !Number.isInteger(token) || token < 0 || token >= tokenizer.vocabSize,
  )
  if (unknown !== undefined) {
    throw new BasinError('out_of_range', {
      param,
      bound: `tokens from 0 to ${tokenizer.vocabSize - 1}`,
      value: unknown,
    })
  }
  return text
}

/**
 * One entry per position: a known token, or BLANK. Templates of one length may be laid out in lines. `param`:
 * what errors call it. Throws `template_mismatch`.
 */
export function parseTemplate(
  text: string,
  model: ModelConfig,
  tokenizer: Tokenizer,
  param = 'template',
): number[] {
  const { blank = BLANK_MARK, length } = model.template ?? {}
  const written = length === undefined ? text : canonicalTemplate(tokenizer, text, blank)
  const positions = encodeTemplateOf(model, tokenizer, written, param)
  if (!positions.includes(BLANK)) {
    throw new BasinError('template_mismatch', {
      param,
      reason: `it has no blank (${blank}), so there is nothing to infer`,
    })
  }
  checkLength(model, param, positions.length)
  return positions
}

/** Where the model has been trained on answers of one length, that length has to be met. */
function checkLength(model: ModelConfig, param: string, length: number): void {
  const expected = model.template?.length
  if (expected === undefined || length === expected) return
  throw new BasinError('template_mismatch', {
    param,
    reason: `${model.name} needs exactly ${expected} positions, got ${length}`,
    expected,
    got: length,
  })
}

/**
 * How many known tokens of a template, from a position on, become context before the next answer; the rest of
 * the template where no blank is left. Blocks of free text begin anywhere: at the next blank, or as far before it
 * as the text after it leaves room for, so that a blank has as much known text on its right as there is.
 */
export function knownBefore(
  { answer: { block }, template: form }: ModelConfig,
  template: readonly number[],
  from: number,
): number {
  const rest = template.length - from
  const blank = template.indexOf(BLANK, from)
  if (blank < 0) return rest
  const known = blank - from
  return form ? Math.floor(known / block) * block : Math.min(known, Math.max(0, rest - block))
}

/** The positions that the answers of a template take, the last block to its end. */
function templatePositions(model: ModelConfig, template: readonly number[]): number {
  let end = 0
  for (let at = 0; at < template.length; at += model.answer.block) {
    at += knownBefore(model, template, at)
    end = at < template.length ? at + model.answer.block : Math.max(end, template.length)
  }
  return end
}

/** A model that has been trained on answers of one length cannot go on from a prompt. */
function requireTemplate({ name, template }: ModelConfig): void {
  if (template?.length === undefined) return
  throw new BasinError('template_mismatch', {
    param: 'template',
    reason: `${name} fills templates of ${template.length} positions: send the puzzle as template, not as prompt`,
  })
}

/** Throws `empty_prompt`, `out_of_range`, `template_mismatch` or `context_length_exceeded`. */
export function prepare(
  request: EngineRequest,
  model: ModelConfig,
  tokenizer: Tokenizer,
): Prepared {
  const param = request.given?.param ?? 'prompt'
  if (!request.given && request.template === undefined) requireTemplate(model)
  const prompt = tokensOf(request.prompt, tokenizer, 'prompt')
  const given = tokensOf(request.given?.answer ?? [], tokenizer, param)
  if (request.given) {
    if (given.length === 0) throw new BasinError('empty_prompt', { param })
    checkLength(model, param, given.length)
  }
  const template =
    request.template === undefined
      ? undefined
      : parseTemplate(request.template, model, tokenizer, request.templateParam)
  if (prompt.length + given.length === 0 && !template) {
    throw new BasinError('empty_prompt', { param: 'prompt' })
  }
  const least = request.given || request.represent === 'observed' ? 0 : 1
  if (!template && !(Number.isInteger(request.maxTokens) && request.maxTokens >= least)) {
    throw new BasinError('out_of_range', {
      param: 'max_tokens',
      bound: `an integer from ${least}`,
      value: request.maxTokens,
    })
  }

  const context = tokenizer.bos === undefined ? [...prompt] : [tokenizer.bos, ...prompt]
  const maxTokens = template?.length ?? request.maxTokens
  const block = model.answer.block
  const blocks = (tokens: number) => Math.ceil(tokens / block) * block
  const asked = template ? templatePositions(model, template) : blocks(maxTokens)
  const answer = Math.max(blocks(given.length), given.length + asked)
  if (context.length + answer > model.context_length) {
    throw new BasinError('context_length_exceeded', {
      param,
      model: model.name,
      limit: model.context_length,
      prompt: context.length + given.length,
      answer: answer - given.length,
    })
  }
  return {
    context,
    promptTokens: prompt.length + given.length,
    template,
    given,
    maxTokens,
    positions: context.length + answer,
  }
}
