/**
 * Sums of two numbers, `a+b=s`, least significant digit first, each number in columns of its own and `.`
 * in a column without a digit, so that a carry travels from position to position. With 12 columns,
 * `93..........+7...........=_____________` is 39 + 7, and its sum is `64...........`.
 *
 * Column j of a is position j, that of b is width + 1 + j, that of the sum is 2 width + 2 + j, so that
 * their distances are always the same. The numbers begin at a random column: no position of the block
 * stays untrained, and numbers longer than those trained on differ from shorter ones only in how far a
 * carry may travel.
 */
import {
  BLANK,
  checkRange,
  inColumns,
  PAD,
  type Draws,
  type Range,
  type Task,
  type TaskExample,
} from './task.js'

export interface AdditionOptions {
  /** Number of digits of the longer number, each with equal probability. */
  digits: Range
  /** Columns that the block has for each number. */
  width: number
}

/** The largest width for which K = 3 width + 3 is at most 4,096. */
const MAX_COLUMNS = 1364

/** Digits of one number, least significant first. */
type Digits = readonly number[]

const digitAt = (digits: Digits, column: number): number => digits[column] ?? 0

/** The sum's digits, and the largest number of columns that one carry goes through. */
export function add(a: Digits, b: Digits): { sum: number[]; carry: number } {
  const sum: number[] = []
  let carried = 0
  let travelled = 0
  let longest = 0
  for (let column = 0; column < Math.max(a.length, b.length); column++) {
    const pair = digitAt(a, column) + digitAt(b, column)
    const total = pair + carried
    sum.push(total % 10)
    carried = total >= 10 ? 1 : 0
    // A pair of 10 or more makes a carry; a pair of 9 passes a carry on.
    travelled = carried === 0 ? 0 : pair >= 10 ? 1 : travelled + 1
    longest = Math.max(longest, travelled)
  }
  if (carried > 0) sum.push(carried)
  return { sum, carry: longest }
}

/**
 * Draws two numbers. The pairs of digits in a run of columns, of random length and place, add up to 9: a
 * carry that enters the run passes through all of it. Digits elsewhere are drawn with equal probability.
 */
function drawNumbers(draws: Draws, long: number, short: number): [number[], number[]] {
  const run = draws.below(long + 1)
  const first = draws.below(long - run + 1)
  const a: number[] = []
  const b: number[] = []
  for (let column = 0; column < long; column++) {
    const nine = column >= first && column < first + run
    // The leading digit of a number is not 0.
    const least = column === long - 1 ? 1 : 0
    if (column < short) {
      const other = column === short - 1 ? 1 : 0
      const digit = draws.within({ min: least, max: nine ? 9 - other : 9 })
      a.push(digit)
      b.push(nine ? 9 - digit : draws.within({ min: other, max: 9 }))
    } else a.push(nine ? 9 : draws.within({ min: least, max: 9 }))
  }
  return [a, b]
}

/** The example of two numbers whose first column is `offset`. */
function exampleOf(a: Digits, b: Digits, offset: number, width: number): TaskExample {
  const { sum, carry } = add(a, b)
  const given = `${inColumns(a, offset, width)}+${inColumns(b, offset, width)}=`
  return {
    template: given + BLANK.repeat(width + 1),
    completion: given + inColumns(sum, offset, width + 1),
    facts: { digits: Math.max(a.length, b.length), carry },
  }
}

export function additionTask({ digits, width }: AdditionOptions): Task {
  checkRange('width', { min: width, max: width }, 1, MAX_COLUMNS)
  checkRange('digits', digits, 1, width)
  return {
    name: 'addition',
    block: 3 * width + 3,
    layout: { kind: 'sum', columns: width },
    alphabet: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '+', '=', PAD],
    draw(draws) {
      const long = draws.within(digits)
      const short = draws.share() < 0.5 ? long : draws.within({ min: 1, max: long })
      const numbers = drawNumbers(draws, long, short)
      const [a, b] = draws.share() < 0.5 ? numbers : [numbers[1], numbers[0]]
      return exampleOf(a, b, draws.below(width - long + 1), width)
    },
    /** Does not depend on the order of the two numbers, nor on their first column. */
    form(template) {
      const [a = '', b = ''] = template.split(/[+=]/)
      const start = Math.min(a.search(/[0-9]/), b.search(/[0-9]/))
      const bare = [a, b].map((number) => number.slice(start).replaceAll(PAD, ' ').trimEnd())
      return bare.sort().join('+')
    },
    answerForm: (completion) => completion.slice(2 * width + 2).replaceAll(PAD, ''),
  }
}
