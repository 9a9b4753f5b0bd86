/** The energy against steps: one line a candidate, its two parts, the best so far, and where we are. */
import { type Signal, signal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import type { Recording } from './recording.js'
import { styleOf, theme } from './theme.js'

/** What is drawn beside the energies. */
export const shown = {
  best: signal(true),
  disagreement: signal(false),
  doubt: signal(false),
  log: signal(true),
}

/** Least height, in pixels; more where its panel has room. */
const LEAST_HEIGHT = 240

export interface Curve {
  recording: Recording
  /** Moments up to this one are drawn. */
  upTo: number
  name: string
}

interface Line {
  label: string
  values: (number | null)[]
  stroke: string
  width: number
  dash?: number[]
}

/** Moments as the chart has them: a gap stands between two answers of a longer text. */
function spread<T>(recording: Recording, values: readonly T[]): (T | null)[] {
  return values.flatMap((value, i) => {
    const { moments } = recording
    const parted = i > 0 && moments[i]?.position !== moments[i - 1]?.position
    return parted ? [null, value] : [value]
  })
}

/** Lines of one run; `accent`: the colour of its energy. */
function linesOf({ name, recording, upTo }: Curve, accent: string, plain: boolean): Line[] {
  const moments = recording.moments.slice(0, upTo + 1)
  const candidates = Math.max(1, recording.candidates)
  const leader = moments.at(-1)?.leader ?? 0
  const at = <T,>(pick: (moment: (typeof moments)[number]) => T): (T | null)[] =>
    spread(recording, moments.map(pick))
  const energies = Array.from({ length: candidates }, (_, c) => {
    const main = c === leader
    return {
      label: candidates > 1 ? `${name} ${String(c + 1)}` : name,
      values: at(({ candidates: all }) => all[c]?.energy ?? null),
      stroke: main ? accent : `color-mix(in srgb, ${accent} 38%, transparent)`,
      width: main ? 2.5 : 1,
    }
  })
  // The line that matters lies on top.
  energies.sort((a, b) => a.width - b.width)
  if (plain) return energies
  const muted = styleOf('--muted')
  const term = (part: 'disagreement' | 'doubt') =>
    at(({ candidates: all, leader: c }) => all[c]?.[part] ?? null)
  const terms: Line[] = []
  if (shown.disagreement.value) {
    const values = term('disagreement')
    terms.push({ label: 'disagreement', values, stroke: muted, width: 1.25, dash: [7, 4] })
  }
  if (shown.doubt.value) {
    const values = term('doubt')
    terms.push({ label: 'doubt', values, stroke: muted, width: 1.25, dash: [2, 3] })
  }
  if (shown.best.value) {
    const values = at(({ best }) => best)
    terms.push({ label: 'best so far', values, stroke: styleOf('--ink'), width: 1, dash: [3, 3] })
  }
  return [...terms, ...energies]
}

const inLog = (value: number | null): value is number => value !== null && value > 0

/** Energies of both signs have a logarithm on neither side of zero: asinh bends near it instead. */
type Scale = 'linear' | 'log' | 'asinh'

/** uPlot's numbers for them. */
const DISTRIBUTION = { linear: 1, log: 3, asinh: 4 } as const

const scaleOf = (lines: readonly Line[]): Scale => {
  if (!shown.log.value) return 'linear'
  const negative = lines.some(({ label, values }) =>
    label === 'doubt' || label === 'disagreement'
      ? false
      : values.some((v) => v !== null && v <= 0),
  )
  return negative ? 'asinh' : 'log'
}

/** Of the energies alone: their parts may be next to nothing, and would leave no room for the rest. */
function rangeOf(lines: readonly Line[], scale: Scale): [number, number] {
  const all = lines
    .filter(({ dash }) => dash === undefined)
    .flatMap(({ values }) => values)
    .filter((value): value is number => value !== null && Number.isFinite(value))
  if (all.length === 0) return scale === 'log' ? [0.01, 10] : [0, 1]
  const positive = scale === 'log' ? all.filter(inLog) : all
  const low = positive.reduce((a, b) => Math.min(a, b), Infinity)
  const high = positive.reduce((a, b) => Math.max(a, b), -Infinity)
  if (scale === 'log') return [low / 1.6, Math.max(high, low * 1.5) * 1.6]
  const room = (high - low || Math.abs(high) || 1) * 0.06
  return [low >= 0 ? Math.min(0, low) : low - room, high + room]
}

export const short = (value: number): string => {
  const size = Math.abs(value)
  if (value === 0) return '0'
  if (size >= 1e5 || size < 1e-3) return value.toExponential(1).replace('e+', 'e')
  return String(Number(value.toPrecision(3)))
}

function optionsOf(
  lines: readonly Line[],
  { height, width }: { height: number; width: number },
  scale: Scale,
  marker: () => readonly { x: number; y: number; stroke: string }[],
  bounds: () => [number, number],
  /** Where the reader changed the question. */
  edited: () => readonly number[],
  onSeek: ((moment: number) => void) | undefined,
  hover: Signal<number | undefined> | undefined,
): uPlot.Options {
  const ink = styleOf('--muted')
  const font = `11px ${styleOf('--mono')}`
  const grid = { stroke: styleOf('--line'), width: 1 }
  const axis = { stroke: ink, font, grid, ticks: { show: false } }
  // uPlot declares these numbers as a const enum, which isolated modules cannot read.
  // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment
  const distr = DISTRIBUTION[scale] as uPlot.Scale.Distr
  return {
    width,
    height,
    padding: [12, 12, 0, 0],
    legend: { show: false },
    cursor: { y: true, points: { size: 7 }, drag: { setScale: false, x: false, y: false } },
    scales: {
      x: { time: false, range: (_, min, max) => [min, Math.max(max, min + 4)] },
      y: { distr, range: () => bounds() },
    },
    axes: [
      {
        ...axis,
        size: 30,
        label: 'steps',
        labelSize: 18,
        labelGap: 0,
        labelFont: font,
        space: 60,
        incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000],
      },
      {
        ...axis,
        size: 54,
        ...(scale === 'log' && {
          splits: (_: uPlot, _axis: number, min: number, max: number) => decades(min, max),
        }),
        filter: (_, splits) => splits,
        values: (_, splits) => splits.map(short),
      },
    ],
    series: [
      {},
      ...lines.map(({ dash, label, stroke, width: thick }) => ({
        label,
        stroke,
        width: thick,
        points: { show: false },
        paths: broken,
        ...(dash && { dash }),
      })),
    ],
    hooks: {
      draw: [
        (u) => {
          const { bbox, ctx } = u
          for (const x of edited()) {
            ctx.save()
            ctx.strokeStyle = ink
            ctx.lineWidth = devicePixelRatio
            ctx.setLineDash([3 * devicePixelRatio, 4 * devicePixelRatio])
            ctx.beginPath()
            ctx.moveTo(u.valToPos(x, 'x', true), bbox.top)
            ctx.lineTo(u.valToPos(x, 'x', true), bbox.top + bbox.height)
            ctx.stroke()
            ctx.restore()
          }
          for (const { stroke, x, y } of marker()) {
            const [left, top] = [u.valToPos(x, 'x', true), u.valToPos(y, 'y', true)]
            if (!Number.isFinite(left) || !Number.isFinite(top)) continue
            ctx.save()
            ctx.strokeStyle = stroke
            ctx.globalAlpha = 0.35
            ctx.lineWidth = devicePixelRatio
            ctx.beginPath()
            ctx.moveTo(left, bbox.top)
            ctx.lineTo(left, bbox.top + bbox.height)
            ctx.stroke()
            ctx.globalAlpha = 1
            ctx.fillStyle = stroke
            ctx.beginPath()
            ctx.arc(left, top, 4.5 * devicePixelRatio, 0, 2 * Math.PI)
            ctx.fill()
            ctx.lineWidth = 2 * devicePixelRatio
            ctx.strokeStyle = styleOf('--panel')
            ctx.stroke()
            ctx.restore()
          }
        },
      ],
      setCursor: [
        ({ cursor, data }) => {
          if (hover) hover.value = momentAt(data, cursor.idx)
        },
      ],
      ready: [
        (u) => {
          u.over.addEventListener('click', () => {
            const moment = momentAt(u.data, u.cursor.idx)
            if (moment !== undefined) onSeek?.(moment)
          })
        },
      ],
    },
  }
}

