/** Curves against a budget on a logarithmic axis, as SVG. */

const width = 420
const height = 260
const margin = { left: 48, right: 120, top: 28, bottom: 34 }
const colours = ['#1f6f8b', '#c8553d', '#588157', '#7a5195', '#8a6d3b', '#444']
const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`)
const style =
  '<style>text{font:11px sans-serif;fill:#444}.title{font-size:13px;fill:#111}.axis{fill:none;stroke:#888}.grid{stroke:#eee}</style>'

/**
 * `curves`: {name, points: [[x, share]], level?, dashed?}. A level is one share whatever the budget. The vertical
 * axis goes from the least share, rounded down to tenths, to 1.
 */
export function chart(title, across, curves) {
  const shares = curves.flatMap(({ points = [], level }) => [
    ...points.map(([, share]) => share),
    ...(level === undefined ? [] : [level]),
  ])
  const bottom = Math.max(0, Math.floor(Math.min(...shares) * 10) / 10)
  const xs = [...new Set(curves.flatMap(({ points = [] }) => points.map(([x]) => x)))].sort(
    (a, b) => a - b,
  )
  const [low, high] = [Math.log2(xs[0]), Math.log2(xs.at(-1))]
  const right = width - margin.right
  const floor = height - margin.bottom
  const x = (v) => margin.left + ((right - margin.left) * (Math.log2(v) - low)) / (high - low || 1)
  const y = (v) => margin.top + ((floor - margin.top) * (1 - v)) / (1 - bottom || 1)
  const at = (v) => v.toFixed(1)
  const marks = [0, 0.25, 0.5, 0.75, 1].map((part) => bottom + part * (1 - bottom))
  const grid = marks.map(
    (v) =>
      `<path class="grid" d="M${margin.left} ${at(y(v))}H${right}"/><text x="${margin.left - 5}" y="${at(y(v) + 4)}" text-anchor="end">${+(100 * v).toFixed(1)} %</text>`,
  )
  const ticks = xs.map(
    (v) => `<text x="${at(x(v))}" y="${floor + 14}" text-anchor="middle">${v}</text>`,
  )
  const drawn = curves.map(({ points = [], level, dashed }, i) => {
    const path =
      level === undefined
        ? points.map(([a, b], k) => `${k ? 'L' : 'M'}${at(x(a))} ${at(y(b))}`).join('')
        : `M${margin.left} ${at(y(level))}H${right}`
    const dots = points.map(
      ([a, b]) =>
        `<circle cx="${at(x(a))}" cy="${at(y(b))}" r="2.5" fill="${colours[i % colours.length]}"/>`,
    )
    return `<path d="${path}" fill="none" stroke="${colours[i % colours.length]}" stroke-width="2"${dashed ? ' stroke-dasharray="5 4"' : ''}/>${dots.join('')}`
  })
  const names = curves.map(
    ({ name }, i) =>
      `<rect x="${right + 8}" y="${margin.top + 18 * i}" width="10" height="3" fill="${colours[i % colours.length]}"/><text x="${right + 22}" y="${margin.top + 18 * i + 5}">${escape(name)}</text>`,
  )
  const axis = `<path class="axis" d="M${margin.left} ${margin.top}V${floor}H${right}"/>`
  const labels = `<text class="title" x="${margin.left}" y="16">${escape(title)}</text><text x="${(margin.left + right) / 2}" y="${height - 4}" text-anchor="middle">${escape(across)}</text>`
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">${style}<rect width="${width}" height="${height}" fill="#fff"/>${grid.join('')}${axis}${ticks.join('')}${drawn.join('')}${names.join('')}${labels}</svg>\n`
}
