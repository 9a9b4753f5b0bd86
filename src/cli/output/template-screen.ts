/** A whole answer that settles on a terminal: its drawing, the curve of its energy, a line of status. */
import picocolors from 'picocolors'
import type { WriteStream } from 'node:tty'
import type { ReadAnswer, TemplateShape } from '../answers/answer-events.js'
import { positionTexts } from '../../tokenizer/template-positions.js'
import { brailleCurve } from './braille.js'
import { drawTemplate, type Place } from './template-drawing.js'

const CURVE = { width: 32, height: 6 }
const GAP = '   '
/** Colours take no room. */
const visible = (text: string): number => text.replace(/\x1b\[[0-9;]*m/g, '').length

export const figure = (value: number): string => value.toPrecision(3)

export class TemplateScreen {
  private lines = 0
  /** What the template says of each position. */
  private readonly written: readonly string[]

  constructor(
    private readonly out: WriteStream,
    template: string,
    private readonly shape: TemplateShape,
  ) {
    this.written = positionsOf(template, shape)
  }

  draw(step: ReadAnswer | undefined, energies: readonly number[]): void {
    const columns = this.out.columns
    const curve = this.curveOf(energies)
    const drawing = drawTemplate(this.placesOf(step), this.shape.layout, columns - 1)
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

  private placesOf(step: ReadAnswer | undefined): Place[] {
    const { blank, layout } = this.shape
    const read = step ? positionTexts(step.text, layout) : []
    return this.written.map((known, i) => {
      const reading = step?.positions?.[i]
      const token = reading?.tokens[0] ?? read[i]
      // Marks of blanks other than the model's own are read as something else.
      if (known !== blank && known === (token ?? known))
        return { text: known, given: true, certainty: 1 }
      // A special token has no text of its own, nor part of a character.
      const legible =
        token === undefined || token === '' || positionTexts(token, layout).length === 1
      const text = legible ? (token ?? '') : '?'
      return { text, given: false, certainty: reading?.probabilities[0] ?? 1 }
    })
  }
}

/** Templates of one length may be laid out in lines, with spaces between. */
function positionsOf(template: string, { layout, length }: TemplateShape): string[] {
  const positions = [...positionTexts(template, layout)]
  if (length === undefined || positions.length === length) return positions
  return [...positionTexts(template.replace(/\s/gu, ''), layout)]
}