/** The moment at a place of the data. */
function momentAt([x]: uPlot.AlignedData, place: number | null | undefined): number | undefined {
  const step = place === null || place === undefined ? undefined : x[place]
  return step === undefined ? undefined : Math.floor(step) - 1
}

/** Straight from point to point, and nothing where there is none: answers stand apart. */
const broken: uPlot.Series.PathBuilder = (u, index, from, to) => {
  const stroke = new Path2D()
  const [x, values] = [u.data[0], u.data[index]]
  let apart = true
  for (let i = from; i <= to; i++) {
    const value = values?.[i]
    if (value === null || value === undefined) {
      apart = true
      continue
    }
    const [left, top] = [u.valToPos(x[i] ?? 0, 'x', true), u.valToPos(value, 'y', true)]
    if (apart) stroke.moveTo(left, top)
    else stroke.lineTo(left, top)
    apart = false
  }
  return { stroke }
}

const sizeOf = (element: HTMLElement): { width: number; height: number } => ({
  width: element.clientWidth,
  height: Math.max(LEAST_HEIGHT, element.clientHeight),
})

/** Powers of ten, and between them halves and fifths where there are few. */
function decades(min: number, max: number): number[] {
  const [low, high] = [Math.floor(Math.log10(min)), Math.ceil(Math.log10(max))]
  const parts = high - low > 3 ? [1] : [1, 2, 5]
  const every = Math.max(1, Math.ceil((high - low) / 7))
  return Array.from({ length: high - low + 1 }, (_, i) => low + i)
    .filter((power) => (power - low) % every === 0)
    .flatMap((power) => parts.map((part) => part * 10 ** power))
    .filter((value) => value >= min && value <= max)
}

