/**
 * From a job's text to what will be observed and inferred. Everything a request can get wrong about
 * lengths is found here, before it costs anything.
 */
import { BasinError } from '../../errors.js'
import type { ModelConfig } from '../../model/config.js'
import type { Tokenizer } from '../../tokenizer/tokenizer.js'
import type { EngineRequest } from '../protocol.js'
import { parseTemplate } from './template.js'

export interface Prepared {
  /** Begin-of-text, if the tokenizer has one, and the prompt. */
  context: number[]
  /** Tokens of the prompt and of what is given after it. */
  promptTokens: number
  template: readonly number[] | undefined
  /** Tokens to be judged before the completion begins. */
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
  const stranger = text.find(
    (token) => !Number.isInteger(token) || token < 0 || token >= tokenizer.vocabSize,
  )
  if (stranger !== undefined) {
    throw new BasinError('out_of_range', {
      param,
      bound: `tokens from 0 to ${tokenizer.vocabSize - 1}`,
      value: stranger,
    })
  }
  return text
}

/** Where there is nothing but blanks and given tokens, the model's own length has to be met. */
function checkLength(model: ModelConfig, param: string, length: number | undefined): void {
  const expected = model.template?.length
  if (expected === undefined || length === expected) return
  throw new BasinError('template_mismatch', {
    param,
    reason: `${model.name} needs exactly ${expected} positions, got ${length ?? 0}`,
    expected,
    got: length ?? 0,
  })
}

/** Throws `empty_prompt`, `out_of_range`, `template_mismatch` or `context_length_exceeded`. */
export function prepare(job: EngineRequest, model: ModelConfig, tokenizer: Tokenizer): Prepared {
  const param = job.given?.param ?? 'prompt'
  const prompt = tokensOf(job.prompt, tokenizer, 'prompt')
  const given = tokensOf(job.given?.answer ?? [], tokenizer, param)
  if (job.given) {
    if (given.length === 0) throw new BasinError('empty_prompt', { param })
    checkLength(model, param, given.length)
  } else if (job.template === undefined) checkLength(model, 'template', undefined)
  const template =
    job.template === undefined ? undefined : parseTemplate(job.template, model, tokenizer)
  if (prompt.length + given.length === 0 && !template) {
    throw new BasinError('empty_prompt', { param: 'prompt' })
  }
  const least = job.given || job.represent === 'observed' ? 0 : 1
  if (!template && !(Number.isInteger(job.maxTokens) && job.maxTokens >= least)) {
    throw new BasinError('out_of_range', {
      param: 'max_tokens',
      bound: `an integer from ${least}`,
      value: job.maxTokens,
    })
  }

  const context = tokenizer.bos === undefined ? [...prompt] : [tokenizer.bos, ...prompt]
  const maxTokens = template?.length ?? job.maxTokens
  const block = model.answer.block
  const blocks = (tokens: number) => Math.ceil(tokens / block) * block
  const answer = Math.max(blocks(given.length), given.length + blocks(maxTokens))
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
