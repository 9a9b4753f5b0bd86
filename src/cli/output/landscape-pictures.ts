/** Draws slices of an energy as SVG. It knows numbers, and no model. */
import type { Plane, Slice } from '../../train/evaluation/landscape-slices.js'
import { threeDigits } from './landscape-table.js'

export const PICTURE_WIDTH = 330
const HEIGHT = { lines: 240, plane: 276 }
const TITLE_HEIGHT = 24
const LEFT = 56
const BOTTOM = 38
/** Side of a plane, which is square because both of its axes have the same unit. */
const PLANE_SIDE = 214
const LINE_HEIGHT = 16
/** Mean width of a character of the title, in pixels. */
const CHARACTER_WIDTH = 6.2

/** Number of colours on a plane. */
const LEVELS = 20
/** Curves that are drawn one by one, besides the mean of all. */
const MAX_CURVES = 12
const CURVE_COLOUR = '#4a7ebb'
const MEAN_COLOUR = '#b3401f'
const PATH_COLOUR = '#e33'
const TRUTH_COLOUR = '#ffdf00'

export const LINES_CAPTION = [
  'Energy on a line through each answer that descent found, minus the energy of that answer.',
  `Thin: the first ${MAX_CURVES} answers. Thick: the mean of all answers.`,
]
export const PLANES_CAPTION = [
  'Energy on a plane through an answer that descent found: the darker, the lower.',
  'Red line: the descent, from its start (circle) to the answer found (dot), projected onto the plane. Yellow cross: the true answer.',
]

export const escapeHtml = (text: string): string =>
  text.replace(/[&<>"]/g, (character) => `&#${String(character.charCodeAt(0))};`)

const STYLE =
  '<style>text{font:10px sans-serif;fill:#444}.title{font-size:12px;fill:#111}.axis{fill:none;stroke:#888}.grid{fill:none;stroke:#e8e8e8}</style>'

const svg = (body: string, width: number, height: number): string =>
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">${STYLE}<rect width="${width}" height="${height}" fill="#fff"/>${body}</svg>`

type Interval = readonly [number, number]

/** A coordinate in pixels. */
const px = (value: number): string => String(Number(value.toFixed(2)))

const text = (x: number, y: number, anchor: string, content: string, more = ''): string =>
  `<text x="${px(x)}" y="${px(y)}" text-anchor="${anchor}"${more}>${escapeHtml(content)}</text>`

/** Round numbers within an interval, some 4 to 8 of them. */
export function ticksOf([low, high]: Interval): number[] {
  const rough = (high - low) / 5
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map((x) => x * power).find((x) => x >= rough) ?? rough
  const first = Math.ceil(low / step)
  const count = Math.floor(high / step) - first + 1
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(12)))
}

interface Frame {
  x: (value: number) => number
  y: (value: number) => number
  /** Title, axes with ticks, and the titles of the axes. */
  drawn: string
}

interface FrameOptions {
  title: string
  width: number
  height: number
  /** Values at the ends of the axes, and their titles. */
  across: Interval
  acrossTitle: string
  up: Interval
  upTitle: string
}

function frameOf({ title, width, height, across, acrossTitle, up, upTitle }: FrameOptions): Frame {
  const [right, floor] = [LEFT + width, TITLE_HEIGHT + height]
  const x = (value: number): number =>
    LEFT + (width * (value - across[0])) / (across[1] - across[0])
  const y = (value: number): number => floor - (height * (value - up[0])) / (up[1] - up[0])
  const columns = ticksOf(across).map(
    (value) =>
      `<path class="grid" d="M${px(x(value))} ${TITLE_HEIGHT}V${floor}"/>` +
      text(x(value), floor + 13, 'middle', threeDigits(value)),
  )
  const rows = ticksOf(up).map(
    (value) =>
      `<path class="grid" d="M${LEFT} ${px(y(value))}H${right}"/>` +
      text(LEFT - 4, y(value) + 3, 'end', threeDigits(value)),
  )
  const middle = TITLE_HEIGHT + height / 2
  const drawn = [
    ...columns,
    ...rows,
    `<path class="axis" d="M${LEFT} ${TITLE_HEIGHT}V${floor}H${right}"/>`,
    text(LEFT, 15, 'start', title, ' class="title"'),
    text(LEFT + width / 2, floor + 29, 'middle', acrossTitle),
    text(11, middle, 'middle', upTitle, ` transform="rotate(-90 11 ${px(middle)})"`),
  ]
  return { x, y, drawn: drawn.join('') }
}

/** An interval of some width that holds all values. */
function intervalOf(values: readonly number[]): Interval {
  const [low, high] = [Math.min(...values), Math.max(...values)]
  return low < high ? [low, high] : [low - 1, high + 1]
}

/** The energies of a slice: some answers, and the mean of all. */
export function drawLines(title: string, { at, energies }: Slice): string {
  const mean = at.map(
    (_, i) => energies.reduce((sum, curve) => sum + (curve[i] as number), 0) / energies.length,
  )
  const shown = energies.slice(0, MAX_CURVES)
  const { x, y, drawn } = frameOf({
    title,
    width: PICTURE_WIDTH - LEFT - 14,
    height: HEIGHT.lines - TITLE_HEIGHT - BOTTOM,
    across: [at[0] as number, at.at(-1) as number],
    acrossTitle: 'distance from the answer found',
    up: intervalOf([...shown.flat(), ...mean]),
    upTitle: 'energy difference',
  })
  const polyline = (curve: readonly number[], style: string): string => {
    const points = curve.map((energy, i) => [x(at[i] as number), y(energy)].map(px).join())
    return `<polyline points="${points.join(' ')}" fill="none" ${style}/>`
  }
  const curves = [
    ...shown.map((curve) =>
      polyline(curve, `stroke="${CURVE_COLOUR}" stroke-width="1" stroke-opacity="0.45"`),
    ),
    polyline(mean, `stroke="${MEAN_COLOUR}" stroke-width="2.5"`),
  ]
  return svg(drawn + curves.join(''), PICTURE_WIDTH, HEIGHT.lines)
}

