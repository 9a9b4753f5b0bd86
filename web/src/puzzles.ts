/** New inputs for each kind of model, and the characters that may be typed into its drawing. */
import { Draws } from '../../src/train/tasks/draws.js'
import { COLOURS, drawGraph, NAMES } from '../../src/train/tasks/colouring-graph.js'
import { drawStory } from '../../src/train/tasks/world-story.js'
import { slotLength } from '../../src/tokenizer/template-positions.js'
import { newPuzzle } from './sudoku.js'
import type { Layout, Model } from './wire.js'

type Sentences = Extract<Layout, { kind: 'sentences' }>

const PAD = '.'

/** What a model answers with, in a word. */
export const kindOf = ({ capabilities: { template } }: Model): string =>
  template ? (template.layout?.kind ?? 'template') : 'text'

const integer = (below: number): number => Math.floor(Math.random() * below)

/** Two numbers, least significant digit first, that fit their columns. */
function newSum(columns: number, digits: number, blank: string): string {
  const term = (): string =>
    Array.from({ length: digits }, (_, i) => (i === digits - 1 ? 1 + integer(9) : integer(10)))
      .join('')
      .padEnd(columns, PAD)
  return `${term()}+${term()}=${blank.repeat(columns + 1)}`
}

/** Rooms two squares apart, joined into a tree by a walk; walls stand between. */
function newMaze(columns: number, blank: string): string {
  const squares = Array.from({ length: columns ** 2 }, () => '#')
  const rooms = Math.floor((columns - 1) / 2)
  const at = (row: number, column: number): number => row * columns + column
  const stack: [number, number][] = [[1, 1]]
  squares[at(1, 1)] = blank
  while (stack.length > 0) {
    const [row, column] = stack.at(-1) as [number, number]
    const ways = [
      [-2, 0],
      [2, 0],
      [0, -2],
      [0, 2],
    ].flatMap(([down = 0, right = 0]) => {
      const [r, c] = [row + down, column + right]
      const inside = r > 0 && c > 0 && r < 2 * rooms && c < 2 * rooms
      return inside && squares[at(r, c)] === '#' ? [[r, c] as const] : []
    })
    const way = ways[integer(ways.length)]
    if (!way) {
      stack.pop()
      continue
    }
    squares[at((row + way[0]) / 2, (column + way[1]) / 2)] = blank
    squares[at(...way)] = blank
    stack.push([...way])
  }
  squares[at(1, 1)] = 'S'
  squares[at(2 * rooms - 1, 2 * rooms - 1)] = 'G'
  return squares.join('')
}

const PAIRS = ['()', '[]', '{}'] as const

/** An opening part and as many blanks as the template has left. */
function newBrackets(length: number, blank: string): string {
  const open: string[] = []
  const most = Math.floor(length / 2)
  const text: string[] = []
  const steps = 2 + integer(Math.max(1, most - 2))
  for (let i = 0; i < steps; i++) {
    const closing = open.length > 0 && Math.random() < 0.35
    if (closing) text.push(open.pop() as string)
    else {
      const [opening = '(', end = ')'] = Array.from(PAIRS[integer(PAIRS.length)] ?? '()')
      text.push(opening)
      open.push(end)
    }
  }
  return text.join('').padEnd(length, blank)
}

/** A story for as many positions; a hard one has longer chains of facts than the model was trained on. */
function newWorld(layout: Sentences, length: number, hard: boolean): string {
  const room = Math.floor((length - layout.head) / slotLength(layout))
  const seed = integer(2 ** 32)
  for (let attempt = 0; ; attempt++) {
    const draws = new Draws(seed, attempt)
    const sentences = draws.within({ min: Math.min(6, room), max: Math.min(8, room) })
    const hops = draws.within(hard ? { min: 4, max: 5 } : { min: 1, max: 2 })
    const story = drawStory(draws, { sentences, hops, room })
    if (story) return story.template
  }
}

/** Neighbours of a vertex, as the data of the task has by default. */
const DEGREE = 4

/** A graph of three colours; a hard one has as many vertices as there is room for. */
function newGraph(edges: number, hard: boolean): string {
  const seed = integer(2 ** 32)
  const room = Math.min(NAMES.length, Math.floor((2 * edges) / DEGREE))
  const vertices = hard ? room : Math.ceil((2 / 3) * room)
  const plan = { vertices, room, edges, degree: DEGREE, colours: 3, givens: { min: 2, max: 4 } }
  for (let attempt = 0; ; attempt++) {
    const graph = drawGraph(new Draws(seed, attempt), plan)
    if (graph) return graph.template
  }
}

const OPENINGS = [
  'Once upon a time',
  'One day, a little girl',
  'The big dog was',
  'Tom and his mom went to the',
  'There was a small bird who',
]

/** Texts with blanks, for models that see both sides of them. */
const GAPS = [
  'Once upon a time there was a _{4} named Tom. He was very sad because he lost his _{3}. His mom said, "Do not cry."',
  'Lily and her mom went to the park. Lily saw a _{8} and she was very happy.',
  'The dog ran to the _{2}. He wanted to _{6} but the door was closed.',
]

/** Given cells of a new puzzle: enough, and as few as still have one solution. */
const givensOf = (columns: number, hard: boolean): number =>
  Math.round(columns ** 2 * (hard ? 0.22 : 0.4))

/** `previous`: what it has to differ from. */
export function anotherInput(model: Model, hard: boolean, previous: string): string {
  const { template } = model.capabilities
  if (!template) {
    const texts = model.capabilities.block > 1 ? [...OPENINGS, ...GAPS] : OPENINGS
    const others = texts.filter((text) => text !== previous)
    return others[integer(others.length)] ?? ''
  }
  const { blank, example, layout, length } = template
  switch (layout?.kind) {
    case 'sudoku':
      return newPuzzle(layout, givensOf(layout.columns, hard), blank, Math.random)
    case 'sum':
      return newSum(layout.columns, hard ? layout.columns : 2 + integer(layout.columns - 4), blank)
    case 'maze':
      return newMaze(layout.columns, blank)
    case 'brackets':
      return newBrackets(length ?? 16, blank)
    case 'sentences':
      return newWorld(layout, length ?? 0, hard)
    case 'graph':
      return newGraph(layout.edges, hard)
    case undefined:
      return example ?? ''
  }
}

export function firstInput(model: Model): string {
  const { template } = model.capabilities
  if (!template) return OPENINGS[0] ?? ''
  return template.example ?? anotherInput(model, false, '')
}

/** Whether a key that was typed may stand in a cell. */
export function isEntry(layout: Layout | null, character: string): boolean {
  switch (layout?.kind) {
    case 'sudoku':
      return /^[1-9a-g]$/.test(character) && parseInt(character, 17) <= layout.columns
    case 'sum':
      return /^[0-9.]$/.test(character)
    case 'maze':
      return /^[#.x]$/.test(character)
    // Words are chosen among those that are weighed.
    case 'sentences':
      return false
    case 'brackets':
      return /^[()[\]{}<>.]$/.test(character)
    case 'graph':
      return character.length === 1 && COLOURS.includes(character)
    case undefined:
      return character.length === 1
  }
}
