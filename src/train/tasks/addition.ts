/**
 * Sums of two numbers, written so that a carry travels from position to position: `a+b=s`, least
 * significant digit first, both numbers in columns of their own, `.` where a column has no digit.
 * With 12 columns `93..........+7...........=_____________` is 39 + 7, and its sum `64...........`.
 *
 * Column j of a stands at j, of b at width + 1 + j, of the sum at 2 width + 2 + j: always as far apart.
 * The numbers begin at a column drawn evenly, so that no position of the block is ever untrained, and
 * longer numbers than were trained on differ from shorter ones only in how far a carry may travel.
 */
import {
  checkRange,
  BLANK,
  PAD,
  type Draws,
  type Range,
  type Task,
  type TaskExample,
} from './task.js'

export interface AdditionOptions {
  /** Digits of the longer number, drawn evenly. */
  digits: Range
  /** Columns that the block has for each number. */
  width: number
}

/** The most columns: K = 3 width + 3 stays within a block of 4,096. */
const WIDEST = 1364

/** Digits of one number, least significant first. */
type Digits = readonly number[]

const digitAt = (digits: Digits, column: number): number => digits[column] ?? 0

/** The sum's digits, and the most columns that one carry goes through. */
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
    // A pair of 10 or more sends a carry of its own; a pair of 9 passes on the one it was given.
    travelled = carried === 0 ? 0 : pair >= 10 ? 1 : travelled + 1
    longest = Math.max(longest, travelled)
  }
  if (carried > 0) sum.push(carried)
  return { sum, carry: longest }
}

/**
 * Two numbers in which a run of columns adds up to 9, its length and place drawn evenly: a carry passes
 * through all of it, and whether there is one is decided before it. Other columns are drawn evenly.
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

const columns = (digits: Digits, offset: number, width: number): string =>
  (PAD.repeat(offset) + digits.join('')).padEnd(width, PAD)

/** `width` columns from `offset` on. */
function layOut(a: Digits, b: Digits, offset: number, width: number): TaskExample {
  const { sum, carry } = add(a, b)
  const given = `${columns(a, offset, width)}+${columns(b, offset, width)}=`
  return {
    template: given + BLANK.repeat(width + 1),
    completion: given + columns(sum, offset, width + 1),
    facts: { digits: Math.max(a.length, b.length), carry },
  }
}

export function additionTask({ digits, width }: AdditionOptions): Task {
  checkRange('width', { min: width, max: width }, 1, WIDEST)
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
      return layOut(a, b, draws.below(width - long + 1), width)
    },
    /** The two numbers in either order, wherever they stand. */
    form(template) {
      const [a = '', b = ''] = template.split(/[+=]/)
      const start = Math.min(a.search(/[0-9]/), b.search(/[0-9]/))
      const bare = [a, b].map((number) => number.slice(start).replaceAll(PAD, ' ').trimEnd())
      return bare.sort().join('+')
    },
    answerForm: (completion) => completion.slice(2 * width + 2).replaceAll(PAD, ''),
  }
}
