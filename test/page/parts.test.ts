/** What the page is made of, where no browser is needed. */
import { describe, expect, it } from 'vitest'
import { type Cell, cellsOf } from '../../web/src/cells.js'
import { codeOf } from '../../web/src/code.js'
import { contoursOf, interpolate } from '../../web/src/contours.js'
import { pairsOf } from '../../web/src/drawings/pairs.js'
import { ringOf, vertexCell } from '../../web/src/drawings/ring.js'
import { parseMetrics, sumOf } from '../../web/src/metrics.js'
import { anotherInput, isEntry } from '../../web/src/puzzles.js'
import { beforeBlock, Recording } from '../../web/src/recording.js'
import { conflictsOf, groupsOf, newPuzzle } from '../../web/src/sudoku.js'
import { slotsOf } from '../../src/tokenizer/template-positions.js'
import type { Layout, Model, StepEvent } from '../../web/src/wire.js'

const digits = { blank: '_', layout: null }
const six = { columns: 6, box_columns: 3, box_rows: 2 }
const nine = { columns: 9, box_columns: 3, box_rows: 3 }

/** Every solution of a puzzle, found by trying, up to two. */
function solutionsOf(puzzle: string, box: typeof six): string[] {
  const groups = groupsOf(box)
  const found: string[] = []
  const search = (board: string[]): void => {
    const at = board.indexOf('_')
    if (at < 0) found.push(board.join(''))
    if (at < 0 || found.length > 1) return
    for (let digit = 1; digit <= box.columns; digit++) {
      const text = String(digit)
      const taken = groups.some(
        (group) => group.includes(at) && group.some((p) => board[p] === text),
      )
      if (!taken) search(board.with(at, text))
    }
  }
  search(Array.from(puzzle))
  return found
}

/** A fixed sequence of numbers in [0, 1). */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (1664525 * state + 1013904223) % 2 ** 32
    return state / 2 ** 32
  }
}

describe('a new sudoku', () => {
  it.each([
    [six, 12],
    [six, 10],
    [nine, 36],
  ])('has exactly one solution: %j', (box, givens) => {
    for (let seed = 1; seed < 6; seed++) {
      const puzzle = newPuzzle(box, givens, '_', randomFrom(seed))
      expect(puzzle).toHaveLength(box.columns ** 2)
      const [solution = ''] = solutionsOf(puzzle, box)
      expect(solutionsOf(puzzle, box)).toHaveLength(1)
      expect(conflictsOf(Array.from(solution), box).size).toBe(0)
    }
  })

  it('marks both of two equal digits in a row, a column and a box', () => {
    const board = Array.from({ length: 36 }, () => '')
    const at = (...positions: number[]) =>
      conflictsOf(
        board.map((_, i) => (positions.includes(i) ? '4' : '')),
        six,
      )
    expect(at(0, 5)).toEqual(new Set([0, 5]))
    expect(at(0, 30)).toEqual(new Set([0, 30]))
    expect(at(0, 8)).toEqual(new Set([0, 8]))
    expect(at(0, 9)).toEqual(new Set())
  })
})

const modelOf = (layout: Layout, length: number): Model => ({
  id: 'm',
  description: '',
  capabilities: {
    context_length: 512,
    vocab_size: 10,
    block: length,
    dimensions: 8,
    endpoints: [],
    max_steps: 100,
    max_seconds: 1,
    max_candidates: 1,
    steps: 4,
    energy_target: null,
    energy: 'residual',
    start: 'zeros',
    template: { blank: '_', length, example: null, layout },
  },
})

