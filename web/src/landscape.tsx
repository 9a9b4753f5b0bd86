/** The landscape around the answer: contour lines of the energy, and the path of the descent on it. */
import { signal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { short } from './chart.js'
import { contoursOf, interpolate, levelsOf } from './contours.js'
import type { LandscapeQuestion } from '../tab/protocol.js'
import { place } from './place.js'
import { ask, reasonOf } from './server.js'
import { request, run } from './state.js'
import { lookInTab } from './tab-channel.js'
import { styleOf, theme } from './theme.js'
import type { Landscape, Model } from './wire.js'

type Plane = NonNullable<Landscape['plane']>

const POINTS = 31
const LEVELS = 14
const HEIGHT = 360

const plane = signal<{ of: string; plane: Plane } | undefined>(undefined)
const asking = signal(false)
const problem = signal('')

async function look(): Promise<void> {
  if (!request.value) return
  const asked = { ...request.value }
  delete asked.max_tokens
  const of = JSON.stringify(request.value)
  asking.value = true
  problem.value = ''
  try {
    const question: LandscapeQuestion = {
      ...asked,
      directions: ['gradient'],
      points: 3,
      plane: { points: POINTS },
    }
    const reply =
      place.value === 'browser'
        ? await lookInTab(question)
        : await ask<Landscape>('v1/landscape', question)
    if (reply.plane) plane.value = { of, plane: reply.plane }
  } catch (error) {
    problem.value = reasonOf(error)
  } finally {
    asking.value = false
  }
}

/** Never quite 100 where something is left. */
const percent = (share: number): string =>
  `${share > 0.9995 ? (share === 1 ? '100' : '99.9') : (100 * share).toFixed(1)}%`

/** `#rrggbb` as numbers. */
const channels = (hex: string): [number, number, number] => {
  const value = parseInt(hex.slice(1), 16)
  return [value >> 16, (value >> 8) & 255, value & 255]
}

/** Colours from low energy to high. */
function ramp(): (share: number) => [number, number, number] {
  const stops = ['--low', '--middle', '--high'].map((name) => channels(styleOf(name)))
  return (share) => {
    const at = Math.max(0, Math.min(1, share)) * (stops.length - 1)
    const i = Math.min(stops.length - 2, Math.floor(at))
    const [from, to] = [stops[i], stops[i + 1]] as [number[], number[]]
    return from.map((x, c) => x + (at - i) * ((to[c] ?? 0) - x)) as [number, number, number]
  }
}

interface Scale {
  /** Share of the way from the lowest energy to the highest, in their logarithms where they have one. */
  share: (energy: number) => number
  energy: (share: number) => number
}

function scaleOf(all: readonly number[]): Scale {
  const low = all.reduce((a, b) => Math.min(a, b), Infinity)
  const high = all.reduce((a, b) => Math.max(a, b), -Infinity)
  const log = low > 0 && high / low > 20
  const [a, b] = log ? [Math.log(low), Math.log(high)] : [low, high]
  const extent = b - a || 1
  return {
    share: (energy) => ((log ? Math.log(Math.max(energy, low)) : energy) - a) / extent,
    energy: (share) => (log ? Math.exp(a + share * extent) : a + share * extent),
  }
}

const finite = (energy: number | null): energy is number => energy !== null

/** Paints the plane; `at`: the moment that is marked on the path, from -1. */
function paint(canvas: HTMLCanvasElement, { energies, path, x, y }: Plane, at: number): void {
  const ratio = devicePixelRatio
  const width = canvas.clientWidth
  canvas.width = width * ratio
  canvas.height = HEIGHT * ratio
  const context = canvas.getContext('2d')
  if (!context || width === 0) return
  context.scale(ratio, ratio)
  const all = energies.flat().filter(finite)
  const { energy, share } = scaleOf([...all, ...path.map((p) => p.energy).filter(finite)])
  const shares = energies.map((row) => row.map((e) => (e === null ? 1 : share(e))))
  const colours = ramp()
  const [left, right, top, bottom] = [0, width - 74, 0, HEIGHT]
  const [w, h] = [right - left, bottom - top]
  const [x0, x1, y0, y1] = [x[0] ?? 0, x.at(-1) ?? 1, y[0] ?? 0, y.at(-1) ?? 1]
  const toX = (u: number): number => left + (w * (u - x0)) / (x1 - x0)
  const toY = (v: number): number => bottom - (h * (v - y0)) / (y1 - y0)
  // Energies: at a quarter of the pixels, smoothed by the canvas.
  const [cw, ch] = [Math.ceil(w / 3), Math.ceil(h / 3)]
  const small = document.createElement('canvas')
  small.width = cw
  small.height = ch
  const inner = small.getContext('2d')
  if (!inner) return
  const image = inner.createImageData(cw, ch)
  for (let py = 0; py < ch; py++)
    for (let px = 0; px < cw; px++) {
      const value = interpolate(
        shares,
        ((shares[0]?.length ?? 1) - 1) * (px / (cw - 1)),
        (shares.length - 1) * (1 - py / (ch - 1)),
      )
      const [r, g, b] = colours(value)
      image.data.set([r, g, b, 255], 4 * (py * cw + px))
    }
  inner.putImageData(image, 0, 0)
  context.imageSmoothingEnabled = true
  context.drawImage(small, left, top, w, h)
  // Contour lines, evenly spaced in the scale of the colours.
  context.strokeStyle = styleOf('--contour')
  context.lineWidth = 0.8
  for (const level of levelsOf(LEVELS)) {
    context.beginPath()
    for (const [a, b] of contoursOf(shares, level)) {
      const place = (p: readonly [number, number]): [number, number] => [
        left + (w * p[0]) / ((shares[0]?.length ?? 2) - 1),
        bottom - (h * p[1]) / (shares.length - 1),
      ]
      context.moveTo(...place(a))
      context.lineTo(...place(b))
    }
    context.stroke()
  }
  // The path.
  const shownTo = Math.max(0, Math.min(path.length - 1, at))
  const trace = (to: number): void => {
    context.beginPath()
    path.slice(0, to + 1).forEach((p, i) => {
      if (i === 0) context.moveTo(toX(p.x), toY(p.y))
      else context.lineTo(toX(p.x), toY(p.y))
    })
    context.stroke()
  }
  context.lineJoin = 'round'
  context.strokeStyle = styleOf('--path-edge')
  context.lineWidth = 4
  context.globalAlpha = 0.55
  trace(path.length - 1)
  context.globalAlpha = 1
  context.strokeStyle = styleOf('--path')
  context.lineWidth = 2
  trace(path.length - 1)
  const dot = (p: { x: number; y: number } | undefined, radius: number, fill: string): void => {
    if (!p) return
    context.beginPath()
    context.arc(toX(p.x), toY(p.y), radius, 0, 2 * Math.PI)
    context.fillStyle = fill
    context.fill()
    context.strokeStyle = styleOf('--path-edge')
    context.lineWidth = 1.5
    context.stroke()
  }
  for (const p of path) dot(p, 2.2, styleOf('--path'))
  dot(path[0], 5, styleOf('--panel'))
  dot(path[shownTo], 7, styleOf('--accent'))
  // The scale.
  const bar = { left: right + 16, width: 12, top: 14, height: HEIGHT - 28 }
  for (let i = 0; i < bar.height; i++) {
    context.fillStyle = `rgb(${colours(1 - i / (bar.height - 1))
      .map(Math.round)
      .join(' ')})`
    context.fillRect(bar.left, bar.top + i, bar.width, 1.5)
  }
  context.fillStyle = styleOf('--muted')
  context.font = `11px ${styleOf('--mono')}`
  context.textBaseline = 'middle'
  for (const place of [0, 0.25, 0.5, 0.75, 1])
    context.fillText(short(energy(place)), bar.left + 18, bar.top + bar.height * (1 - place))
}

export function LandscapePanel({ model }: { model: Model }) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const current = run.value
  const cursor = current?.cursor.value ?? -1
  const seen = plane.value
  const fits = seen && seen.of === JSON.stringify(request.value)
  // The path starts before the first step; a step's energy is that of the state it came from.
  const kept = seen ? seen.plane.path.length : 0
  const moments = current?.recording.moments.length ?? 0
  const at = moments > 0 ? Math.round(((cursor + 1) * (kept - 1)) / Math.max(1, moments)) : kept - 1
  useEffect(() => {
    const element = canvas.current
    if (!element || !seen) return
    const draw = (): void => paint(element, seen.plane, at)
    draw()
    const observer = new ResizeObserver(draw)
    observer.observe(element)
    return () => observer.disconnect()
  }, [seen, at, theme.value])
  const can = model.capabilities.endpoints.includes('/v1/landscape')
  const [from, to] = [seen?.plane.path[0]?.energy, seen?.plane.path.at(-1)?.energy]
  return (
    <section class="panel landscape" aria-label="The landscape">
      <div class="title">
        <h2>Landscape</h2>
        <button type="button" disabled={asking.value || !can} onClick={() => void look()}>
          {asking.value ? 'Looking around …' : seen ? 'Look again' : 'Look around the answer'}
        </button>
      </div>
      {problem.value !== '' && (
        <p class="note" role="alert">
          {problem.value}
        </p>
      )}
      {seen ? (
        <figure>
          <canvas
            ref={canvas}
            role="img"
            aria-label={`Energy around the answer, with the path of the descent from ${short(from ?? 0)} to ${short(to ?? 0)}`}
          />
          <figcaption class="hint">
            The plane in which {percent(seen.plane.explained)} of the path lies, through its end.
            Lines join points of equal energy. The open circle is where it began, the filled one
            where the scrubber stands.
            {!fits && ' This picture is of an earlier question.'}
          </figcaption>
        </figure>
      ) : (
        <p class="hint">
          {can
            ? 'What the energy looks like around the answer, from above, with the way the descent took.'
            : 'This model has no landscape that can be looked at.'}
        </p>
      )}
    </section>
  )
}
