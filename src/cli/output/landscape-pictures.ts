/** Lines and planes as SVG. Knows numbers; knows no model. */

const width = 320
const height = 220
/** Shades of a plane. */
const levels = 20
const margin = { left: 44, right: 10, top: 22, bottom: 28 }

const escape = (text: string): string =>
  text.replace(/[&<>"]/g, (c) => `&#${String(c.charCodeAt(0))};`)
const short = (value: number): string => String(Number(value.toPrecision(3)))

interface Frame {
  x: (value: number) => number
  y: (value: number) => number
  /** Axes with their ends labelled, and the title. */
  drawn: string
}

function frame(
  title: string,
  [left, right]: readonly [number, number],
  [bottom, top]: readonly [number, number],
): Frame {
  const inner = { w: width - margin.left - margin.right, h: height - margin.top - margin.bottom }
  const x = (value: number): number => margin.left + (inner.w * (value - left)) / (right - left)
  const y = (value: number): number => margin.top + (inner.h * (top - value)) / (top - bottom || 1)
  const label = (at: [number, number], anchor: string, text: string): string =>
    `<text x="${short(at[0])}" y="${short(at[1])}" text-anchor="${anchor}">${escape(text)}</text>`
  const low = height - margin.bottom
  const drawn = [
    `<text x="${margin.left}" y="14" class="title">${escape(title)}</text>`,
    `<path class="axis" d="M${margin.left} ${margin.top}V${low}H${width - margin.right}"/>`,
    label([margin.left, low + 14], 'middle', short(left)),
    label([width - margin.right, low + 14], 'end', short(right)),
    label([margin.left - 4, low], 'end', short(bottom)),
    label([margin.left - 4, margin.top + 8], 'end', short(top)),
  ].join('')
  return { x, y, drawn }
}

const style =
  '<style>text{font:10px sans-serif;fill:#444}.title{font-size:12px;fill:#111}.axis{fill:none;stroke:#888}</style>'

const svg = (body: string, w = width, h = height): string =>
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${w} ${h}" width="${w}" height="${h}">${style}<rect width="${w}" height="${h}" fill="#fff"/>${body}</svg>`

/** One curve for each list; no more than `most` of them, so that they can be told apart. */
export function plotLines(
  title: string,
  at: readonly number[],
  curves: readonly (readonly number[])[],
  most = 12,
): string {
  const shown = curves.slice(0, most)
  const all = shown.flat()
  const { x, y, drawn } = frame(
    title,
    [at[0] as number, at.at(-1) as number],
    [Math.min(...all), Math.max(...all)],
  )
  const lines = shown.map((curve, i) => {
    const points = curve.map((e, j) => `${short(x(at[j] as number))},${short(y(e))}`).join(' ')
    const colour = `hsl(${(360 * i) / shown.length},60%,45%)`
    return `<polyline points="${points}" fill="none" stroke="${colour}" stroke-width="1"/>`
  })
  return svg(drawn + lines.join(''))
}

export interface PlaneDrawing {
  at: readonly number[]
  /** [rows][columns] */
  energies: readonly (readonly number[])[]
  path: readonly (readonly [number, number])[]
  truth: readonly [number, number]
}

/** Energies as colours, dark for low, by rank so that no peak hides the rest; the path on top. */
export function plotPlane(title: string, { at, energies, path, truth }: PlaneDrawing): string {
  const [first, last] = [at[0] as number, at.at(-1) as number]
  // Cells lie around their points, so the axes end half a cell further out.
  const half = (last - first) / (at.length - 1) / 2
  const ends = [first - half, last + half] as const
  const { x, y, drawn } = frame(title, ends, ends)
  const sorted = energies.flat().sort((a, b) => a - b)
  const rank = new Map(sorted.map((e, i) => [e, i / (sorted.length - 1)]))
  const [w, h] = [x(at[1] as number) - x(at[0] as number), y(at[0] as number) - y(at[1] as number)]
  const cell = `h${short(w)}v${short(h)}h${short(-w)}z`
  // One path for each shade keeps the file small.
  const shades = Array.from({ length: levels }, () => '')
  energies.forEach((row, j) => {
    row.forEach((e, i) => {
      const level = Math.min(levels - 1, Math.floor(levels * (rank.get(e) as number)))
      const corner = [x(at[i] as number) - w / 2, y(at[j] as number) - h / 2].map(short)
      shades[level] = `${shades[level] ?? ''}M${corner.join(' ')}${cell}`
    })
  })
  const cells = shades.map((d, level) => {
    const light = (25 + (70 * level) / (levels - 1)).toFixed(0)
    return `<path shape-rendering="crispEdges" d="${d}" fill="hsl(215,55%,${light}%)"/>`
  })
  const points = path.map(([u, v]) => `${short(x(u))},${short(y(v))}`)
  const [startX, startY] = (points[0] as string).split(',') as [string, string]
  const marks = [
    `<polyline points="${points.join(' ')}" fill="none" stroke="#e33" stroke-width="1.5"/>`,
    `<circle cx="${startX}" cy="${startY}" r="3.5" fill="none" stroke="#e33"/>`,
    `<circle cx="${short(x(0))}" cy="${short(y(0))}" r="3" fill="#e33"/>`,
    `<path d="M${short(x(truth[0]) - 4)} ${short(y(truth[1]))}h8m-4 -4v8" stroke="#ff0" stroke-width="2"/>`,
  ]
  return svg(cells.join('') + drawn + marks.join(''))
}

/** Pictures in rows under one title, as one picture. */
export function gallery(title: string, rows: readonly (readonly string[])[]): string {
  const columns = Math.max(...rows.map((row) => row.length))
  const top = 26
  const placed = rows.flatMap((row, j) =>
    row.map((picture, i) =>
      picture.replace('<svg ', `<svg x="${i * width}" y="${top + j * height}" `).replace(style, ''),
    ),
  )
  const head = `<text x="10" y="18" class="title">${escape(title)}</text>`
  return svg(head + placed.join(''), columns * width, top + rows.length * height)
}

/** A page of its own: pictures, and the figures as a table. */
export function page(
  title: string,
  heads: readonly string[],
  lines: readonly (readonly string[])[],
  pictures: readonly string[],
): string {
  const row = (cells: readonly string[], tag: string): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join('')}</tr>`
  return `<!doctype html><meta charset="utf-8"><title>${escape(title)}</title>
<style>body{font:14px sans-serif;margin:2em}td,th{padding:.2em .8em;text-align:right}td:first-child,th:first-child{text-align:left}</style>
<h1>${escape(title)}</h1><table>${row(heads, 'th')}${lines.map((line) => row(line, 'td')).join('')}</table>
${pictures.join('\n')}
`
}
