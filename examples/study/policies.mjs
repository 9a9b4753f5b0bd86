/**
 * Compares ways to spend the same number of steps on an answer: depth alone, and descents that begin anew.
 *
 *     npm run build && node examples/study/policies.mjs MODEL DATA.jsonl ROWS MOST_STEPS
 *       [--from ROW] [--out FILE] [--record NAME] [--against REFINEMENT] REFINEMENT...
 *
 * A REFINEMENT is JSON as in a request (docs/http.md), such as '{"restarts":{"policy":"noise","after":32}}'.
 * Every row of data, from row ROW (else 0) to row ROWS - 1, is a request to the engine core that also serves requests.
 * It is held when its steps are spent, and extended to the next number of steps: 64, 128, ... up to MOST_STEPS, steps
 * of all its descents together. An answer is accepted when its energy reaches the model's energy target. Printed are
 * the shares of answers whose best state so far is right, and of those that were accepted; and the number of accepted
 * ones that are wrong. With --against also by how many percentage points each solves more than that one, which is
 * among them, on the same rows, and the standard error of this difference. With --out each answer is a line of FILE,
 * and answers that FILE has already are not computed again. --record keeps the figures as those of NAME for
 * docs/thinking.md, which `npm run study -- --draw` writes again.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { keepFigures } from './figures.mjs'
import { coreRequest, openCore, percent, readExamples, searchBudget, SEED } from './measure.mjs'

const SLOTS = 64
const FIRST_BUDGET = 64
const { positionals, values } = parseArgs({
  options: {
    from: { type: 'string', default: '0' },
    out: { type: 'string' },
    record: { type: 'string' },
    against: { type: 'string' },
  },
  allowPositionals: true,
})
const [directory, data, rows, most, ...refinements] = positionals
const examples = readExamples(data, Number(rows))
const isAsked = (row) => row >= Number(values.from) && row < examples.length
const budgets = []
for (let steps = FIRST_BUDGET; steps <= Number(most); steps *= 2) budgets.push(steps)

/** Answers of FILE, by row, for one refinement. */
function recorded(refinement) {
  const found = new Map()
  if (values.out === undefined || !existsSync(values.out)) return found
  for (const line of readFileSync(values.out, 'utf8').trimEnd().split('\n')) {
    const answer = JSON.parse(line)
    const same =
      answer.data === data && answer.most === Number(most) && answer.refinement === refinement
    if (same && isAsked(answer.row)) found.set(answer.row, answer)
  }
  return found
}

/** The answers of all examples, by row: steps, energy, whether it is right, at each budget. */
async function search({ core, engine }, refinement) {
  const found = recorded(refinement)
  const budget = searchBudget(engine.model, JSON.parse(refinement), budgets[0])
  const waiting = [...examples.keys()].filter((row) => isAsked(row) && !found.has(row))
  const running = new Map()
  const submit = () => {
    const row = waiting.shift()
    if (row === undefined) return
    running.set(String(row), [])
    const { template } = examples[row]
    const id = String(row)
    core.submit(coreRequest({ id, template, seed: SEED + row, engine, budget, hold: true }))
  }
  for (let i = 0; i < Math.floor(SLOTS / budget.candidates); i++) submit()
  while (running.size > 0) {
    await core.step()
    for (const { id, event } of core.report().events) {
      if (event.type === 'failed') throw new Error(event.error.message)
      if (event.type !== 'finished') continue
      const { refinement: account, text } = event
      const steps = running.get(id)
      const { stop_reason: reason } = account
      const right = text === examples[id].completion
      steps.push({ steps: account.steps, energy: account.energy.best, right, reason })
      const next = budgets[steps.length]
      if (reason === 'max_steps' && next !== undefined) {
        core.control(id, { type: 'extend', steps: next - budgets[steps.length - 1] })
        continue
      }
      running.delete(id)
      core.control(id, { type: 'cancel' })
      const answer = { data, most: Number(most), refinement, row: Number(id), steps }
      found.set(answer.row, answer)
      if (values.out !== undefined) appendFileSync(values.out, `${JSON.stringify(answer)}\n`)
      submit()
    }
  }
  return found
}

/** How an answer stood when so many steps were spent. */
const at = (answer, budget) => answer.findLast(({ steps }) => steps <= budget) ?? answer[0]
const isRight = (answer, budget) => at(answer, budget).right && at(answer, budget).steps <= budget

/** In how many rows more than the other this one is right at a budget, as a share, and its standard error. */
function difference(found, other, budget) {
  const changes = Array.from(found, ([row, { steps }]) => {
    const before = other.get(row).steps
    return Number(isRight(steps, budget)) - Number(isRight(before, budget))
  })
  const mean = changes.reduce((sum, change) => sum + change, 0) / changes.length
  const squares = changes.reduce((sum, change) => sum + (change - mean) ** 2, 0)
  const rounded = (share) => Number(share.toFixed(4))
  return { mean: rounded(mean), error: rounded(Math.sqrt(squares) / changes.length) }
}

const all = new Map()
for (const refinement of refinements) {
  const opened = await openCore(directory, {
    slots: SLOTS,
    contexts: SLOTS,
    pages: SLOTS * 8,
    holdSeconds: 1e6,
  })
  all.set(refinement, await search(opened, refinement))
  opened.engine.close()
}
for (const [refinement, found] of all) {
  const answers = Array.from(found.values(), ({ steps }) => steps)
  const right = budgets.map((budget) => answers.filter((answer) => isRight(answer, budget)).length)
  const isAccepted = (answer, budget) =>
    answer.at(-1).reason === 'energy_target' && answer.at(-1).steps <= budget
  const accepted = budgets.map((b) => answers.filter((answer) => isAccepted(answer, b)).length)
  const wrong = answers.filter((answer) => isAccepted(answer, Infinity) && !answer.at(-1).right)
  const mean = answers.reduce((sum, answer) => sum + answer.at(-1).steps, 0) / answers.length
  const shares = (counts) => counts.map((count) => percent(count, answers.length)).join(' | ')
  console.log(`${refinement}: ${answers.length} answers, ${mean.toFixed(0)} steps each`)
  console.log(`| steps | ${budgets.join(' | ')} |`)
  console.log(`| right | ${shares(right)} |`)
  console.log(`| accepted | ${shares(accepted)} |`)
  console.log(`accepted wrongly: ${wrong.length}`)
  const other = refinement === values.against ? undefined : all.get(values.against)
  const more = other && budgets.map((budget) => difference(found, other, budget))
  if (more) {
    const points = ({ error, mean }) => `${(100 * mean).toFixed(1)} ± ${(100 * error).toFixed(1)}`
    console.log(`| more than ${values.against} | ${more.map(points).join(' | ')} |`)
  }
  if (values.record !== undefined) {
    const share = (counts) => counts.map((count) => Number((count / answers.length).toFixed(4)))
    const figures = {
      name: values.record,
      refinement,
      answers: answers.length,
      mean: Math.round(mean),
      budgets,
      right: share(right),
      accepted: share(accepted),
      wrong: wrong.length,
      ...(more && { against: values.against, more }),
    }
    const isSame = (each) => each.name === figures.name && each.refinement === refinement
    keepFigures('policies.json', figures, isSame)
  }
}
