/** Graphs to be coloured (colouring-graph.ts), as a task. */
import { EDGE_LENGTH, edgesOf } from '../../tokenizer/template-positions.js'
import {
  COLOURS,
  drawGraph,
  GRAPH_BLANK,
  GRAPH_PAD,
  type GraphPlan,
  NAMES,
} from './colouring-graph.js'
import { checkRange, type Range, type Task } from './task.js'

export interface ColouringOptions extends Omit<GraphPlan, 'edges' | 'vertices'> {
  /** Number of vertices of a graph, each with equal probability. */
  vertices: Range
  /** Edges that the block has room for; absent: as many as there can be. Graphs of more are not made. */
  edges?: number
}

const MAX_DEGREE = 16
/** As many as the layout of a model may have. */
const MAX_EDGES = 1024

/**
 * A form of a graph and its colours that does not depend on names, places and which colour is which, by colour
 * refinement (Weisfeiler and Leman, 1968): every vertex is described by its description and those of its neighbours
 * until no more of them differ. A colour is a vertex too, joined to all that have it. Some different graphs have one
 * form, such as two triangles and a ring of six; they count as the same.
 */
function graphForm(text: string): string {
  const beside = new Map<string, string[]>()
  const colours = new Map<string, string>()
  const edges = edgesOf(Array.from(text)).filter(([{ name }]) => name !== GRAPH_PAD)
  for (const [one, other] of edges.flatMap(([a, b]) => [[a, b] as const, [b, a] as const])) {
    beside.set(one.name, [...(beside.get(one.name) ?? []), other.name])
    colours.set(one.name, one.colour)
  }
  for (const colour of COLOURS) {
    const own = [...beside.keys()].filter((name) => colours.get(name) === colour)
    for (const name of own) beside.get(name)?.push(colour)
    if (own.length > 0) beside.set(colour, own)
  }
  let classes = new Map(Array.from(beside.keys(), (name) => [name, COLOURS.includes(name) ? 1 : 0]))
  const descriptions: string[] = []
  for (let known = 0; ;) {
    const described = Array.from(beside, ([name, others]) => {
      const around = others.map((other) => classes.get(other) as number).sort((a, b) => a - b)
      return [name, `${String(classes.get(name))}:${around.join()}`] as const
    })
    const kinds = [...new Set(described.map(([, description]) => description))].sort()
    descriptions.push(
      described
        .map(([, description]) => description)
        .sort()
        .join(' '),
    )
    if (kinds.length === known) return descriptions.join('\n')
    known = kinds.length
    classes = new Map(described.map(([name, description]) => [name, kinds.indexOf(description)]))
  }
}

export function colouringTask({ vertices, ...options }: ColouringOptions): Task {
  const { colours, degree, givens, room } = options
  checkRange('room', { min: room, max: room }, 2, NAMES.length)
  checkRange('vertices', vertices, 2, room)
  checkRange('degree', { min: degree, max: degree }, 1, MAX_DEGREE)
  checkRange('colours', { min: colours, max: colours }, 2, COLOURS.length)
  checkRange('givens', givens, 1, room)
  const { edges = Math.floor((room * degree) / 2) } = options
  checkRange('edges', { min: edges, max: edges }, 1, MAX_EDGES)
  return {
    name: 'graph',
    block: edges * EDGE_LENGTH,
    layout: { kind: 'graph', edges },
    alphabet: Array.from(COLOURS.slice(0, colours) + NAMES.slice(0, room) + GRAPH_PAD),
    blank: GRAPH_BLANK,
    draw: (draws) => drawGraph(draws, { ...options, edges, vertices: draws.within(vertices) }),
    form: graphForm,
    answerForm: graphForm,
  }
}
