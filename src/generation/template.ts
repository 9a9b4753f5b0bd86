/** What a model asks of the template of a request. Knows text and tokens, and nothing of engines. */
import { BasinError } from '../errors.js'
import type { ModelConfig } from '../model/config.js'
import { encodeTemplate } from '../tokenizer/template.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'

/** Stands in a template, and in `clamped`, for a position that is to be inferred. */
export const BLANK = -1

/** What marks a blank when the model does not say. */
export const DEFAULT_BLANK = '_'

/** One entry per position: a known token, or BLANK. Throws `template_mismatch`. */
export function parseTemplate(text: string, model: ModelConfig, tokenizer: Tokenizer): number[] {
  const blank = model.template?.blank ?? DEFAULT_BLANK
  const positions = encodeTemplate(tokenizer, text, blank)
  if (!positions.includes(BLANK)) {
    throw new BasinError('template_mismatch', {
      param: 'template',
      reason: `it has no blank (${blank}), so there is nothing to infer`,
    })
  }
  const length = model.template?.length
  if (length !== undefined && positions.length !== length) {
    throw new BasinError('template_mismatch', {
      param: 'template',
      reason: `${model.name} needs exactly ${length} positions, got ${positions.length}`,
      expected: length,
      got: positions.length,
    })
  }
  return positions
}
