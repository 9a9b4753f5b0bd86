/**
 * A product of two models, each of which knows a part of the rules of sudokus of 4x4. `rows` is trained on boards
 * whose rows and boxes hold every digit once and whose columns are as they come, `columns` on boards whose columns
 * and boxes do. Asked for sudokus, which have one solution only where all three rules hold, each alone
 * guesses; the sum of their energies knows all of them.
 *
 *     npm run build && node examples/study/product.mjs [--work DIRECTORY] [--updates 200] [--boards 100] [--steps 32]
 *
 * trains both (a training that was cut short goes on, one that is done is not repeated), and asks `rows` for
 * held-out squares with the energy of `columns` as a term of several weights, and the other way round. Printed are the
 * shares of boards that are right, and the mean number of equal pairs within a row and within a column: a
 * negative weight is to raise those of the model that it is pushed away from.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { uniform } from '../../dist/refine/random.js'
import { coreRequest, noisyBudget, openCore, percent } from './measure.mjs'

const SIDE = 4
const BLOCK = SIDE * SIDE
const DIGITS = '1234'
const TRAINING_ROWS = 8_000
const CANDIDATES = 8
/** Most solutions of a puzzle without one of the rules. */
const MOST_ALONE = 8

const { values } = parseArgs({
  options: {
    work: { type: 'string', default: join(tmpdir(), 'basin-product') },
    updates: { type: 'string', default: '200' },
    boards: { type: 'string', default: '100' },
    steps: { type: 'string', default: '32' },
    weights: { type: 'string', default: '-8,-2,0,1,2,4,8,16,32' },
  },
})
const project = (path) => new URL(`../../${path}`, import.meta.url).pathname
const place = (name) => join(values.work, name)
mkdirSync(values.work, { recursive: true })

/** Draws of one seed, in their order. */
const drawing = (seed) => {
  let n = 0
  return (below) => Math.floor(uniform(seed, 0, n++) * below)
}

function shuffled(items, draw) {
  const all = [...items]
  for (let i = all.length - 1; i > 0; i--) {
    const j = draw(i + 1)
    ;[all[i], all[j]] = [all[j], all[i]]
  }
  return all
}

const cells = Array.from({ length: BLOCK }, (_, cell) => cell)
const rowOf = (cell) => Math.floor(cell / SIDE)
const columnOf = (cell) => cell % SIDE
const boxOf = (cell) => 2 * Math.floor(rowOf(cell) / 2) + Math.floor(columnOf(cell) / 2)

/** For each cell the cells that must hold other digits, where groups of cells hold every digit once. */
const peersBy = (...groupings) =>
  cells.map((cell) =>
    cells.filter((other) => other !== cell && groupings.some((of) => of(other) === of(cell))),
  )
const rules = {
  rows: peersBy(rowOf, boxOf),
  columns: peersBy(columnOf, boxOf),
  both: peersBy(rowOf, columnOf, boxOf),
}

/** Boards that fill a template, at most `most`, digits tried in the order of `order`. */
function solutions(template, peers, most, order = DIGITS, found = []) {
  const at = template.indexOf('_')
  if (at < 0) {
    found.push(template)
    return found
  }
  for (const digit of order) {
    if (peers[at].some((other) => template[other] === digit)) continue
    solutions(template.slice(0, at) + digit + template.slice(at + 1), peers, most, order, found)
    if (found.length >= most) return found
  }
  return found
}

/** A random board of these rules: cells are filled in order, each with a random digit that still has a solution. */
function randomBoard(peers, draw) {
  let board = '_'.repeat(BLOCK)
  for (const cell of cells) {
    const fits = (digit) =>
      solutions(board.slice(0, cell) + digit + board.slice(cell + 1), peers, 1).length > 0
    const digit = shuffled(DIGITS, draw).find(
      (each) => peers[cell].every((other) => board[other] !== each) && fits(each),
    )
    board = board.slice(0, cell) + digit + board.slice(cell + 1)
  }
  return board
}

/** Givens are taken away in a random order as long as the solution is the only one, and `least` are left. */
function puzzle(peers, least, draw) {
  const board = randomBoard(peers, draw)
  let template = board
  let givens = BLOCK
  for (const cell of shuffled(cells, draw)) {
    if (givens === least) break
    const without = template.slice(0, cell) + '_' + template.slice(cell + 1)
    if (solutions(without, peers, 2).length > 1) continue
    template = without
    givens--
  }
  return { template, completion: board }
}

