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

/** A blank of free text: `_` for one token, `_{12}` for twelve. */
const freeBlank = '_(?:\\{([1-9]\\d{0,3})\\})?'

/**
 * A template of free text. Where the tokens of words have the space before them, so has a blank: what fills it
 * begins with a space if it is a word, and ends a word if it is not.
 */
function encodeFreeTemplate(tokenizer: Tokenizer, template: string, param: string): number[] {
  const mark = new RegExp(joinsSpaces(tokenizer) ? ` ?${freeBlank}` : freeBlank, 'u')
  // Known text and the counts of the blanks between take turns.
  return template.split(mark).flatMap((part: string | undefined, index) => {
    if (index % 2 === 1) return new Array<number>(Number(part ?? 1)).fill(-1)
    return part ? tokenizer.encode(part, { param }) : []
  })
}

/** Whether a word and the space before it are one token. */
const joinsSpaces = (tokenizer: Tokenizer): boolean =>
  charactersOf(tokenizer).has(' ') && tokenizer.encode(' a').length === 1

/** A template as a model reads it: with the model's mark of a blank, or as free text where it has none. */
export const encodeTemplateOf = (
  { template: form }: { template?: { blank: string } },
  tokenizer: Tokenizer,
  template: string,
  param = 'template',
): number[] =>
  form
    ? encodeTemplate(tokenizer, template, form.blank, param)
    : encodeFreeTemplate(tokenizer, template, param)

/** Marks of a blank in puzzles as people write them. */
const usualBlanks = ['_', '.', '0']

/**
 * A template as a model of whole answers reads it: without line breaks and other white space, and with the
 * model's own mark in place of the usual ones. What the model has tokens for stays as it is: `.` and `0` are
 * characters of the sums of `addition`, and blanks of a sudoku.
 */
export function canonicalTemplate(tokenizer: Tokenizer, text: string, blank: string): string {
  const characters = charactersOf(tokenizer)
  return text
    .split(blank)
    .map((known) =>
      Array.from(known, (character) => {
        if (characters.has(character)) return character
        if (/\s/u.test(character)) return ''
        return usualBlanks.includes(character) ? blank : character
      }).join(''),
    )
    .join(blank)
}

const cache = new WeakMap<Tokenizer, ReadonlySet<string>>()

/** Those for which there is a token. */
function charactersOf(tokenizer: Tokenizer): ReadonlySet<string> {
  const known = cache.get(tokenizer)
  if (known) return known
  const texts = Array.from({ length: tokenizer.vocabSize }, (_, id) => tokenizer.tokenText(id))
  const characters = new Set(texts.filter((text) => Array.from(text).length === 1))
  cache.set(tokenizer, characters)
  return characters
}