interface EnergyChartProps {
  curves: readonly Curve[]
  /** Moment that is marked on each curve. */
  at: readonly number[]
  version: unknown
  onSeek?: (moment: number) => void
  hover?: Signal<number | undefined>
  label: string
}

/** The colours of the first and the second run that are compared. */
const accents = ['--accent', '--second']

export function EnergyChart({ at, curves, hover, label, onSeek, version }: EnergyChartProps) {
  const host = useRef<HTMLDivElement>(null)
  const plot = useRef<{ chart: uPlot; shape: string } | null>(null)
  const live = useRef<{
    marks: { x: number; y: number; stroke: string }[]
    bounds: [number, number]
    edits: number[]
  }>({ marks: [], bounds: [0, 1], edits: [] })
  const settings = [
    ...[shown.best, shown.disagreement, shown.doubt, shown.log].map(({ value }) => value),
    theme.value,
  ].join()
  useEffect(() => {
    const element = host.current
    if (!element) return
    const plain = curves.length > 1
    const lines = curves.flatMap((curve, i) => {
      const own = linesOf(curve, styleOf(accents[i] ?? '--accent'), plain)
      // Where both are the same, the first shows on both sides of the second.
      return plain && i === 0 ? own.map((line) => ({ ...line, width: 2 * line.width })) : own
    })
    const scale = scaleOf(lines)
    const places = curves.map(({ recording, upTo }) =>
      spread(
        recording,
        recording.moments.slice(0, upTo + 1).map((_, i) => i + 1),
      ),
    )
    const longest = places.reduce((a, b) => (b.length > a.length ? b : a), [])
    const { length } = longest
    const x = longest.map((place, i) => place ?? (longest[i - 1] ?? 0) + 0.5)
    const pad = (values: (number | null)[]) => [
      ...values.map((value) => (scale === 'log' && !inLog(value) ? null : value)),
      ...Array.from({ length: length - values.length }, () => null),
    ]
    live.current = {
      bounds: rangeOf(lines, scale),
      edits: curves.flatMap(({ recording, upTo }) =>
        recording.edits.flatMap(({ from }) => (from >= 0 && from <= upTo ? [from + 1] : [])),
      ),
      marks: curves.flatMap(({ recording }, i) => {
        const index = at[i] ?? -1
        const moment = recording.moments[index]
        const energy = moment?.candidates[moment.leader]?.energy
        if (energy === undefined) return []
        return [{ x: index + 1, y: energy, stroke: styleOf(accents[i] ?? '--accent') }]
      }),
    }
    const shape = [
      settings,
      scale,
      ...lines.map(({ label: l, stroke, width }) => l + stroke + String(width)),
    ].join()
    const data = [x, ...lines.map(({ values }) => pad(values))] as uPlot.AlignedData
    if (plot.current?.shape === shape) plot.current.chart.setData(data)
    else {
      plot.current?.chart.destroy()
      const options = optionsOf(
        lines,
        sizeOf(element),
        scale,
        () => live.current.marks,
        () => live.current.bounds,
        () => live.current.edits,
        onSeek,
        hover,
      )
      plot.current = { chart: new uPlot(options, data, element), shape }
    }
  }, [
    version,
    settings,
    ...at,
    ...curves.map(({ upTo }) => upTo),
    ...curves.map((c) => c.recording),
  ])
  useEffect(() => {
    const element = host.current
    if (!element) return
    const observer = new ResizeObserver(() => {
      plot.current?.chart.setSize(sizeOf(element))
    })
    observer.observe(element)
    return () => {
      observer.disconnect()
      plot.current?.chart.destroy()
      plot.current = null
    }
  }, [])
  return <div class="chart" ref={host} role="img" aria-label={label} />
}