function train(name) {
  const data = place(`${name}.jsonl`)
  const draw = drawing(name === 'rows' ? 1 : 2)
  const lines = Array.from({ length: TRAINING_ROWS }, () =>
    JSON.stringify(puzzle(rules[name], 5 + draw(6), draw)),
  )
  writeFileSync(data, `${lines.join('\n')}\n`)
  const model = JSON.parse(readFileSync(project('models/sudoku6/config.json'), 'utf8'))
  delete model.energy_target
  const config = {
    ...model,
    name,
    description: `4x4 sudokus of which it knows ${name} and boxes`,

    vocab_size: DIGITS.length + 1,
    dim: 64,
    layers: 2,
    ffn_dim: 176,
    context_length: BLOCK + 1,
    answer: { ...model.answer, block: BLOCK },
    template: { blank: '_', length: BLOCK, example: JSON.parse(lines[0]).template },
  }
  const tokenizer = JSON.parse(readFileSync(project('models/sudoku6/tokenizer.json'), 'utf8'))
  const special = { [tokenizer.bos]: DIGITS.length }
  mkdirSync(place(`${name}-given`), { recursive: true })
  writeFileSync(join(place(`${name}-given`), 'config.json'), JSON.stringify(config))
  writeFileSync(
    join(place(`${name}-given`), 'tokenizer.json'),
    JSON.stringify({ ...tokenizer, alphabet: Array.from(DIGITS), special }),
  )
  if (existsSync(join(place(name), 'done'))) return
  const words = ['train', '--config', join(place(`${name}-given`), 'config.json')]
  words.push(
    '--tokenizer',
    place(`${name}-given`),
    '--data',
    data,
    '--valid',
    data,
    '--relabel',
    DIGITS,
  )
  words.push('--batch', '64', '--updates', values.updates, '--out', place(name), '--horizon', '3')
  words.push('--objective', 'equilibrium', '--loss-steps', '2', '--validate-every', '100000')
  words.push('--optimizer', 'muon', '--lr', '0.004')
  execFileSync(process.execPath, [project('dist/cli/main.js'), ...words], { stdio: 'inherit' })
  writeFileSync(join(place(name), 'done'), '')
}

const transposed = (board) =>
  cells.map((cell) => board[columnOf(cell) * SIDE + rowOf(cell)]).join('')

/** Equal pairs within rows, in the mean over rows. */
const equalPairs = (board) => {
  let pairs = 0
  for (let line = 0; line < SIDE; line++)
    for (let i = 0; i < SIDE; i++)
      for (let j = 0; j < i; j++) if (board[line * SIDE + i] === board[line * SIDE + j]) pairs++
  return pairs / SIDE
}

/** The boards that `host` gives, with the energy of `other` as a term; without one where the weight is 0. */
async function answers(host, other, weight, examples) {
  const { core, engine } = await openCore(place(host), {
    slots: 64,
    contexts: 64,
    pages: 512,
    others: [place(other)],
  })
  const budget = noisyBudget({ maxSteps: Number(values.steps), candidates: CANDIDATES })
  const terms = [{ type: 'model', model: other, directory: place(other), weight }]
  examples.forEach(({ template }, i) => {
    const more = weight === 0 ? {} : { terms }
    core.submit(coreRequest({ id: String(i), template, seed: i, engine, budget, ...more }))
  })
  const texts = []
  while (await core.step()) {
    for (const { event, id } of core.report().events) {
      if (event.type === 'failed') throw new Error(event.error.message)
      if (event.type === 'finished') texts[Number(id)] = event.text
    }
  }
  engine.close()
  return texts
}

for (const name of ['rows', 'columns']) train(name)
const draw = drawing(777)
/** A sudoku that has 2 to MOST_ALONE solutions by the rules that either model knows. */
function sudoku() {
  for (;;) {
    const example = puzzle(rules.both, 4 + draw(4), draw)
    const alone = ['rows', 'columns'].map(
      (name) => solutions(example.template, rules[name], MOST_ALONE + 1).length,
    )
    if (alone.every((count) => count > 1 && count <= MOST_ALONE)) return { ...example, alone }
  }
}
const examples = Array.from({ length: Number(values.boards) }, sudoku)
const meanOf = (of) =>
  (examples.reduce((sum, each) => sum + of(each), 0) / examples.length).toFixed(1)
console.log(
  `${examples.length} sudokus of 4x4 with ${meanOf(({ template }) => template.split('_').length - 1)} blanks and one ` +
    `solution; ${meanOf(({ alone }) => alone[0])} without the rule of columns, ${meanOf(({ alone }) => alone[1])} without that of rows; ` +
    `${CANDIDATES} descents of ${values.steps} steps, ${values.updates} updates`,
)
console.log(
  '| model that descends | weight of the other | right | equal pairs in a row | in a column |',
)
console.log('|---|---|---|---|---|')
for (const [host, other] of [
  ['rows', 'columns'],
  ['columns', 'rows'],
])
  for (const weight of values.weights.split(',').map(Number)) {
    const texts = await answers(host, other, weight, examples)
    const right = texts.filter((text, i) => text === examples[i].completion).length
    const mean = (of) => (texts.reduce((sum, text) => sum + of(text), 0) / texts.length).toFixed(2)
    console.log(
      `| ${host} | ${weight === 0 ? 'alone' : weight} | ${percent(right, texts.length)} | ` +
        `${mean(equalPairs)} | ${mean((text) => equalPairs(transposed(text)))} |`,
    )
  }
