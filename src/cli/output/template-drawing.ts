/** A template on a terminal, drawn as its layout says: boards, mazes, sums, graphs; else as text. */
import picocolors from 'picocolors'
import { edgesOf, slotsOf } from '../../tokenizer/template-positions.js'
import type { TemplateLayout } from '../../model/config.js'

/** What stands at a position. */
export interface Place {
  text: string
  given: boolean
  /** Probability of `text`; 1 where it is given. */
  certainty: number
}

/** Above the first a reading is as good as certain; below the second it is hardly one. */
const SURE = 0.9
const DOUBTFUL = 0.5
/** Stands where a column of a sum has no digit, before and after brackets, and where a graph has no edge. */
const PAD = '.'

/** Columns for a sentence, and for a clause without its first word, where they are no longer. */
const SENTENCE_WIDTH = 25
const CLAUSE_WIDTH = 15
/** Most columns of a line of text. */
const TEXT_WIDTH = 64

/** Certainty as colour. */
export function coloured(text: string, certainty: number): string {
  if (certainty >= SURE) return picocolors.cyan(text)
  return certainty >= DOUBTFUL ? picocolors.yellow(text) : picocolors.red(text)
}

function inked({ certainty, given, text }: Place): string {
  if (given) return picocolors.bold(text)
  return text === '' ? picocolors.dim('·') : coloured(text, certainty)
}

type Sentences = Extract<TemplateLayout, { kind: 'sentences' }>
type Sudoku = Extract<TemplateLayout, { kind: 'sudoku' }>

function sudoku(places: readonly Place[], { box_columns, box_rows, columns }: Sudoku): string[] {
  const boxes = columns / box_columns
  const edge = (left: string, cross: string, right: string): string =>
    picocolors.dim(
      left + new Array(boxes).fill('─'.repeat(2 * box_columns + 1)).join(cross) + right,
    )
  const bar = picocolors.dim('│')
  return Array.from({ length: columns }, (_, row) => {
    const cells = places.slice(row * columns, (row + 1) * columns).map(inked)
    const groups = Array.from({ length: boxes }, (_unused, box) =>
      cells.slice(box * box_columns, (box + 1) * box_columns).join(' '),
    )
    const line = `${bar} ${groups.join(` ${bar} `)} ${bar}`
    if (row === 0) return [edge('┌', '┬', '┐'), line]
    return row % box_rows === 0 ? [edge('├', '┼', '┤'), line] : [line]
  })
    .flat()
    .concat(edge('└', '┴', '┘'))
}

function maze(places: readonly Place[], columns: number): string[] {
  const square = (place: Place): string => {
    const { certainty, given, text } = place
    if (given && text === '#') return picocolors.dim('██')
    if (given) return picocolors.bold(`${text} `)
    if (text !== 'x') return '  '
    return (certainty >= SURE ? picocolors.cyan : picocolors.yellow)('••')
  }
  return Array.from({ length: columns }, (_, row) =>
    places
      .slice(row * columns, (row + 1) * columns)
      .map(square)
      .join(''),
  )
}

/** As on paper: the most significant digit first, a rule above the result. */
function sum(places: readonly Place[], columns: number): string[] {
  const digits = (from: number, length: number): string =>
    places
      .slice(from, from + length)
      .reverse()
      .map((place) => (place.text === PAD ? ' ' : inked(place)))
      .join(' ')
  const result = 2 * (columns + 1)
  return [
    `      ${digits(0, columns)}`,
    `  +   ${digits(columns + 1, columns)}`,
    picocolors.dim(`  ${'─'.repeat(2 * columns + 4)}`),
    `  = ${digits(result, columns + 1)}`,
  ]
}

const OPENING = '([{<'
const CLOSING = ')]}>'
/** Brackets that are nested deeper stand in the last row. */
const MOST_ROWS = 10

/** Each bracket in the row of its depth, so that those of a pair stand in one row with their content below. */
function brackets(places: readonly Place[]): string[] {
  let depth = 0
  const depths = places.map(({ text }) => {
    if (OPENING.includes(text) && text !== '') return depth++
    if (CLOSING.includes(text) && text !== '') depth = Math.max(0, depth - 1)
    return depth
  })
  const rows = Math.min(MOST_ROWS, Math.max(...depths) + 1)
  return Array.from({ length: rows }, (_, row) =>
    places
      .map((place, i) => {
        if (place.text === PAD) return row === 0 ? picocolors.dim('·') : ' '
        return Math.min(depths[i] as number, rows - 1) === row ? inked(place) : ' '
      })
      .join(''),
  )
}

