/**
 * At which energies right and wrong answers come to rest, and so which energy target accepts no wrong one:
 *
 *     npm run build && node examples/study/targets.mjs MODEL TARGETS OUT DATA.jsonl=ROWS [DATA.jsonl=ROWS ...]
 *
 * TARGETS is a list such as 1,2,3. Of every row one descent begins as the model does and takes twice its trained
 * steps, and three begin from noise of unit deviation and take them once. A rest is the state of lowest energy of a
 * descent. OUT keeps them as JSON lines: rows that it has are not computed again. For every target and file are
 * printed the share of answers that the first descent ends right at or below it, and how many wrong rests of all
 * descents are at or below it; at the end the lowest energies of wrong rests and the highest of right ones.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { openModel, percent, readExamples, scoreExamples } from './measure.mjs'

const NOISY = 3
/** Rows that are computed before they are written. */
const AT_ONCE = 16
const [directory, targetList, out, ...files] = process.argv.slice(2)
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
console.log(`| answers | rests: right, wrong | ${targets.map((t) => `≤ ${t}`).join(' | ')} |`)
console.log(`|---|---|${targets.map(() => '---').join('|')}|`)
for (const [file, rows] of files.map((each) => each.split('='))) {
  const found = restsOf(file, Number(rows))
  const rests = found.flatMap((each) => each.rests)
  all.push(...rests)
  const cells = targets.map((target) => {
    const accepted = found.filter(({ rests: [[energy, right]] }) => right && energy <= target)
    const wrong = rests.filter(([energy, right]) => !right && energy <= target)
    return `${percent(accepted.length, found.length)}, ${wrong.length} wrong`
  })
  const right = rests.filter(([, solved]) => solved).length
  console.log(
    `| ${found.length} of ${basename(file)} | ${right}, ${rests.length - right} | ${cells.join(' | ')} |`,
  )
}
const energies = (solved) =>
  all
    .filter(([, right]) => right === solved)
    .map(([energy]) => energy)
    .sort((a, b) => a - b)
const [wrong, right] = [energies(0), energies(1)]
console.log(
  `lowest wrong: ${wrong
    .slice(0, 8)
    .map((e) => e.toFixed(2))
    .join(', ')}`,
)
const highest = right.slice(-8).map((e) => e.toFixed(2))
console.log(`highest right: ${highest.join(', ')}`)
model.engine.close()