const colourOf = (level: number): string =>
  `hsl(215,55%,${(22 + (72 * level) / (LEVELS - 1)).toFixed(0)}%)`

/** A bar of all colours beside a plane, with the energies that they begin and end at. */
function colourScale(sorted: readonly number[]): string {
  const left = LEFT + PLANE_SIDE + 8
  const step = PLANE_SIDE / LEVELS
  const floor = TITLE_HEIGHT + PLANE_SIDE
  const cells = Array.from({ length: LEVELS }, (_, level) => {
    const top = floor - (level + 1) * step
    return `<rect x="${left}" y="${px(top)}" width="9" height="${px(step + 0.5)}" fill="${colourOf(level)}"/>`
  })
  const labels = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const energy = sorted[Math.round(share * (sorted.length - 1))] as number
    const y = Math.min(Math.max(floor - share * PLANE_SIDE + 3, TITLE_HEIGHT + 8), floor)
    return text(left + 13, y, 'start', threeDigits(energy))
  })
  return cells.join('') + labels.join('') + text(left, floor + 13, 'start', 'energy')
}

/**
 * A plane of energies with the descent on it. Colours go by rank, each for as many points as the others,
 * so that one high peak does not hide all other differences.
 */
export function drawPlane(title: string, { at, energies, path, truth }: Plane): string {
  const [first, last] = [at[0] as number, at.at(-1) as number]
  // A point is the middle of its cell, so the axes end half a cell beyond the outer points.
  const half = (last - first) / (at.length - 1) / 2
  const ends: Interval = [first - half, last + half]
  const { x, y, drawn } = frameOf({
    title,
    width: PLANE_SIDE,
    height: PLANE_SIDE,
    across: ends,
    acrossTitle: 'towards the start of the descent',
    up: ends,
    upTitle: 'along the gradient of the loss',
  })
  const sorted = energies.flat().sort((a, b) => a - b)
  const rank = new Map(sorted.map((energy, i) => [energy, i / sorted.length]))
  const side = PLANE_SIDE / at.length
  // Half a pixel more than the side leaves no seams between cells.
  const cell = `h${px(side + 0.5)}v${px(side + 0.5)}h${px(-side - 0.5)}z`
  // One path for all cells of a colour keeps the file small.
  const paths = Array.from({ length: LEVELS }, () => '')
  energies.forEach((row, j) => {
    row.forEach((energy, i) => {
      const level = Math.floor(LEVELS * (rank.get(energy) as number))
      const corner = [x(at[i] as number) - side / 2, y(at[j] as number) - side / 2]
      paths[level] = `${paths[level] ?? ''}M${corner.map(px).join(' ')}${cell}`
    })
  })
  const cells = paths.map(
    (d, level) => `<path shape-rendering="crispEdges" d="${d}" fill="${colourOf(level)}"/>`,
  )
  const points = path.map(([u, v]) => [px(x(u)), px(y(v))] as const)
  const [startX, startY] = points[0] ?? ['', '']
  const cross = `M${px(x(truth[0]) - 4)} ${px(y(truth[1]))}h8m-4 -4v8`
  const marks = [
    `<polyline points="${points.map((point) => point.join()).join(' ')}" fill="none" stroke="${PATH_COLOUR}" stroke-width="1.5"/>`,
    `<circle cx="${px(x(0))}" cy="${px(y(0))}" r="3" fill="${PATH_COLOUR}"/>`,
    `<path d="${cross}" fill="none" stroke="#333" stroke-width="4"/>`,
    `<path d="${cross}" fill="none" stroke="${TRUTH_COLOUR}" stroke-width="2"/>`,
    `<circle cx="${startX}" cy="${startY}" r="6" fill="none" stroke="${PATH_COLOUR}" stroke-width="1.5"/>`,
  ]
  const body = drawn + cells.join('') + colourScale(sorted) + marks.join('')
  return svg(body, PICTURE_WIDTH, HEIGHT.plane)
}

/** The text in lines that fit a width in pixels. */
function wrapped(content: string, width: number): string[] {
  const lines: string[] = []
  for (const word of content.split(' ')) {
    const line = lines.at(-1)
    if (line === undefined || (line.length + 1 + word.length) * CHARACTER_WIDTH > width)
      lines.push(word)
    else lines[lines.length - 1] = `${line} ${word}`
  }
  return lines
}

/** Pictures of one height in rows under a caption, as one picture. */
export function gallery(caption: readonly string[], rows: readonly (readonly string[])[]): string {
  const width = PICTURE_WIDTH * Math.max(...rows.map((row) => row.length))
  const height = Number(/ height="(\d+)"/.exec(rows[0]?.[0] ?? '')?.[1] ?? 0)
  const head = caption
    .flatMap((line) => wrapped(line, width - 20))
    .map((line, i) => text(10, 18 + i * LINE_HEIGHT, 'start', line, ' class="title"'))
  const top = 12 + head.length * LINE_HEIGHT
  const placed = rows.flatMap((row, j) =>
    row.map((picture, i) => {
      const at = `<svg x="${i * PICTURE_WIDTH}" y="${top + j * height}" `
      return picture.replace('<svg ', at).replace(STYLE, '')
    }),
  )
  return svg(head.join('') + placed.join(''), width, top + rows.length * height)
}
