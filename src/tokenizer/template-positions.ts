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

/** Of a layout of sentences: tokens before the first slot, of a sentence, and of each clause after it. */
export interface SentenceLayout {
  head: number
  sentence: number
  clauses: number
  clause: number
}

/** Positions of an edge of a graph: name and colour of one end, then of the other. */
export const EDGE_LENGTH = 4

/** What stands at the positions of a graph, by its edges, as the two ends of each; `at`: the position of the colour. */
export function edgesOf<T>(positions: readonly T[]) {
  const endAt = (at: number) => ({ name: positions[at - 1] as T, colour: positions[at] as T, at })
  return Array.from({ length: Math.floor(positions.length / EDGE_LENGTH) }, (_, edge) => {
    const first = edge * EDGE_LENGTH
    return [endAt(first + 1), endAt(first + 3)] as const
  })
}

export const slotLength = ({ clause, clauses, sentence }: SentenceLayout): number =>
  sentence + clauses * clause

/** What stands at the positions of a template, by its sentences; `first`: the position of its first token. */
export function slotsOf<T>(positions: readonly T[], layout: SentenceLayout) {
  const { clause, clauses, head, sentence } = layout
  const length = slotLength(layout)
  return Array.from({ length: Math.ceil((positions.length - head) / length) }, (_, slot) => {
    const first = head + slot * length
    return {
      first,
      sentence: positions.slice(first, first + sentence),
      clauses: Array.from({ length: clauses }, (_unused, i) => {
        const at = first + sentence + i * clause
        return positions.slice(at, at + clause)
      }),
    }
  })
}
