/**
 * Digits to be sorted: `list>sorted`, each in columns of its own, with `.` in a column without a digit.
 * With 16 columns, the answer of `..3151..........>________________` ends in `..1135..........`. The list
 * begins at a random column, and its sorted form is in the same columns, so that lists longer than those
 * trained on use the same positions.
 */
import { BLANK, checkRange, inColumns, PAD, type Range, type Task } from './task.js'

export interface SortingOptions {
  /** Number of digits of a list, each with equal probability. */
  items: Range
  /** Columns that the block has for a list. */
  width: number
}

/** The largest width for which K = 2 width + 1 is at most 4,096. */
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
      const sorted = [...list].sort((a, b) => a - b)
      const given = `${inColumns(list, offset, width)}>`
      return {
        template: given + BLANK.repeat(width),
        completion: given + inColumns(sorted, offset, width),
        facts: { items: list.length },
      }
    },
    form: (template) => template.slice(0, width).replaceAll(PAD, ''),
    answerForm: (completion) => `>${completion.slice(width + 1).replaceAll(PAD, '')}`,
  }
}
