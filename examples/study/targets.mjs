/**
 * At which energies right and wrong answers come to rest, and so which energy target accepts no wrong one:
 *
 *     npm run build && node examples/study/targets.mjs [--record] MODEL TARGETS OUT DATA.jsonl=ROWS [DATA.jsonl=ROWS ...]
 *
 * TARGETS is a list such as 1,2,3. Of every row one descent begins as the model does and takes twice its trained
 * steps, and three begin from noise of unit deviation and take them once. A rest is the state of lowest energy of a
 * descent. OUT keeps them as JSON lines: rows that it has are not computed again. For every target and file are
 * printed the share of answers that the first descent ends right at or below it, and how many wrong rests of all
 * descents are at or below it; at the end the lowest energies of wrong rests and the highest of right ones. --record keeps
 * the figures for docs/thinking.md, which `npm run study -- --draw` writes again.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import { keepFigures } from './figures.mjs'
import { openModel, percent, readExamples, scoreExamples } from './measure.mjs'

const NOISY = 3
/** Rows that are computed before they are written. */
const AT_ONCE = 16
const { positionals, values } = parseArgs({
  options: { record: { type: 'boolean', default: false } },
  allowPositionals: true,
})
const [directory, targetList, out, ...files] = positionals
const targets = targetList.split(',').map(Number)
const model = await openModel(directory)
const { steps } = model.engine.model

const kept = existsSync(out)
  ? readFileSync(out, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
  : []

function restsOf(file, rows) {
  const examples = readExamples(file, rows)
  const found = kept.filter(({ data, row }) => data === basename(file) && row < examples.length)
  const known = new Set(found.map(({ row }) => row))
  const missing = examples.map((_, row) => row).filter((row) => !known.has(row))
  for (let from = 0; from < missing.length; from += AT_ONCE) {
    const some = missing.slice(from, from + AT_ONCE)
    const chosen = some.map((row) => examples[row])
    const own = scoreExamples(model, chosen, { budgets: [2 * steps] })
    const noisy = scoreExamples(model, chosen, { budgets: [steps], candidates: NOISY })
    some.forEach((row, i) => {
      const scores = [...own[i].scores[0], ...noisy[i].scores[0]]
      const rests = scores.map(({ energy, solved }) => [Number(energy.toFixed(4)), solved ? 1 : 0])
      found.push({ data: basename(file), row, rests })
      appendFileSync(out, `${JSON.stringify(found.at(-1))}\n`)
    })
  }
  return found
}

const all = []
/** Of every file. */
const tables = []
for (const [file, rows] of files.map((each) => each.split('='))) {
  const found = restsOf(file, Number(rows))
  const rests = found.flatMap((each) => each.rests)
  all.push(...rests)
  const right = rests.filter(([, solved]) => solved).length
  tables.push({
    data: basename(file),
    answers: found.length,
    right,
    wrong: rests.length - right,
    accepted: targets.map(
      (target) =>
        found.filter(({ rests: [[energy, solved]] }) => solved && energy <= target).length,
    ),
    acceptedWrong: targets.map(
      (target) => rests.filter(([energy, solved]) => !solved && energy <= target).length,
    ),
  })
}
const energies = (solved) =>
  all
    .filter(([, right]) => right === solved)
    .map(([energy]) => energy)
    .sort((a, b) => a - b)
const found = {
  model: model.engine.model.name,
  target: model.engine.model.energy_target ?? null,
  targets,
  tables,
  lowestWrong: energies(0).slice(0, 8),
  highestRight: energies(1).slice(-8),
}
console.log(`| answers | rests: right, wrong | ${targets.map((t) => `≤ ${t}`).join(' | ')} |`)
for (const { accepted, acceptedWrong, answers, data, right, wrong } of tables) {
  const cells = accepted.map((count, i) => `${percent(count, answers)}, ${acceptedWrong[i]} wrong`)
  console.log(`| ${answers} of ${data} | ${right}, ${wrong} | ${cells.join(' | ')} |`)
}
console.log(`lowest wrong: ${found.lowestWrong.join(', ')}`)
console.log(`highest right: ${found.highestRight.join(', ')}`)
if (values.record) keepFigures('targets.json', found, ({ model: name }) => name === found.model)
model.engine.close()
