/**
 * From a job's text to what will be observed and inferred. Everything a request can get wrong about
 * lengths is found here, before it costs anything.
 */
import { BasinError } from '../errors.js'
import type { ModelConfig } from '../model/config.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import type { Job } from './protocol.js'
import { parseTemplate } from './template.js'

export interface Prepared {
  /** Begin-of-text, if the tokenizer has one, and the prompt. */
  context: number[]
  /** Tokens of the prompt alone. */
  promptTokens: number
  template: readonly number[] | undefined
  /** Most tokens of the completion; a template is always filled to its end. */
  maxTokens: number
  /** The most positions that context and answers take together, whole blocks counted. */
  positions: number
}

function promptTokens(job: Job, tokenizer: Tokenizer): readonly number[] {
  if (typeof job.prompt === 'string') return tokenizer.encode(job.prompt, { param: 'prompt' })
  const stranger = job.prompt.find(
    (token) => !Number.isInteger(token) || token < 0 || token >= tokenizer.vocabSize,
  )
  if (stranger !== undefined) {
    throw new BasinError('out_of_range', {
      param: 'prompt',
      bound: `tokens from 0 to ${tokenizer.vocabSize - 1}`,
      value: stranger,
    })
  }
  return job.prompt
}

/** Throws `empty_prompt`, `out_of_range`, `template_mismatch` or `context_length_exceeded`. */
export function prepare(job: Job, model: ModelConfig, tokenizer: Tokenizer): Prepared {
  const prompt = promptTokens(job, tokenizer)
  if (job.template === undefined && model.template?.length !== undefined) {
    throw new BasinError('template_mismatch', {
      param: 'template',
      reason: `${model.name} needs one of ${model.template.length} positions`,
      expected: model.template.length,
      got: 0,
    })
  }
  const template =
    job.template === undefined ? undefined : parseTemplate(job.template, model, tokenizer)
  if (prompt.length === 0 && !template) throw new BasinError('empty_prompt', { param: 'prompt' })

  if (!template && !(Number.isInteger(job.maxTokens) && job.maxTokens > 0)) {
    throw new BasinError('out_of_range', {
      param: 'max_tokens',
      bound: 'an integer from 1',
      value: job.maxTokens,
    })
  }

  const context = tokenizer.bos === undefined ? [...prompt] : [tokenizer.bos, ...prompt]
  const maxTokens = template?.length ?? job.maxTokens
  const block = model.answer.block
  const answer = Math.ceil(maxTokens / block) * block
  if (context.length + answer > model.context_length) {
    throw new BasinError('context_length_exceeded', {
      param: 'prompt',
      model: model.name,
      limit: model.context_length,
      prompt: context.length,
      answer,
    })
  }
  return {
    context,
    promptTokens: prompt.length,
    template,
    maxTokens,
    positions: context.length + answer,
  }
}