/**
 * A sentence and its clauses a line; slots without one are left out. Where that is wider than `width` and the clauses
 * begin with the same words after every sentence, these words stand once, above columns of what follows them.
 */
function sentences(places: readonly Place[], layout: Sentences, width: number): string[] {
  const slots = slotsOf(places, layout)
    .filter(({ sentence }) => sentence.some(({ text }) => /\p{L}/u.test(text)))
    .map(({ clauses, sentence }) => ({
      sentence: withoutLeadingSpace(sentence),
      clauses: clauses.map(withoutLeadingSpace),
    }))
  const firstWords = slots.map(({ clauses }) => clauses.map(([first]) => first?.text ?? ''))
  const [names = []] = firstWords
  const widest = Math.max(
    ...slots.map(({ clauses }) => total(clauses.map((clause) => lengthOf(clause) + 2)) - 2),
  )
  if (SENTENCE_WIDTH + 1 + widest <= width || new Set(firstWords.map(String)).size > 1)
    return slots.map(
      ({ clauses, sentence }) =>
        `${filled(sentence, SENTENCE_WIDTH)} ${clauses.map(drawn).join(', ')}`,
    )
  const heads = names.map((name) => name.padEnd(CLAUSE_WIDTH)).join(' ')
  return [
    picocolors.dim(`${' '.repeat(SENTENCE_WIDTH)} ${heads}`),
    ...slots.map(({ clauses, sentence }) =>
      [
        filled(sentence, SENTENCE_WIDTH),
        ...clauses.map(([, ...facts]) => filled(withoutLeadingSpace(facts), CLAUSE_WIDTH)),
      ].join(' '),
    ),
  ]
}

const drawn = (words: readonly Place[]): string => words.map(inked).join('')

/** Characters that `drawn` takes; a word that is not read yet takes one. */
const lengthOf = (words: readonly Place[]): number =>
  total(words.map(({ text }) => Math.max(1, text.length)))

const filled = (words: readonly Place[], width: number): string =>
  drawn(words) + ' '.repeat(Math.max(0, width - lengthOf(words)))

const total = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0)

/** A vertex a line: its name, its colour where it is mentioned first, and its neighbours with theirs. */
function graph(places: readonly Place[]): string[] {
  const lines = new Map<string, string[]>()
  const edges = edgesOf(places).filter(([{ name }]) => name.text !== PAD)
  for (const [one, other] of edges.flatMap(([a, b]) => [[a, b] as const, [b, a] as const])) {
    const line = lines.get(one.name.text) ?? [
      `${picocolors.bold(one.name.text)} ${inked(one.colour)}  `,
    ]
    lines.set(one.name.text, [...line, picocolors.dim(other.name.text) + inked(other.colour)])
  }
  return [...lines].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, line]) => line.join(' '))
}

/** Trimmed before it is coloured: the space of a coloured word stands behind its colour's code. */
const withoutLeadingSpace = ([first, ...rest]: readonly Place[]): readonly Place[] =>
  first === undefined ? [] : [{ ...first, text: first.text.trimStart() }, ...rest]

/** `width`: most columns of a line. */
export function drawTemplate(
  places: readonly Place[],
  layout: TemplateLayout | undefined,
  width: number,
): string[] {
  switch (layout?.kind) {
    case 'sudoku':
      return sudoku(places, layout)
    case 'maze':
      return maze(places, layout.columns)
    case 'sum':
      return sum(places, layout.columns)
    case 'sentences':
      return sentences(places, layout, width)
    case 'graph':
      return graph(places)
    case 'brackets':
      // Where a line does not hold them all, they are text.
      if (places.length <= Math.min(TEXT_WIDTH, width)) return brackets(places)
      return lines(places, width)
    case undefined:
      return lines(places, width)
  }
}

function lines(places: readonly Place[], most: number): string[] {
  const width = Math.min(TEXT_WIDTH, most)
  return Array.from({ length: Math.ceil(places.length / width) }, (_, row) =>
    drawn(places.slice(row * width, (row + 1) * width)),
  )
}
