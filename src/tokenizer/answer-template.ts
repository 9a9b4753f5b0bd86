/** Templates of answers: known text with blanks to be inferred. (Chat templates: chat-template.ts.) */
import type { Tokenizer } from './tokenizer.js'

/** One entry per position of the answer: the token that stands there, or -1 for a blank. */
export function encodeTemplate(
  tokenizer: Tokenizer,
  template: string,
  blank: string,
  param = 'template',
): number[] {
  return template
    .split(blank)
    .flatMap((known, index) => [
      ...(index === 0 ? [] : [-1]),
      ...(known === '' ? [] : tokenizer.encode(known, { param })),
    ])
}
