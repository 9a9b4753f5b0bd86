/**
 * Digits to be put in order: `list>sorted`, both in columns of their own, `.` where a column has none.
 * With 16 columns `..3151..........>________________` is answered `..1135..........` behind the sign.
 * The list begins at a column drawn evenly, and its sorted form stands in the same columns, so that
 * longer lists than were trained on use the same positions.
 */
import { BLANK, checkRange, PAD, type Range, type Task } from './task.js'

export interface SortingOptions {
  /** Digits of a list, drawn evenly. */
  items: Range
  /** Columns that the block has for a list. */
  width: number
}

/** K = 2 width + 1 stays within a block of 4,096. */
const MAX_COLUMNS = 2047

export function sortingTask({ items, width }: SortingOptions): Task {
  checkRange('width', { min: width, max: width }, 2, MAX_COLUMNS)
  checkRange('items', items, 2, width)
  return {
    name: 'list',
    block: 2 * width + 1,
    alphabet: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '>', PAD],
    draw(draws) {
      const list = Array.from({ length: draws.within(items) }, () => draws.below(10))
      const offset = draws.below(width - list.length + 1)
      const column = (digits: readonly number[]) =>
        (PAD.repeat(offset) + digits.join('')).padEnd(width, PAD)
      const given = `${column(list)}>`
      return {
        template: given + BLANK.repeat(width),
        completion: given + column([...list].sort((a, b) => a - b)),
        facts: { items: list.length },
      }
    },
    form: (template) => template.slice(0, width).replaceAll(PAD, ''),
    answerForm: (completion) => `>${completion.slice(width + 1).replaceAll(PAD, '')}`,
  }
}
