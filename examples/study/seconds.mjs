/**
 * How long answers take on this machine, which should do nothing else:
 *
 *     npm run build && node examples/study/seconds.mjs [--threads 1,2] [--record NAME]
 *       MODEL DATA.jsonl ROWS MOST_STEPS REFINEMENT...
 *
 * A REFINEMENT is JSON as for policies.mjs, and every row a request to the engine core that also serves requests, of
 * at most so many steps; it ends at the model's energy target. The rows are asked one after the other, as somebody does
 * who waits for each answer; and then all at once, which is what the machine carries. Printed are the mean and the
 * median of milliseconds of an answer that is alone, and the milliseconds of all answers for each that is right, alone
 * and together. HTTP is not part of it (`npm run bench -- overhead`). --record keeps the figures as those of NAME for
 * docs/thinking.md, which `npm run study -- --draw` writes again.
 */
import { execFileSync } from 'node:child_process'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { keepFigures } from './figures.mjs'
import { coreRequest, openCore, percent, readExamples, searchBudget, SEED } from './measure.mjs'

const SLOTS = 64
const { positionals, values } = parseArgs({
  options: { threads: { type: 'string', default: '1,2' }, record: { type: 'string' } },
  allowPositionals: true,
})
const [directory, data, rows, most, ...refinements] = positionals
const examples = readExamples(data, Number(rows))

/** Asks for these rows at once; the steps that they take, and how many answers are right. */
async function answer({ core, engine }, budget, asked) {
  for (const row of asked) {
    const { template } = examples[row]
    const id = String(row)
    core.submit(coreRequest({ id, template, seed: SEED + row, engine, budget, buffered: true }))
  }
  const found = { steps: 0, right: 0 }
  for (let left = asked.length; left > 0;) {
    await core.step()
    for (const { event, id } of core.report().events) {
      if (event.type === 'failed') throw new Error(event.error.message)
      if (event.type !== 'finished') continue
      left--
      found.steps += event.refinement.steps
      if (event.text === examples[id].completion) found.right++
    }
  }
  return found
}

async function timed(act) {
  const began = performance.now()
  const found = await act()
  return { ...found, milliseconds: performance.now() - began }
}

async function measure(refinement, threads) {
  const capacity = { slots: SLOTS, contexts: 2 * SLOTS, pages: 16 * SLOTS }
  const opened = await openCore(directory, { ...capacity, threads })
  const budget = searchBudget(opened.engine.model, JSON.parse(refinement), Number(most))
  const all = [...examples.keys()]
  // The first answer of an engine is slower: memory is touched, code is compiled.
  await answer(opened, budget, [0])
  const alone = []
  for (const row of all) alone.push(await timed(() => answer(opened, budget, [row])))
  const together = await timed(() => answer(opened, budget, all))
  opened.engine.close()
  const sum = (field) => alone.reduce((total, each) => total + each[field], 0)
  const times = alone.map(({ milliseconds }) => milliseconds).sort((a, b) => a - b)
  const right = sum('right')
  if (together.right !== right) throw new Error('answers depend on what else runs')
  return {
    right,
    steps: Math.round(sum('steps') / all.length),
    mean: sum('milliseconds') / all.length,
    median: times[times.length >> 1],
    perRight: sum('milliseconds') / right,
    perRightTogether: together.milliseconds / right,
  }
}

const commit = execFileSync('git', ['rev-parse', '--short=12', 'HEAD'], {
  cwd: new URL('.', import.meta.url).pathname,
  encoding: 'utf8',
}).trim()
console.log(
  '| refinement | threads | right | steps | mean | median | for each right, alone | together |',
)
for (const refinement of refinements) {
  for (const threads of values.threads.split(',').map(Number)) {
    const found = await measure(refinement, threads)
    const times = [found.mean, found.median, found.perRight, found.perRightTogether]
    const cells = [threads, percent(found.right, examples.length), found.steps]
    console.log(`| ${[refinement, ...cells, ...times.map((ms) => ms.toFixed(1))].join(' | ')} |`)
    if (values.record === undefined) continue
    const machine = `${cpus()[0].model}, ${cpus().length} cores`
    const name = values.record
    const answers = examples.length
    const limits = { most: Number(most), refinement, threads }
    const figures = { name, ...limits, answers, ...found, machine, commit }
    keepFigures(
      'seconds.json',
      figures,
      (each) => each.name === name && each.refinement === refinement && each.threads === threads,
    )
  }
}
