/** The positions of a template where no tokenizer is at hand, as on the page. Imports nothing. */

/**
 * Cuts text into words with the space before them, marks of blanks and of empty places, and single other
 * characters, one a token. The tokenizers of templates that are drawn as sentences cut by it.
 */
export const WORD_PATTERN = ' ?\\p{L}+| ?[-_]|[^\\p{L}_-]'

const wordPieces = new RegExp(WORD_PATTERN, 'gu')

/** The text at each position of a template, where no tokenizer is at hand. */
export const positionTexts = (template: string, layout: { kind: string } | null | undefined) =>
  layout?.kind === 'sentences' ? (template.match(wordPieces) ?? []) : Array.from(template)
