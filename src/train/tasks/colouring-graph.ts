/**
 * Graphs whose vertices are to be coloured so that no two joined ones have the same colour, as text: for every edge
 * the names of its ends, each with its colour. In a block of six edges
 *
 *     aRbBc_aRc_bB....d_bBd_c_     has the answer     aRbBcGaRcGbB....dRbBdRcG
 *
 * A vertex has a place for its colour wherever it is mentioned, so that a colour is excluded by the one beside it, and
 * what is excluded at one place is to be known at the others of the same name. The edges stand in a random order and
 * in random places of the block, so graphs larger than those trained on use the same positions; places without an
 * edge are filled with `.`. This file imports nothing that a browser lacks.
 */
import { EDGE_LENGTH } from '../../tokenizer/template-positions.js'
import type { Draws, Range } from './draws.js'
import { removeGivens } from './remove-givens.js'

/** What a graph is to have. */
export interface GraphPlan {
  vertices: number
  /** Vertices that there are names for, at most 26. */
  room: number
  /** Edges that the block has room for. */
  edges: number
  /** Most neighbours of a vertex. */
  degree: number
  /** Number of colours, at most COLOURS.length. */
  colours: number
  /** Vertices whose colour is given; more where the answer would not be the only one. */
  givens: Range
}

export const COLOURS = 'RGBY'
export const NAMES = 'abcdefghijklmnopqrstuvwxyz'
export const GRAPH_BLANK = '_'
/** Fills places without an edge. */
export const GRAPH_PAD = '.'

/** The neighbours of each vertex. */
export type Neighbours = readonly (readonly number[])[]

/** Bits of the colours that the neighbours of a vertex have; a colour is 1 or more, 0 for none. */
const takenBeside = (neighbours: Neighbours, colours: Uint8Array, vertex: number): number =>
  (neighbours[vertex] as readonly number[]).reduce(
    (bits, other) => bits | (1 << (colours[other] as number)),
    0,
  )

const allowed = (taken: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => i + 1).filter((colour) => (taken & (1 << colour)) === 0)

/** The number of ways to complete the colours, counted up to `limit`, by a search at the vertex with fewest choices. */
export function countColourings(
  neighbours: Neighbours,
  colours: Uint8Array,
  count: number,
  limit = 2,
): number {
  let vertex = -1
  let choices: number[] = []
  for (const [other, colour] of colours.entries()) {
    if (colour !== 0) continue
    const open = allowed(takenBeside(neighbours, colours, other), count)
    if (vertex >= 0 && open.length >= choices.length) continue
    vertex = other
    choices = open
  }
  if (vertex < 0) return 1
  let found = 0
  for (const colour of choices) {
    colours[vertex] = colour
    found += countColourings(neighbours, colours, count, limit - found)
    if (found >= limit) break
  }
  colours[vertex] = 0
  return found
}

/**
 * What elimination finds, which gives a vertex the only colour that its neighbours leave: in how many rounds, each
 * of all vertices at once, and how many vertices it leaves open.
 */
export function eliminate(
  neighbours: Neighbours,
  colours: Uint8Array,
  count: number,
): { rounds: number; open: number } {
  const known = colours.slice()
  for (let rounds = 0; ; rounds++) {
    const before = known.slice()
    for (const [vertex, colour] of before.entries()) {
      const [only, other] = colour ? [] : allowed(takenBeside(neighbours, before, vertex), count)
      if (only !== undefined && other === undefined) known[vertex] = only
    }
    if (known.every((colour, vertex) => colour === before[vertex]))
      return { rounds, open: known.filter((colour) => colour === 0).length }
  }
}

/** Joins vertices of different colours at random, as long as both have room for a neighbour. */
function drawNeighbours(draws: Draws, colours: Uint8Array, degree: number): number[][] {
  const neighbours = Array.from(colours, (): number[] => [])
  const pairs = Array.from(colours, (_, a) =>
    Array.from({ length: a }, (_unused, b) => [a, b]),
  ).flat()
  draws.shuffle(pairs)
  for (const [a = 0, b = 0] of pairs) {
    const [ofA, ofB] = [neighbours[a] as number[], neighbours[b] as number[]]
    if (colours[a] === colours[b] || Math.max(ofA.length, ofB.length) >= degree) continue
    ofA.push(b)
    ofB.push(a)
  }
  return neighbours
}

/** The block as text. `slots`: where each edge stands; `names`: of the vertices. */
function blockOf(
  edges: readonly (readonly [number, number])[],
  colours: Uint8Array,
  slots: readonly number[],
  names: readonly string[],
): string {
  const texts = slots.map(() => GRAPH_PAD.repeat(EDGE_LENGTH))
  const mention = (vertex: number): string => {
    const colour = colours[vertex] as number
    return (names[vertex] as string) + (colour === 0 ? GRAPH_BLANK : COLOURS.charAt(colour - 1))
  }
  for (const [i, [a, b]] of edges.entries()) texts[slots[i] as number] = mention(a) + mention(b)
  return texts.join('')
}

/** A graph with exactly one colouring of its blanks; undefined if a vertex would have no edge, or an edge no room. */
export function drawGraph(draws: Draws, plan: GraphPlan) {
  const { vertices, colours: count, degree, edges: slotCount, givens, room } = plan
  const answer = Uint8Array.from({ length: vertices }, (_, vertex) => 1 + (vertex % count))
  const neighbours = drawNeighbours(draws, answer, degree)
  if (neighbours.some((others) => others.length === 0)) return undefined
  const edges = neighbours.flatMap((others, a) =>
    others
      .filter((b) => b > a)
      .map((b): [number, number] => (draws.share() < 0.5 ? [a, b] : [b, a])),
  )
  if (edges.length > slotCount) return undefined
  const colours = answer.slice()
  const left = removeGivens(
    colours,
    givens,
    draws,
    () => countColourings(neighbours, colours.slice(), count) === 1,
  )
  const names = Array.from(NAMES.slice(0, room))
  draws.shuffle(names)
  const slots = Array.from({ length: slotCount }, (_, slot) => slot)
  draws.shuffle(slots)
  return {
    template: blockOf(edges, colours, slots, names),
    completion: blockOf(edges, answer, slots, names),
    facts: { vertices, givens: left, ...eliminate(neighbours, colours, count) },
  }
}
