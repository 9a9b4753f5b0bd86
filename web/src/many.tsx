/** Up to 64 answers at once, each over a socket of its own, on one canvas: they glow while they settle. */
import { signal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { slotLength } from '../../src/tokenizer/template-positions.js'
import { type Cell, cellsOf } from './cells.js'
import { Switch } from './controls.js'
import { ringOf, VERTEX_SIZE, vertexCell, vertexStyles } from './drawings/ring.js'
import { eachFrame } from './frames.js'
import { anotherInput } from './puzzles.js'
import { stepAt } from './recording.js'
import { Run } from './run.js'
import { models } from './server.js'
import { chooseModel, effort, input, model, notice, seed, speed, stepsOf } from './state.js'
import { conflictsOf, shuffled } from './sudoku.js'
import { styleOf, theme } from './theme.js'
import type { Model } from './wire.js'

const MOST = 64
const count = signal(64)
const runs = signal<readonly Run[]>([])
const hard = signal(false)
/** Frames drawn in the last second. */
const frames = signal(0)
const settled = signal(0)
const stepsTaken = signal(0)

/** Puzzles that are made; the others are these in other guises, since making one takes a while. */
const FRESH = 8

/** The same sudoku with its digits renamed; other questions stay as they are. */
function guiseOf(question: string, { capabilities }: Model, change: boolean): string {
  const layout = capabilities.template?.layout
  if (!change || layout?.kind !== 'sudoku') return question
  const digits = Array.from({ length: layout.columns }, (_, i) => String(i + 1))
  const names = shuffled(digits, Math.random)
  return Array.from(question, (text) => names[digits.indexOf(text)] ?? text).join('')
}

function begin(chosen: Model): void {
  for (const each of runs.value) each.close()
  const { template } = chosen.capabilities
  const fresh = Array.from({ length: Math.min(FRESH, count.value) }, (_, i) =>
    i === 0 ? input.value : anotherInput(chosen, hard.value, ''),
  )
  runs.value = Array.from({ length: count.value }, (_, i) => {
    const question = guiseOf(fresh[i % fresh.length] ?? '', chosen, i >= fresh.length)
    return new Run(
      {
        model: chosen.id,
        ...(template ? { template: question } : { prompt: question, max_tokens: 24 }),
        seed: seed.value + i,
        reasoning_effort: effort.value,
      },
      {
        pace: speed(),
        budget: stepsOf(effort.value, chosen),
        hold: false,
      },
    )
  })
}

interface Colours {
  ink: string
  panel: string
  line: string
  accent: string
  wrong: string
  font: string
  /** Of the vertices of a graph, by the text of their colour. */
  vertices: Readonly<Record<string, string>>
}

/** 1 at the first energy, 0 where it is as good as right, evenly in its logarithm. */
function heatOf(energy: number, first: number, { energy_target }: Model['capabilities']): number {
  const floor = energy_target !== null && energy_target > 0 ? energy_target : first / 1000
  if (!(first > floor && floor > 0)) return 0
  const share = Math.log(Math.max(energy, floor) / floor) / Math.log(first / floor)
  return Math.min(1, share)
}

/** One answer in a square of the canvas; its ground glows with what is left of its energy. */
function paintOne(
  context: CanvasRenderingContext2D,
  each: Run,
  { capabilities }: Model,
  colours: Colours,
  [left, top, size]: readonly [number, number, number],
): void {
  const { moments } = each.recording
  const moment = moments[each.cursor.value]
  const step = stepAt(moment)
  const glow = step ? heatOf(step.energy, stepAt(moments[0])?.energy ?? 0, capabilities) : 0
  context.fillStyle = colours.panel
  context.fillRect(left, top, size, size)
  context.globalAlpha = 0.75 * glow
  context.fillStyle = colours.accent
  context.fillRect(left, top, size, size)
  context.globalAlpha = 1
  const { template } = capabilities
  if (!template) {
    const text = (each.request.prompt ?? '') + each.recording.pieces.map((p) => p.text).join('')
    paintText(context, text, colours, [left, top, size])
    return
  }
  const question = each.request.template ?? ''
  const cells = cellsOf(question, template, step)
  const { layout } = template
  if (layout?.kind === 'graph') {
    paintGraph(context, cells, colours, [left, top, size])
    return
  }
  const columns =
    layout?.kind === 'sudoku' || layout?.kind === 'maze'
      ? layout.columns
      : layout?.kind === 'sum'
        ? layout.columns + 1
        : layout?.kind === 'sentences'
          ? slotLength(layout)
          : Math.ceil(Math.sqrt(cells.length))
  const unit = size / columns
  context.strokeStyle = colours.line
  context.lineWidth = 1
  context.strokeRect(left + 0.5, top + 0.5, size - 1, size - 1)
  const wrong =
    layout?.kind === 'sudoku'
      ? conflictsOf(
          cells.map(({ certainty, text }) => (certainty > 0.5 ? text : '')),
          layout,
        )
      : new Set<number>()
  cells.forEach(({ certainty, given, text }, position) => {
    const column = position % columns
    const row = Math.floor(position / columns)
    const x = left + ((layout?.kind === 'sum' ? columns - 1 - column : column) + 0.5) * unit
    const y = top + (row + 0.55) * unit
    if (text === '' || text === '.') return
    if (layout?.kind === 'maze' && (text === '#' || text === 'x')) {
      context.globalAlpha = text === 'x' ? certainty : 0.75
      context.fillStyle = text === 'x' ? colours.accent : colours.ink
      context.fillRect(x - unit / 2, y - 0.55 * unit, unit, unit)
      context.globalAlpha = 1
      return
    }
    context.globalAlpha = given ? 1 : 0.15 + 0.75 * certainty ** 2
    context.fillStyle = wrong.has(position) ? colours.wrong : colours.ink
    context.font = `${given ? '700' : '400'} ${String(Math.round(unit * 0.72))}px ${colours.font}`
    context.fillText(text, x, y)
  })
  context.globalAlpha = 1
}

/** Edges, and at each vertex the colour that it has by now, as darkly as it is sure. */
function paintGraph(
  context: CanvasRenderingContext2D,
  cells: readonly Cell[],
  colours: Colours,
  [left, top, size]: readonly [number, number, number],
): void {
  const inset = 0.06 * size
  const at = (x: number, y: number): [number, number] => [
    left + inset + (size - 2 * inset) * x,
    top + inset + (size - 2 * inset) * y,
  ]
  const { edges, vertices } = ringOf(cells.map(({ given, text }) => (given ? text : '')))
  context.strokeStyle = colours.line
  context.lineWidth = 1
  context.strokeRect(left + 0.5, top + 0.5, size - 1, size - 1)
  context.beginPath()
  for (const [a, b] of edges) {
    context.moveTo(...at(a.x, a.y))
    context.lineTo(...at(b.x, b.y))
  }
  context.stroke()
  for (const vertex of vertices) {
    const { certainty, given, text } = vertexCell(vertex, cells)
    context.globalAlpha = 0.15 + 0.85 * certainty ** 2
    context.fillStyle = colours.vertices[text] ?? colours.line
    context.beginPath()
    context.arc(
      ...at(vertex.x, vertex.y),
      ((given ? 0.5 : 0.4) * VERTEX_SIZE + 0.01) * size,
      0,
      2 * Math.PI,
    )
    context.fill()
  }
  context.globalAlpha = 1
}

function paintText(
  context: CanvasRenderingContext2D,
  text: string,
  colours: Colours,
  [left, top, size]: readonly [number, number, number],
): void {
  const font = Math.max(8, size / 12)
  context.fillStyle = colours.ink
  context.font = `${String(font)}px ${colours.font}`
  context.textAlign = 'left'
  const perLine = Math.floor((size - 8) / (font * 0.52))
  for (let line = 0; line * perLine < text.length && line < 9; line++)
    context.fillText(
      text.slice(line * perLine, (line + 1) * perLine),
      left + 4,
      top + font * (1 + line * 1.25),
    )
  context.textAlign = 'center'
}

/** As little empty as can be: about twice as wide as high, or on a narrow screen higher than wide. */
function columnsFor(answers: number, width: number): number {
  const [least, most] = width < 640 ? [0.4, 0.8] : [1.2, 2.8]
  const bound = (shape: number): number => Math.max(1, Math.ceil(Math.sqrt(answers * shape)))
  const empty = (columns: number): number => Math.ceil(answers / columns) * columns - answers
  let best = bound(least)
  for (let columns = best; columns <= bound(most); columns++)
    if (empty(columns) <= empty(best)) best = columns
  return best
}

/** Draws what has changed since the last frame, of these runs and in the colours of one theme. */
class Wall {
  private drawn: number[] = []
  private shape = ''
  private colours: Colours | undefined

  constructor(
    private readonly all: readonly Run[],
    private readonly chosen: Model,
  ) {}

  paint(canvas: HTMLCanvasElement): void {
    const { all, chosen } = this
    const width = canvas.clientWidth
    const columns = columnsFor(all.length, width)
    const rows = Math.max(1, Math.ceil(all.length / columns))
    const gap = 8
    const size = (width - gap * (columns - 1)) / columns
    const height = rows * (size + gap)
    const ratio = devicePixelRatio
    const shape = [width, ratio].join()
    const context = canvas.getContext('2d')
    if (!context || width === 0) return
    if (shape !== this.shape) {
      canvas.width = width * ratio
      canvas.height = height * ratio
      canvas.style.height = `${String(height)}px`
      this.shape = shape
      this.drawn = all.map(() => Number.NaN)
      this.colours = {
        ink: styleOf('--ink'),
        panel: styleOf('--panel'),
        line: styleOf('--line'),
        accent: styleOf('--accent'),
        wrong: styleOf('--wrong'),
        font: styleOf('--sans'),
        vertices: Object.fromEntries(
          Object.entries(vertexStyles).map(([text, name]) => [text, styleOf(name)]),
        ),
      }
    }
    const { colours } = this
    if (!colours) return
    context.setTransform(ratio, 0, 0, ratio, 0, 0)
    context.textAlign = 'center'
    context.textBaseline = 'middle'
    all.forEach((each, i) => {
      const state = each.cursor.peek() + (each.recording.pieces.length + 1) * 1e6
      if (this.drawn[i] === state) return
      this.drawn[i] = state
      const left = (i % columns) * (size + gap)
      const top = Math.floor(i / columns) * (size + gap)
      context.clearRect(left, top, size, size)
      paintOne(context, each, chosen, colours, [left, top, size])
    })
  }
}

export function ManyView() {
  const canvas = useRef<HTMLCanvasElement>(null)
  const chosen = model.value
  const all = runs.value
  useEffect(() => {
    const wall = chosen && new Wall(all, chosen)
    let counted = performance.now()
    let drawn = 0
    return eachFrame((seconds, now) => {
      for (const each of all) each.advance(seconds)
      if (canvas.current) wall?.paint(canvas.current)
      drawn++
      if (now - counted >= 1000) {
        frames.value = Math.round((1000 * drawn) / (now - counted))
        settled.value = all.filter((each) => !each.live && each.cursor.value >= each.last).length
        stepsTaken.value = all.reduce((sum, each) => sum + each.recording.moments.length, 0)
        drawn = 0
        counted = now
      }
    })
  }, [all, chosen, theme.value])
  useEffect(
    () => () => {
      for (const each of runs.value) each.close()
      runs.value = []
    },
    [],
  )
  useEffect(() => {
    if (all.length > 0) notice.value = `${String(settled.value)} of ${String(all.length)} settled`
  }, [settled.value])
  if (!chosen) return null
  const failed = all.filter((each) => each.phase.value === 'failed')
  return (
    <div class="many">
      <section class="panel many-bar" aria-label="How many">
        <p class="hint">
          Answers of different people share one batch: each takes its own steps, and none waits for
          another. A square glows as long as its energy is high.
        </p>
        <div class="field">
          <label for="many-model">Model</label>
          <select
            id="many-model"
            value={chosen.id}
            onChange={({ currentTarget }) => {
              for (const each of runs.value) each.close()
              runs.value = []
              chooseModel(currentTarget.value)
            }}
          >
            {models.value.map(({ id }) => (
              <option key={id}>{id}</option>
            ))}
          </select>
        </div>
        <div class="slider">
          <label for="many-count">answers</label>
          <output for="many-count">{count.value}</output>
          <input
            id="many-count"
            type="range"
            min={1}
            max={MOST}
            value={count.value}
            style={{ '--done': `${String((100 * (count.value - 1)) / (MOST - 1))}%` }}
            onInput={({ currentTarget }) => (count.value = Number(currentTarget.value))}
          />
        </div>
        <Switch of={hard} name="harder ones" />
        <button type="button" class="primary" onClick={() => begin(chosen)}>
          {all.length > 0 ? 'Again' : `Begin ${String(count.value)}`}
        </button>
      </section>
      {failed.length > 0 && (
        <p class="note" role="alert">
          {failed.length} failed: {failed[0]?.failure.value}.
        </p>
      )}
      <canvas
        ref={canvas}
        class="wall"
        role="img"
        aria-label={`${String(all.length)} answers, ${String(settled.value)} of them settled`}
      />
      <p class="state many-state" data-frames={frames.value} data-settled={settled.value}>
        {all.length > 0 ? (
          <>
            <span class="where">
              {settled.value} of {all.length} settled
            </span>
            <span>
              {stepsTaken.value} steps, {frames.value} frames a second
            </span>
          </>
        ) : (
          <span>
            {count.value} answers of up to {stepsOf(effort.value, chosen)} steps each
          </span>
        )}
      </p>
    </div>
  )
}
