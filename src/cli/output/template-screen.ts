/** A whole answer that settles on a terminal: its drawing, the curve of its energy, a line of status. */
import picocolors from 'picocolors'
import type { WriteStream } from 'node:tty'
import type { TemplateLayout } from '../../model/config.js'
import { positionTexts } from '../../tokenizer/template-positions.js'
import { brailleCurve } from './braille.js'
import { drawTemplate, type Place } from './template-drawing.js'

/** What a step shows. */
export interface ShownStep {
  step: number
  energy: number
  best: number
  text: string
  /** The most probable reading of each position. */
  positions?: readonly { tokens: readonly string[]; probabilities: readonly number[] }[]
}

const CURVE = { width: 32, height: 6 }
const GAP = '   '
/** Colours take no room. */
const visible = (text: string): number => text.replace(/\x1b\[[0-9;]*m/g, '').length

export const figure = (value: number): string => value.toPrecision(3)

export class TemplateScreen {
  private lines = 0

  constructor(
    private readonly out: WriteStream,
    private readonly template: string,
    private readonly blank: string,
    private readonly layout: TemplateLayout | undefined,
  ) {}

  draw(step: ShownStep | undefined, energies: readonly number[]): void {
    const columns = this.out.columns
    const curve = this.curveOf(energies)
    const drawing = drawTemplate(this.placesOf(step), this.layout, Math.min(64, columns - 1))
    const width = Math.max(...drawing.map(visible))
    const beside = width + GAP.length + CURVE.width < columns
    const rows = beside
      ? Array.from({ length: Math.max(drawing.length, curve.length) }, (_, i) => {
          const left = drawing[i] ?? ''
          const right = curve[i]
          if (right === undefined) return left
          return `${left}${' '.repeat(width - visible(left))}${GAP}${right}`
        })
      : [...drawing, ...curve]
    const up = this.lines > 0 ? `\x1b[${String(this.lines)}A` : ''
    this.out.write(`${up}\r\x1b[J${rows.map((row) => `${row}\n`).join('')}`)
    this.lines = rows.length
  }

  private curveOf(energies: readonly number[]): string[] {
    const last = energies.at(-1)
    if (last === undefined) return []
    const first = energies[0] as number
    const rows = brailleCurve(energies, CURVE.width, CURVE.height).map((row) =>
      picocolors.cyan(row),
    )
    const status = `step ${String(energies.length)}, energy ${figure(first)} → ${figure(last)}`
    return [...rows, picocolors.dim(status)]
  }

  private placesOf(step: ShownStep | undefined): Place[] {
    const { layout } = this
    const read = step ? positionTexts(step.text, layout) : []
    return positionTexts(this.template, layout).map((known, i) => {
      if (known !== this.blank) return { text: known, given: true, certainty: 1 }
      const reading = step?.positions?.[i]
      const token = reading?.tokens[0] ?? read[i] ?? ''
      // A special token has no text of its own, nor part of a character.
      const legible = positionTexts(token, layout).length === 1
      const text = token === '' || legible ? token : '?'
      return { text, given: false, certainty: reading?.probabilities[0] ?? 1 }
    })
  }
}
