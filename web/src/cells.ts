/** What stands at each position of a template at one moment: given, or read with some certainty. */
import { positionTexts } from '../../src/tokenizer/template-positions.js'
import type { StepEvent, Template } from './wire.js'

export interface Cell {
  /** What is drawn: the given text, or the most probable reading; empty before the first step. */
  text: string
  given: boolean
  /** Of `text`; 1 where it is given. */
  certainty: number
  /** Readings that are weighed, most probable first; none where it is given. */
  weighed: readonly { token: string; probability: number }[]
}

/** Tokens that stand for no text are longer than a cell. */
const SPECIAL = /^<\|.*\|>$/
export const isSpecial = (token: string): boolean => SPECIAL.test(token)
const legible = (token: string): string => (isSpecial(token) ? '∅' : token)

/** Below this probability a reading is not worth drawing. */
const FAINT = 0.02

/** Of a template in the layout of its model. */
export function cellsOf(
  template: string,
  { blank, layout }: Pick<Template, 'blank' | 'layout'>,
  step: StepEvent | undefined,
): Cell[] {
  const read = step ? positionTexts(step.text, layout) : []
  return positionTexts(template, layout).map((given, position) => {
    if (given !== blank) return { text: given, given: true, certainty: 1, weighed: [] }
    const told = step?.positions?.[position]
    if (!told) {
      const text = read[position] ?? ''
      return { text, given: false, certainty: text === '' ? 0 : 1, weighed: [] }
    }
    const weighed = told.tokens.flatMap((token, i) => {
      const probability = told.probabilities[i] ?? 0
      return probability >= FAINT ? [{ token: legible(token), probability }] : []
    })
    return {
      text: legible(told.tokens[0] ?? ''),
      given: false,
      certainty: told.probabilities[0] ?? 0,
      weighed,
    }
  })
}

/** Mean certainty of the positions that move, 0 before the first step. */
export function certaintyOf(cells: readonly Cell[]): number {
  const moving = cells.filter(({ given }) => !given)
  return moving.reduce((sum, { certainty }) => sum + certainty, 0) / Math.max(1, moving.length)
}
