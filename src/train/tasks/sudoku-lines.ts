/**
 * Lines of sudoku collections, `id puzzle rating`, where 0, `.` or `_` is a blank. The solution is worked
 * out here. This file parses text and reads no files.
 */
import { countSolutions, isSudokuSize, puzzleExample, solve } from './sudoku.js'
import type { TaskExample } from './task.js'

export type PuzzleLine = { example: TaskExample } | { reason: string }

const isBoard = (word: string): boolean =>
  isSudokuSize(Math.sqrt(word.length)) && /^[0-9._]+$/.test(word)

/** The first word that is a board is the puzzle; the first number after it, if any, is its rating. */
export function readPuzzleLine(text: string): PuzzleLine {
  const words = text.trim().split(/[\s,;]+/)
  const place = words.findIndex(isBoard)
  const board = words[place]?.replaceAll(/[0.]/g, '_')
  if (board === undefined) return { reason: 'no board of 16, 36 or 81 cells' }
  const size = Math.sqrt(board.length)
  if (Array.from(board).some((digit) => Number(digit) > size))
    return { reason: `a digit above ${size}` }
  const solutions = countSolutions(board)
  if (solutions !== 1) return { reason: solutions === 0 ? 'no solution' : 'more than one solution' }
  if (!board.includes('_')) return { reason: 'no blank' }
  const example = puzzleExample(board, solve(board) as string)
  const rating = words.slice(place + 1).find((word) => /^[0-9]+(\.[0-9]+)?$/.test(word))
  if (rating === undefined) return { example }
  return { example: { ...example, facts: { ...example.facts, rating: Number(rating) } } }
}
