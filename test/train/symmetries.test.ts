import { writeFileSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { uniform } from '../../src/refine/random.js'
import { JsonlSource } from '../../src/train/data/jsonl.js'
import { boardSymmetry, hasSymmetries, symmetryDraws } from '../../src/train/data/symmetries.js'
import { isSolution, sudokuTask } from '../../src/train/tasks/sudoku.js'
import { drawExamples } from '../../src/train/tasks/task.js'
import { openTokenizer } from '../../src/tokenizer/tokenizer.js'
import { configOf } from '../support/models.js'

const drawsOf = (seed: number) => {
  let draws = 0
  const draw = (below: number): number => Math.floor(uniform(seed, 1, draws++) * below)
  return { draw, used: () => draws }
}

const boardOf = (size: 4 | 6 | 9) => {
  const task = sudokuTask({ size, givens: { min: size * size, max: size * size } })
  const [example] = [...drawExamples(task, { count: 1, seed: 5, exclude: new Set<string>() })]
  return (example as { completion: string }).completion
}

describe('symmetries of a board', () => {
  it.each([4, 6, 9] as const)('take a solution to another one, %i cells in a row', (size) => {
    const board = boardOf(size)
    const seen = new Set<string>()
    for (let seed = 0; seed < 40; seed++) {
      const { draw, used } = drawsOf(seed)
      const order = boardSymmetry(board.length, draw)
      expect(used()).toBe(symmetryDraws(board.length))
      expect([...order].sort((a, b) => a - b)).toEqual([...order.keys()])
      const moved = order.map((cell) => board[cell]).join('')
      expect(isSolution('_'.repeat(board.length), moved)).toBe(true)
      seen.add(moved)
    }
    expect(seen.size).toBeGreaterThan(20)
  })

  it('transpose square boxes half of the time, and others never', () => {
    const rowsStay = (cells: number, seed: number): boolean => {
      const size = Math.sqrt(cells)
      const order = boardSymmetry(cells, drawsOf(seed).draw)
      return Math.floor((order[0] as number) / size) === Math.floor((order[1] as number) / size)
    }
    const stay = (cells: number) =>
      Array.from({ length: 200 }, (_, seed) => rowsStay(cells, seed)).filter(Boolean).length
    expect(stay(36)).toBe(200)
    expect(stay(81)).toBeGreaterThan(70)
    expect(stay(81)).toBeLessThan(130)
  })

  it('are known for boards only', () => {
    expect([16, 36, 81].every(hasSymmetries)).toBe(true)
    expect(hasSymmetries(25)).toBe(false)
  })
})

describe('training examples under symmetries', () => {
  const tokenizer = openTokenizer('models/sudoku6')
  const config = configOf({ vocab_size: tokenizer.vocabSize, answer: { block: 36 } })
  const relabel = Array.from('123456').map((digit) => tokenizer.encode(digit)[0] as number)
  const task = sudokuTask({ size: 6, givens: { min: 10, max: 14 } })
  const examples = [...drawExamples(task, { count: 5, seed: 2, exclude: new Set<string>() })]
  const path = join(mkdtempSync(join(tmpdir(), 'basin-symmetries-')), 'boards.jsonl')
  writeFileSync(
    path,
    examples
      .map(({ template, completion }) => `${JSON.stringify({ template, completion })}\n`)
      .join(''),
  )
  const open = (symmetries: boolean) =>
    new JsonlSource(path, { tokenizer, config, seed: 4, relabel, symmetries })
  const textOf = (tokens: readonly number[]): string =>
    tokens.map((token) => (token < 0 ? '_' : tokenizer.decode([token]))).join('')

  it('are puzzles with their solutions still', () => {
    for (const { answer, clamped } of open(true).batch(3, 20))
      expect(isSolution(textOf(clamped), textOf(answer))).toBe(true)
  })

  it('are a function of seed and update, and others than without', () => {
    expect(open(true).batch(3, 8)).toEqual(open(true).batch(3, 8))
    expect(open(true).batch(3, 8)).not.toEqual(open(true).batch(4, 8))
    expect(open(true).batch(3, 8)).not.toEqual(open(false).batch(3, 8))
  })

  it('are refused where answers are no boards', () => {
    const other = configOf({ vocab_size: tokenizer.vocabSize, answer: { block: 12 } })
    expect(
      () => new JsonlSource(path, { tokenizer, config: other, seed: 1, symmetries: true }),
    ).toThrow(/16, 36 or 81 cells/)
  })
})
