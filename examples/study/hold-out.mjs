/**
 * Splits 9x9 puzzles into some to evaluate on and others to train on that are no relatives of these:
 *
 *     npm run build && node examples/study/hold-out.mjs PUZZLES.jsonl COUNT SEED OUT
 *
 * writes OUT-held.jsonl, COUNT lines drawn by SEED and rearranged by a random symmetry (published lists
 * are nearly in a canonical order), and OUT-train.jsonl, the others. A relative of a held-out puzzle is
 * left out of both: one whose solution, or whose pattern of givens together with their digits' counts,
 * cannot be told from the held-out one's by figures that no symmetry of the board and no renaming of
 * digits changes. So some that are no relatives are left out too, and none that is one stays.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { uniform } from '../../dist/refine/random.js'
import { boardSymmetry } from '../../dist/train/data/symmetries.js'

const [path, count, seed, out] = process.argv.slice(2)
const puzzles = readFileSync(path, 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line))

let draws = 0
const draw = (below) => Math.floor(uniform(Number(seed), 0, draws++) * below)

const sorted = (items) => [...items].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))

/** The lines of a board as words: its rows, or its columns. */
const rowsOf = (board) => Array.from({ length: 9 }, (_, i) => board.slice(9 * i, 9 * i + 9))
const columnsOf = (board) =>
  Array.from({ length: 9 }, (_, i) =>
    Array.from({ length: 9 }, (_, j) => board[9 * j + i]).join(''),
  )

/** Lengths of the cycles of the permutation of digits that takes one line to another. */
function cycles(from, to) {
  const next = new Map([...from].map((digit, i) => [digit, to[i]]))
  const lengths = []
  while (next.size > 0) {
    let [[digit]] = next
    let length = 0
    for (; next.has(digit); length++) {
      const after = next.get(digit)
      next.delete(digit)
      digit = after
    }
    lengths.push(length)
  }
  return sorted(lengths).join('')
}

/** Of three lines of a band: the cycles of its pairs, in an order that does not depend on theirs. */
const bandForm = (lines) =>
  sorted([
    cycles(lines[0], lines[1]),
    cycles(lines[0], lines[2]),
    cycles(lines[1], lines[2]),
  ]).join()

const bandsOf = (lines) => [0, 3, 6].map((at) => lines.slice(at, at + 3))

/** What no symmetry changes of a full board. */
const solutionForm = (board) =>
  sorted(
    [rowsOf(board), columnsOf(board)].map((lines) =>
      sorted(bandsOf(lines).map(bandForm)).join(';'),
    ),
  ).join('|')

/** What no symmetry changes of a puzzle: givens in the lines of each band, and of each digit. */
function puzzleForm(board) {
  const givens = (line) => 9 - (line.split('_').length - 1)
  const patterns = [rowsOf(board), columnsOf(board)].map((lines) =>
    sorted(bandsOf(lines).map((band) => sorted(band.map(givens)).join(''))).join(';'),
  )
  const digits = sorted([...'123456789'].map((digit) => board.split(digit).length - 1)).join('')
  return `${sorted(patterns).join('|')} ${digits}`
}

const places = puzzles.map((_, i) => i)
for (let i = 0; i < Number(count); i++) {
  const j = i + draw(places.length - i)
  ;[places[i], places[j]] = [places[j], places[i]]
}
const chosen = new Set(places.slice(0, Number(count)))
const held = puzzles.filter((_, i) => chosen.has(i))
const solutions = new Set(held.map(({ completion }) => solutionForm(completion)))
const forms = new Set(held.map(({ template }) => puzzleForm(template)))
const train = puzzles.filter(
  ({ template, completion }, i) =>
    !chosen.has(i) && !solutions.has(solutionForm(completion)) && !forms.has(puzzleForm(template)),
)

const shuffledHeld = held.map(({ template, completion, ...facts }) => {
  const order = boardSymmetry(81, draw)
  const rearranged = (board) => order.map((cell) => board[cell]).join('')
  return { template: rearranged(template), completion: rearranged(completion), ...facts }
})
const linesOf = (examples) => examples.map((example) => `${JSON.stringify(example)}\n`).join('')
writeFileSync(`${out}-held.jsonl`, linesOf(shuffledHeld))
writeFileSync(`${out}-train.jsonl`, linesOf(train))
const left = puzzles.length - held.length - train.length
console.log(`${held.length} held out, ${train.length} to train on, ${left} left out as relatives`)
