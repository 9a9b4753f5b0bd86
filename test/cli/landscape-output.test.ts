import { describe, expect, it } from 'vitest'
import { landscapePage } from '../../src/cli/output/landscape-page.js'
import {
  drawLines,
  drawPlane,
  gallery,
  PICTURE_WIDTH,
  ticksOf,
} from '../../src/cli/output/landscape-pictures.js'
import {
  columns,
  landscapeTable,
  type LandscapeFigures,
} from '../../src/cli/output/landscape-table.js'

const figures = (name: string): LandscapeFigures => ({
  name,
  diagnosis: {
    spread: 0.25,
    gap: 1,
    ranked: 1,
    volume: 0,
    firstEnergy: 2,
    lastEnergy: 1,
    firstGradient: 3,
    lastGradient: 0.1,
    calibration: 0.9,
  },
  slices: { random: { minima: 1, roughness: 2 }, 'loss-gradient': { minima: 3, roughness: 4 } },
})

const at = [-1, -0.5, 0, 0.5, 1]
const bowl = at.map((u) => at.map((v) => 3 * u * u + v * v - 0.5))
const plane = drawPlane('model <one>', {
  at,
  energies: bowl,
  path: [
    [0.9, 0],
    [0.3, 0.1],
    [0, 0],
  ],
  truth: [0.1, -0.2],
})
const lines = drawLines('model', {
  direction: 'random',
  at,
  energies: [at.map((x) => x * x), at.map(() => 0)],
})

/** The contents of an SVG's text elements. */
const textsOf = (svg: string): string[] =>
  Array.from(svg.matchAll(/<text[^>]*>([^<]*)</g), ([, content]) => content ?? '')

describe('ticksOf', () => {
  it.each([
    [
      [0, 1],
      [0, 0.2, 0.4, 0.6, 0.8, 1],
    ],
    [
      [-0.13, 0.31],
      [-0.1, 0, 0.1, 0.2, 0.3],
    ],
    [
      [30, 2770],
      [1000, 2000],
    ],
  ] as const)('finds round numbers in %j', (interval, expected) => {
    expect(ticksOf(interval)).toEqual(expected)
  })
})

describe('the pictures of landscapes', () => {
  it('have only finite coordinates, also for a line without any range', () => {
    const flat = drawLines('flat', { direction: 'random', at, energies: [at.map(() => 2)] })
    for (const svg of [plane, lines, flat, gallery(['Caption'], [[plane, plane], [plane]])])
      expect(svg).not.toMatch(/NaN|Infinity|undefined/)
  })

  it('label the colour scale of a plane from its lowest energy to its highest', () => {
    const texts = textsOf(plane)
    const scale = texts.slice(texts.indexOf('along the gradient of the loss') + 1)
    expect(scale).toEqual(['-0.5', '0.5', '1.25', '2.75', '3.5', 'energy'])
  })

  it('draw the mean of all answers last, over the single ones', () => {
    const strokes = Array.from(
      lines.matchAll(/<polyline points="([^"]*)"[^>]*stroke-width="([^"]*)"/g),
    )
    expect(strokes.map(([, , width]) => width)).toEqual(['1', '1', '2.5'])
    const ends = strokes.map(([, points]) => Number(points?.split(' ')[0]?.split(',')[1]))
    expect(ends[2]).toBeCloseTo(((ends[0] ?? NaN) + (ends[1] ?? NaN)) / 2, 1)
  })

  it('have captions that fit into the width of a single picture', () => {
    const words = 'seven words that do not fit in one line '.repeat(4).trim()
    const svg = gallery([words], [[plane]])
    expect(svg).toContain(`width="${PICTURE_WIDTH}"`)
    const caption = textsOf(svg).filter((line) => words.includes(line))
    expect(caption.join(' ')).toBe(words)
    expect(Math.max(...caption.map((line) => line.length))).toBeLessThan(PICTURE_WIDTH / 6)
  })
})

describe('landscapeTable', () => {
  it('has the same number of cells in each row, also with a bar in a name', () => {
    const rows = landscapeTable([figures('a|b'), figures('c')]).split('\n')
    expect(rows).toHaveLength(4)
    for (const row of rows) expect(row.split(/(?<!\\)\|/)).toHaveLength(columns.length + 3)
    expect(rows[3]).toBe('| c | 0.25 | 1 | 1 | 0 | 2 | 1 | 3 | 0.1 | 0.9 | 1 | 2 | 3 | 4 |')
  })
})

describe('landscapePage', () => {
  const page = landscapePage([figures('one'), figures('<two>')], [plane], [lines])

  it('explains every figure beside its value for each model', () => {
    for (const { head, meaning } of columns)
      expect(page).toContain(`<td>${head}</td><td>${meaning}`)
    expect(page).toContain('<th>one</th><th>&#60;two&#62;</th>')
  })

  it('needs no other file and no script', () => {
    expect(page).not.toMatch(/<script|<link|<img|url\(|src=/)
    expect(page).toContain(plane)
  })
})