describe('another input', () => {
  it.each<[Layout, number, RegExp]>([
    [{ kind: 'sum', columns: 12 }, 39, /^[0-9]+\.*\+[0-9]+\.*=_{13}$/],
    [{ kind: 'maze', columns: 11 }, 121, /^[#_SG]+$/],
    [{ kind: 'graph', edges: 28 }, 112, /^(?:[a-n][RGB_][a-n][RGB_]|\.{4}){28}$/],
    [{ kind: 'brackets' }, 24, /^[([{)\]}]+_+$/],
    [{ kind: 'sudoku', ...six }, 36, /^[1-6_]+$/],
  ])('fits a model of $kind', (layout, length, form) => {
    for (let i = 0; i < 20; i++) {
      const text = anotherInput(modelOf(layout, length), i % 2 === 0, '')
      expect(text).toHaveLength(length)
      expect(text).toMatch(form)
    }
  })

  it('fits a model of stories', () => {
    const layout: Layout = { kind: 'sentences', head: 2, sentence: 5, clauses: 3, clause: 3 }
    for (const hard of [false, true]) {
      const text = anotherInput(modelOf(layout, 170), hard, '')
      const cells = cellsOf(text, { blank: ' _', layout }, undefined)
      expect(cells).toHaveLength(170)
      const slots = slotsOf(cells, layout)
      expect(slots).toHaveLength(12)
      const ends = slots.map(({ sentence }) => sentence.at(-1)?.text)
      expect(new Set(ends)).toEqual(new Set(['.', ' -']))
      for (const [i, { clauses }] of slots.entries())
        for (const clause of clauses)
          expect(clause.map(({ given }) => given)).toEqual([true, ends[i] !== '.', ends[i] !== '.'])
    }
  })

  it('takes only what may stand in a cell', () => {
    const sudoku: Layout = { kind: 'sudoku', ...six }
    expect(['1', '6', '7', '0', 'x'].map((key) => isEntry(sudoku, key))).toEqual([
      true,
      true,
      false,
      false,
      false,
    ])
    expect(['9', '.', '+'].map((key) => isEntry({ kind: 'sum', columns: 3 }, key))).toEqual([
      true,
      true,
      false,
    ])
  })
})

describe('a graph', () => {
  const template = 'aRc_....c_bGc_d_'
  const ring = ringOf(Array.from(template))

  it('has each vertex once, in a circle, joined as its edges say', () => {
    expect(ring.vertices.map(({ at, name }) => [name, at])).toEqual([
      ['a', [1]],
      ['b', [11]],
      ['c', [3, 9, 13]],
      ['d', [15]],
    ])
    expect(ring.edges.map((ends) => ends.map(({ name }) => name).join(''))).toEqual([
      'ac',
      'cb',
      'cd',
    ])
    const distances = ring.vertices.map(({ x, y }) => Math.hypot(x - 0.5, y - 0.5))
    for (const distance of distances) expect(distance).toBeCloseTo(distances[0] as number)
  })

  it('shows the mean of what is read wherever a vertex is mentioned', () => {
    const read = new Map([
      [3, [0.6, 0.4]],
      [9, [0.2, 0.8]],
      [13, [0.4, 0.6]],
    ])
    const cells = Array.from(template, (text, position): Cell => {
      const [g, b] = read.get(position) ?? []
      if (g === undefined || b === undefined)
        return { text, given: text !== '_', certainty: 1, weighed: [] }
      const weighed = [
        { token: 'G', probability: g },
        { token: 'B', probability: b },
      ]
      return { text: g > b ? 'G' : 'B', given: false, certainty: Math.max(g, b), weighed }
    })
    const [a, , c] = ring.vertices.map((vertex) => vertexCell(vertex, cells))
    expect(a).toMatchObject({ text: 'R', given: true })
    expect(c).toMatchObject({ text: 'B', given: false })
    expect(c?.certainty).toBeCloseTo(0.6)
    expect(c?.weighed.map(({ token }) => token)).toEqual(['B', 'G'])
  })
})

describe('brackets', () => {
  it('pairs them as they nest, and finds those that stand alone', () => {
    const { alone, arcs } = pairsOf(Array.from('([]{)'))
    expect(arcs).toEqual([{ from: 1, to: 2, height: 1 }])
    expect([...alone].sort()).toEqual([0, 3, 4])
    expect(pairsOf(Array.from('(([]))')).arcs.map(({ height }) => height)).toEqual([1, 2, 3])
  })
})

describe('contour lines', () => {
  it('pass where the grid has their level', () => {
    const grid = Array.from({ length: 9 }, (_, y) => Array.from({ length: 9 }, (_, x) => x + 2 * y))
    const segments = contoursOf(grid, 7.25)
    expect(segments.length).toBeGreaterThan(5)
    for (const [x, y] of segments.flat()) expect(interpolate(grid, x, y)).toBeCloseTo(7.25, 6)
  })

  it('are closed around a minimum', () => {
    const grid = Array.from({ length: 11 }, (_, y) =>
      Array.from({ length: 11 }, (_, x) => (x - 5) ** 2 + (y - 5) ** 2),
    )
    const ends = contoursOf(grid, 7)
      .flat()
      .map((point) => point.map((n) => n.toFixed(6)).join())
    for (const end of ends) expect(ends.filter((other) => other === end)).toHaveLength(2)
  })
})

describe('metrics', () => {
  it('reads names, labels and values', () => {
    const samples = parseMetrics(
      '# TYPE a counter\na{model="x",state="running"} 3\na{model="y",state="held"} 4\nb 2.5\n',
    )
    expect(samples).toHaveLength(3)
    expect(sumOf(samples, 'a')).toBe(7)
    expect(sumOf(samples, 'a', { state: 'held' })).toBe(4)
    expect(sumOf(samples, 'b')).toBe(2.5)
  })
})

const step = (fields: Partial<StepEvent>): StepEvent => ({
  type: 'step',
  position: 0,
  step: 1,
  candidate: 0,
  energy: 5,
  best_energy: 5,
  gradient_norm: 1,
  text: '12',
  top: [],
  ...fields,
})

describe('a recording', () => {
  it('makes a moment of the steps that candidates take side by side', () => {
    const recording = new Recording({ model: 'm', template: '1_', refinement: { candidates: 2 } })
    recording.take(step({ candidate: 0, energy: 5, best_energy: 5 }))
    recording.take(step({ candidate: 1, energy: 3, best_energy: 3 }))
    recording.take(step({ step: 2, candidate: 0, energy: 1, best_energy: 1 }))
    expect(recording.moments).toHaveLength(2)
    expect(recording.moments[0]).toMatchObject({ best: 3, leader: 1 })
    expect(recording.moments[1]).toMatchObject({ best: 1, leader: 0 })
    expect(recording.moments[1]?.candidates.map((each) => each?.energy)).toEqual([1, 3])
  })

  it('makes a moment of each round of descents that begin anew', () => {
    const restarts = { keep: 2 }
    const recording = new Recording({ model: 'm', template: '1_', refinement: { restarts } })
    expect(recording.candidates).toBe(2)
    recording.take(step({ candidate: 0, restart: 0 }))
    recording.take(step({ step: 2, candidate: 0, restart: 0 }))
    recording.take(step({ step: 3, candidate: 0, restart: 0 }))
    recording.take(step({ step: 1, candidate: 1, restart: 0 }))
    recording.take(step({ step: 1, candidate: 0, restart: 1, best_energy: 2 }))
    recording.take(step({ step: 2, candidate: 1, restart: 0 }))
    expect(recording.moments.map(({ step: number }) => number)).toEqual([1, 2, 3, 4])
    expect(recording.moments[3]?.candidates.map((each) => each?.restart)).toEqual([1, 0])
    expect(recording.moments[3]).toMatchObject({ best: 2, leader: 0 })
  })

  it('knows the template of each moment', () => {
    const recording = new Recording({ model: 'm', template: '1__' })
    recording.take(step({ step: 1 }))
    recording.take(step({ step: 2 }))
    recording.edit(2, '4')
    expect(recording.templateAt(0, null)).toBe('1__')
    expect(recording.templateAt(1, null)).toBe('1_4')
  })
})

describe('cells', () => {
  it('are inked by what the server says of each position', () => {
    const positions = [
      { tokens: ['1'], probabilities: [1] },
      { tokens: ['2', '3'], probabilities: [0.7, 0.29] },
    ]
    expect(cellsOf('1_', digits, step({ positions }))).toEqual([
      { text: '1', given: true, certainty: 1, weighed: [] },
      {
        text: '2',
        given: false,
        certainty: 0.7,
        weighed: [
          { token: '2', probability: 0.7 },
          { token: '3', probability: 0.29 },
        ],
      },
    ])
  })

  it('are read from the text where the server says no more', () => {
    expect(cellsOf('1_', digits, step({}))[1]).toMatchObject({ text: '2', certainty: 1 })
    expect(cellsOf('1_', digits, undefined)[1]).toMatchObject({ text: '', certainty: 0 })
  })
})

describe('code', () => {
  it('survives quotes in a prompt', () => {
    const request = { model: 'm', prompt: `Tom's "big" dog` }
    expect(codeOf('curl', request, 'http://host')).toContain(`Tom'\\''s \\"big\\" dog`)
    expect(codeOf('Python', request, 'http://host')).toContain(`"Tom's \\"big\\" dog"`)
  })
})

it('shows what stands before a block of a text with blanks once', () => {
  const template = 'Once upon a time there was a _{2} named Tom.'
  expect(beforeBlock(template, 'Once upon a time there was a big dog named Tom.')).toBe('')
  expect(beforeBlock(template, ' there was a big dog named Tom.')).toBe('Once upon a time')
  expect(beforeBlock(template, ' big dog named Tom.')).toBe('Once upon a time there was a')
})
