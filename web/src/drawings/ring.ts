/** A graph around a circle: where its vertices stand, which of them are joined, and which colours they may have. */
import { edgesOf } from '../../../src/tokenizer/template-positions.js'
import type { Cell } from '../cells.js'

/** Stands where there is no edge. */
const PAD = '.'

export interface RingVertex {
  name: string
  /** The positions of its colour in the template, one for each edge. */
  at: readonly number[]
  /** Its place in a square of side 1. */
  x: number
  y: number
}

export interface Ring {
  vertices: readonly RingVertex[]
  edges: readonly (readonly [RingVertex, RingVertex])[]
}

/** Custom properties of the style sheet by the text of a colour. */
export const vertexStyles: Readonly<Record<string, string>> = {
  R: '--vertex-red',
  G: '--vertex-green',
  B: '--vertex-blue',
  Y: '--vertex-yellow',
}

/** Diameter of a vertex, in a square of side 1. */
export const VERTEX_SIZE = 0.115

/** The graph of a template, given by the text at each of its positions. */
export function ringOf(texts: readonly string[]): Ring {
  const joined = edgesOf(texts).filter(([{ name }]) => name !== PAD)
  const places = new Map<string, number[]>()
  for (const { at, name } of joined.flat()) places.set(name, [...(places.get(name) ?? []), at])
  const names = [...places.keys()].sort()
  const radius = (1 - VERTEX_SIZE) / 2
  const vertices = names.map((name, i): RingVertex => {
    const angle = (2 * Math.PI * i) / names.length
    const [x, y] = [0.5 + radius * Math.sin(angle), 0.5 - radius * Math.cos(angle)]
    return { name, at: places.get(name) ?? [], x, y }
  })
  const vertexOf = ({ name }: { name: string }) => vertices[names.indexOf(name)] as RingVertex
  const edges = joined.map(([a, b]) => [vertexOf(a), vertexOf(b)] as const)
  return { vertices, edges }
}

/** What a vertex has, as the mean of what is read wherever it is mentioned; given where one of these is. */
export function vertexCell({ at }: RingVertex, cells: readonly Cell[]): Cell {
  const mentions = at.map((position) => cells[position] as Cell)
  const given = mentions.find((cell) => cell.given)
  if (given) return given
  const shares = new Map<string, number>()
  for (const { certainty, text, weighed } of mentions)
    for (const { probability, token } of weighed.length > 0
      ? weighed
      : [{ token: text, probability: certainty }])
      shares.set(token, (shares.get(token) ?? 0) + probability / mentions.length)
  const weighed = Array.from(shares, ([token, probability]) => ({ token, probability })).sort(
    (a, b) => b.probability - a.probability,
  )
  const { probability = 0, token = '' } = weighed[0] ?? {}
  return { text: token, given: false, certainty: probability, weighed }
}
