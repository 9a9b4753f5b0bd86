/**
 * A run as one SVG that moves by itself: the answer settling beside its energy. Animated by SMIL, so
 * that it plays wherever a picture may stand, without a script.
 */
import { positionTexts, slotLength } from '../../src/tokenizer/template-positions.js'
import { cellsOf } from './cells.js'
import { inkOf } from './drawings/props.js'
import { ringOf, VERTEX_SIZE } from './drawings/ring.js'
import { type Recording, stepAt } from './recording.js'
import type { Layout, Model } from './wire.js'

const SIZE = 360
const CHART = { left: 430, top: 62, width: 330, height: 250 }
const WIDTH = 800
const HEIGHT = 400
/** Seconds of a loop: so much a step, and a rest at the end. */
const STEP_SECONDS = 0.45
const REST_SECONDS = 2.5
/** Most steps that are drawn. */
const MOST = 64

const escape = (text: string): string =>
  text.replace(/[&<>"]/g, (c) => `&#${String(c.charCodeAt(0))};`)
const fixed = (value: number): string => String(Number(value.toFixed(2)))

/** Where each position of a template stands, and how large it is. */
interface Places {
  x: (position: number) => number
  y: (position: number) => number
  size: number
  frame: string
  /** Positions that are drawn in the frame; absent: none. */
  framed?: (position: number) => boolean
}

/** `texts`: what is asked at each position. */
function placesOf(layout: Layout | null, texts: readonly string[]): Places {
  const { length } = texts
  switch (layout?.kind) {
    case 'sudoku':
    case 'maze': {
      const { columns } = layout
      const size = SIZE / columns
      const line = (d: string, width: number): string =>
        `<path d="${d}" class="line" stroke-width="${String(width)}"/>`
      const lines =
        layout.kind === 'maze'
          ? ''
          : Array.from({ length: columns + 1 }, (_, i) => {
              const at = fixed(20 + i * size)
              const across = line(`M20 ${at}H${String(20 + SIZE)}`, i % layout.box_rows ? 0.6 : 2)
              const down = line(`M${at} 20V${String(20 + SIZE)}`, i % layout.box_columns ? 0.6 : 2)
              return across + down
            }).join('')
      return {
        x: (position) => 20 + ((position % columns) + 0.5) * size,
        y: (position) => 20 + (Math.floor(position / columns) + 0.5) * size,
        size,
        frame: lines,
      }
    }
    case 'sum': {
      const { columns } = layout
      const size = SIZE / (columns + 2)
      const row = (position: number): number => Math.floor(position / (columns + 1))
      const place = (position: number): number => {
        const r = Math.min(2, row(position))
        const within = position - r * (columns + 1)
        // The sign that follows a term stands in front of it.
        return r < 2 && within === columns ? 0 : columns + 1 - within
      }
      const rule = `<path d="M20 ${String(200 + size)}H${String(20 + SIZE)}" class="line" stroke-width="1.5"/>`
      return {
        x: (position) => 20 + (place(position) + 0.5) * size,
        y: (position) => 200 + (Math.min(2, row(position)) - 0.5) * size * 1.4 - size * 0.7,
        size: size * 1.3,
        frame: rule,
      }
    }
    case 'sentences': {
      const { head } = layout
      const columns = slotLength(layout)
      const size = SIZE / columns
      const line = SIZE / Math.ceil((length - head) / columns)
      return {
        x: (position) => 20 + (((position - head + columns) % columns) + 0.5) * size,
        // What stands before the first sentence is above the picture.
        y: (position) => 20 + (Math.floor((position - head) / columns) + 0.5) * line,
        size: line,
        frame: '',
      }
    }
    case 'graph': {
      const { edges, vertices } = ringOf(texts)
      // A vertex is drawn once, where it is mentioned first.
      const at = new Map(vertices.map((vertex) => [vertex.at[0], vertex]))
      const across = (share: number): string => fixed(20 + SIZE * share)
      const lines = edges.map(
        ([a, b]) =>
          `<path d="M${across(a.x)} ${across(a.y)}L${across(b.x)} ${across(b.y)}" class="axis"/>`,
      )
      const size = SIZE * VERTEX_SIZE
      const discs = vertices.map(
        ({ name, x, y }) =>
          `<circle cx="${across(x)}" cy="${across(y)}" r="${fixed(size / 2)}" class="vertex"/>` +
          `<text x="${fixed(20 + SIZE * x - size * 0.2)}" y="${across(y)}" font-size="${fixed(size * 0.4)}">${escape(name)}</text>`,
      )
      return {
        x: (position) => 20 + SIZE * (at.get(position)?.x ?? 0) + size * 0.15,
        y: (position) => 20 + SIZE * (at.get(position)?.y ?? 0),
        size,
        frame: [...lines, ...discs].join(''),
        framed: (position) => !at.has(position),
      }
    }
    case 'brackets':
    case undefined: {
      const columns = Math.min(length, 24)
      const size = SIZE / columns
      return {
        x: (position) => 20 + ((position % columns) + 0.5) * size,
        y: (position) => 120 + Math.floor(position / columns) * size * 1.6,
        size: size * 1.5,
        frame: '',
      }
    }
  }
}

/** An attribute that takes one value after the other. */
function animate(
  name: string,
  values: readonly string[],
  times: readonly number[],
  seconds: number,
) {
  if (values.every((value) => value === values[0])) return ''
  return `<animate attributeName="${name}" values="${values.join(';')}" keyTimes="${times.map((t) => t.toFixed(4)).join(';')}" dur="${fixed(seconds)}s" repeatCount="indefinite"/>`
}

/** At most `MOST` moments, the last among them. */
function sampled(count: number): number[] {
  const every = Math.max(1, Math.ceil(count / MOST))
  const indices = Array.from({ length: count }, (_, i) => i).filter((i) => i % every === 0)
  if (indices.at(-1) !== count - 1) indices.push(count - 1)
  return indices
}

function boardOf(
  recording: Recording,
  model: Model,
  frames: readonly number[],
  clock: Clock,
): string {
  const { template } = model.capabilities
  if (!template) return storyOf(recording, frames, clock)
  const { blank, layout } = template
  const input = recording.request.template ?? ''
  const asked = positionTexts(input, layout)
  /** Stands where nothing is. */
  const empty = layout?.kind === 'sentences' ? ' -' : '.'
  const at = frames.map((i) => cellsOf(input, template, stepAt(recording.moments[i])))
  const places = placesOf(layout, asked)
  const maze = layout?.kind === 'maze'
  return (
    places.frame +
    asked
      .map((given, position) => {
        if (places.framed?.(position)) return ''
        const [x, y] = [fixed(places.x(position)), fixed(places.y(position))]
        if (maze) {
          const half = places.size / 2
          const box = `x="${fixed(places.x(position) - half)}" y="${fixed(places.y(position) - half)}" width="${fixed(places.size + 0.3)}" height="${fixed(places.size + 0.3)}"`
          if (given === '#') return `<rect ${box} class="wall"/>`
          if (given !== blank)
            return `<text x="${x}" y="${y}" class="given" font-size="${fixed(places.size * 0.7)}">${given}</text>`
          const shares = at.map((cells) => {
            const cell = cells[position]
            const path = cell?.weighed.find(({ token }) => token === 'x')?.probability
            return fixed(path ?? Number(cell?.text === 'x'))
          })
          return `<rect ${box} class="path" opacity="${shares.at(-1) ?? '0'}">${animate('opacity', clock.pad(shares), clock.times, clock.seconds)}</rect>`
        }
        const font = `font-size="${fixed(places.size * 0.58)}"`
        if (given !== blank)
          return `<text x="${x}" y="${y}" class="given" ${font}>${escape(given === empty ? '' : given)}</text>`
        const tokens = new Set(at.map((cells) => cells[position]?.text ?? ''))
        return [...tokens]
          .filter((token) => token !== '' && token !== empty)
          .map((token) => {
            const inks = at.map((cells) => {
              const cell = cells[position]
              return cell?.text === token ? fixed(inkOf(cell.certainty)) : '0'
            })
            const moves = animate('opacity', clock.pad(inks), clock.times, clock.seconds)
            return `<text x="${x}" y="${y}" class="read" ${font} opacity="${inks.at(-1) ?? '0'}">${escape(token)}${moves}</text>`
          })
          .join('')
      })
      .join('')
  )
}

/** Words in lines, each appearing when it settles. */
function storyOf(recording: Recording, frames: readonly number[], clock: Clock): string {
  const words = [
    { text: recording.request.prompt ?? '', settled: -1, certainty: 1 },
    ...recording.pieces.map(({ certainty, text }, i) => ({ text, certainty, settled: i })),
  ]
  const most = 34
  let column = 0
  let row = 0
  return words
    .map(({ certainty, settled, text }) => {
      if (column + text.length > most) {
        column = 0
        row++
      }
      const x = 20 + column * 10.8
      column += text.length
      const inks = frames.map((i) =>
        (recording.moments[i]?.settled ?? 0) > settled || i === frames.at(-1)
          ? fixed(inkOf(certainty))
          : '0',
      )
      const moves =
        settled < 0 ? '' : animate('opacity', clock.pad(inks), clock.times, clock.seconds)
      return `<text x="${fixed(x)}" y="${String(80 + row * 30)}" class="word" font-size="18" xml:space="preserve">${escape(text)}${moves}</text>`
    })
    .join('')
}

interface Clock {
  times: number[]
  seconds: number
  /** Values of the frames, and the last once more for the rest at the end. */
  pad: (values: readonly string[]) => string[]
}

export function animatedSvg(recording: Recording, model: Model): string {
  const frames = sampled(recording.moments.length)
  const moving = STEP_SECONDS * frames.length
  const seconds = moving + REST_SECONDS
  const clock: Clock = {
    seconds,
    times: [...frames.map((_, i) => (i * STEP_SECONDS) / seconds), 1],
    pad: (values) => [...values, values.at(-1) ?? ''],
  }
  const energies = frames.map((i) => stepAt(recording.moments[i])?.energy ?? 0)
  const log = energies.every((energy) => energy > 0)
  const level = energies.map((energy) => (log ? Math.log10(energy) : energy))
  const [low, high] = [Math.min(...level), Math.max(...level)]
  const x = energies.map((_, i) => CHART.left + (CHART.width * i) / Math.max(1, frames.length - 1))
  const y = level.map((value) => CHART.top + (CHART.height * (high - value)) / (high - low || 1))
  const points = x.map((at, i) => `${fixed(at)},${fixed(y[i] ?? 0)}`).join(' ')
  const bottom = CHART.top + CHART.height
  const words = energies.map((energy) => String(Number(energy.toPrecision(3))))
  const readings = words
    .map((text, i) => {
      const inks = words.map((_, j) => (j === i ? '1' : '0'))
      const moves = `<animate attributeName="opacity" calcMode="discrete" values="${clock.pad(inks).join(';')}" keyTimes="${clock.times.map((t) => t.toFixed(4)).join(';')}" dur="${fixed(seconds)}s" repeatCount="indefinite"/>`
      return `<text x="${String(CHART.left)}" y="42" class="value" opacity="${i === words.length - 1 ? '1' : '0'}">${text}${moves}</text>`
    })
    .join('')
  const hidden = x.map((at) => fixed(CHART.left + CHART.width + 8 - at))
  const cover = `<rect x="${String(CHART.left + CHART.width + 8)}" y="${String(CHART.top - 8)}" width="0" height="${String(CHART.height + 16)}" class="ground">${animate('width', clock.pad(hidden), clock.times, seconds)}${animate('x', clock.pad(x.map(fixed)), clock.times, seconds)}</rect>`
  const dot = `<circle r="5" class="dot" cx="${fixed(x.at(-1) ?? 0)}" cy="${fixed(y.at(-1) ?? 0)}">${animate('cx', clock.pad(x.map(fixed)), clock.times, seconds)}${animate('cy', clock.pad(y.map(fixed)), clock.times, seconds)}</circle>`
  const style = [
    'text{font-family:ui-sans-serif,system-ui,sans-serif;text-anchor:middle;dominant-baseline:central;fill:#1b1a17}',
    '.given{font-weight:700}.read{fill:#3a3833}.word{text-anchor:start;font-family:ui-monospace,monospace}',
    '.value{text-anchor:start;font-size:26px;font-weight:600;fill:#c2410c;font-variant-numeric:tabular-nums}',
    '.label{text-anchor:end;font-size:13px;fill:#6b675e}',
    '.ground{fill:#fffdf9}.line{stroke:#1b1a17;fill:none}.wall{fill:#3a3833}.path,.dot{fill:#c2410c}',
    '.vertex{fill:#fffdf9;stroke:#1b1a17;stroke-width:1.5}.curve{fill:none;stroke:#c2410c;stroke-width:2.5;stroke-linejoin:round}.axis{fill:none;stroke:#cfcac0}',
  ].join('')
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${String(WIDTH)} ${String(HEIGHT)}" width="${String(WIDTH)}" height="${String(HEIGHT)}" role="img" aria-label="${escape(model.id)}: an answer settles while its energy falls">`,
    `<style>${style}</style><rect width="100%" height="100%" rx="10" class="ground"/>`,
    boardOf(recording, model, frames, clock),
    `<polyline class="curve" points="${points}"/>`,
    cover,
    `<path class="axis" d="M${String(CHART.left)} ${String(CHART.top - 6)}V${String(bottom + 6)}H${String(CHART.left + CHART.width)}"/>`,
    dot,
    readings,
    `<text x="${String(CHART.left + CHART.width)}" y="42" class="label">energy${log ? ' (log scale)' : ''}</text>`,
    `<text x="${String(CHART.left + CHART.width)}" y="${String(bottom + 24)}" class="label">steps: ${String(recording.moments.length)}</text>`,
    '</svg>',
  ].join('\n')
}
