/** Sudokus whose solution hangs on one more rule. */
import { describe, expect, it } from 'vitest'
import { countSolutions, isSolution, sudokuBoxes } from '../../src/train/tasks/sudoku.js'
import { noRules, plainGroups, RuleSearch } from '../../src/train/tasks/sudoku-rules.js'
import { sudokuVariants, sudokuVariantTask } from '../../src/train/tasks/sudoku-variants.js'
import { drawExamples } from '../../src/train/tasks/task.js'

const givens = { 6: { min: 6, max: 12 }, 9: { min: 24, max: 30 } }
const boards = sudokuVariants.flatMap((variant) =>
  ([6, 9] as const).map((size) => ({ variant, size })),
)

interface Term {
  type: string
  positions?: number[][] | number[]
  equals?: number
  less?: number
  than?: number
  required?: boolean
}

/** Whether a full board obeys terms, read as a user would. */
const obeys = (board: string, terms: readonly Term[]): boolean =>
  terms.every(({ equals, less = 0, positions = [], than = 0, type }) => {
    const digit = (cell: number) => Number(board[cell])
    if (type === 'compare') return digit(less) < digit(than)
    if (type === 'sum')
      return (positions as number[]).reduce((sum, cell) => sum + digit(cell), 0) === equals
    return (positions as number[][]).every(
      (group) => new Set(group.map(digit)).size === group.length,
    )
  })

/** All solutions of the plain rules, found by trying digits in order. */
function solutions(puzzle: string, size: 6 | 9): string[] {
  const [boxRows, boxColumns] = sudokuBoxes[size]
  const groups = plainGroups(size, boxRows, boxColumns)
  const cells = Array.from(puzzle, (c) => (c === '_' ? 0 : Number(c)))
  const found: string[] = []
  const fits = (cell: number, digit: number) =>
    groups.every((group) => !group.includes(cell) || group.every((other) => cells[other] !== digit))
  const search = () => {
    let best: { cell: number; digits: number[] } | undefined
    for (let cell = 0; cell < cells.length; cell++) {
      if (cells[cell] !== 0) continue
      const digits = Array.from({ length: size }, (_, i) => i + 1).filter((d) => fits(cell, d))
      if (!best || digits.length < best.digits.length) best = { cell, digits }
    }
    if (!best) {
      found.push(cells.join(''))
      return
    }
    for (const digit of best.digits) {
      cells[best.cell] = digit
      search()
      cells[best.cell] = 0
    }
  }
  search()
  return found
}

describe.each(boards)('$variant, $size cells in a row', ({ size, variant }) => {
  const task = sudokuVariantTask({ variant, size, givens: givens[size] })
  const examples = [...drawExamples(task, { count: 3, seed: 5 })]

  it('has 2 to 8 solutions of which the rule allows one', () => {
    for (const { completion, facts, template, terms } of examples) {
      const all = solutions(template, size)
      expect(all.length).toBe(facts['solutions'])
      expect(all.length).toBeGreaterThanOrEqual(2)
      expect(all.length).toBeLessThanOrEqual(8)
      expect(all.filter((board) => obeys(board, terms as Term[]))).toEqual([completion])
      expect(isSolution(template, completion)).toBe(true)
      expect(template.length - (template.split('_').length - 1)).toBe(facts['givens'])
    }
  })

  it('is the same for the same seed, and has the rule as required terms', () => {
    expect([...drawExamples(task, { count: 3, seed: 5 })]).toEqual(examples)
    expect([...drawExamples(task, { count: 3, seed: 6 })]).not.toEqual(examples)
    for (const { terms } of examples) {
      expect(terms?.length).toBeGreaterThan(0)
      expect((terms as Term[]).every(({ required }) => required)).toBe(true)
    }
  })
})

describe('the solver of rules', () => {
  it('counts what the plain solver counts where there is no rule', () => {
    const [boxRows, boxColumns] = sudokuBoxes[6]
    const plain = plainGroups(6, boxRows, boxColumns)
    const task = sudokuVariantTask({ variant: 'diagonal', size: 6, givens: givens[6] })
    for (const { template } of drawExamples(task, { count: 10, seed: 8 })) {
      const cells = Uint8Array.from(template, (c) => (c === '_' ? 0 : Number(c)))
      expect(new RuleSearch(cells, 6, plain, noRules).count(20)).toBe(countSolutions(template, 20))
    }
  })

  it('finds no solution where givens break a rule', () => {
    const [boxRows, boxColumns] = sudokuBoxes[6]
    const plain = plainGroups(6, boxRows, boxColumns)
    const cells = new Uint8Array(36)
    cells[0] = 3
    const count = (rules: Partial<typeof noRules>) =>
      new RuleSearch(cells.slice(), 6, plain, { ...noRules, ...rules }).count(1)
    expect(count({})).toBe(1)
    expect(count({ rising: [{ less: 0, than: 1 }] })).toBe(1)
    expect(count({ cages: [{ cells: [0, 1], sum: 12 }] })).toBe(0)
    expect(count({ cages: [{ cells: [0, 1], sum: 6 }] })).toBe(0)
    cells[7] = 3
    expect(count({ groups: [[0, 7]] })).toBe(0)
  })
})
