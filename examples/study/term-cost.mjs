/**
 * What terms add to the time of a step, as CPU time of this process, so that other work on the machine does
 * not count:
 *
 *     npm run build && node examples/study/term-cost.mjs MODEL [TERMS [CANDIDATES [STEPS]]]
 *
 * The same request runs with and without terms in turn: compare, sum and distinct over the positions of the
 * model's example. Told is the CPU time of a step of one candidate, the least of the rounds.
 */
import { coreRequest, noisyBudget, openCore } from './measure.mjs'

const [directory, terms = '16', candidates = '8', steps = '64'] = process.argv.slice(2)
const ROUNDS = 20
const { core, engine } = await openCore(directory, {
  slots: Number(candidates),
  contexts: Number(candidates),
  pages: 64,
})
const { example: template } = engine.model.template
const budget = noisyBudget({ maxSteps: Number(steps), candidates: Number(candidates) })

const kinds = [
  (at) => ({ type: 'compare', less: at, than: at + 1 }),
  (at) => ({ type: 'sum', positions: [at, at + 1, at + 2], equals: 9 }),
  (at) => ({ type: 'distinct', positions: [[at, at + 1, at + 2, at + 3, at + 4, at + 5]] }),
]
const added = Array.from({ length: Number(terms) }, (_, i) => ({
  ...kinds[i % kinds.length](i),
  weight: 20,
  required: true,
}))

/** Microseconds of CPU time for each step of a candidate. */
async function cost(id, terms) {
  // With reports of steps each step is a call of its own either way.
  core.submit(coreRequest({ id, template, engine, budget, reportSteps: true, terms }))
  const before = process.cpuUsage()
  while (await core.step()) core.report()
  const { system, user } = process.cpuUsage(before)
  return (system + user) / Number(steps) / Number(candidates)
}

const least = { with: Infinity, without: Infinity }
for (let round = 0; round < ROUNDS; round++) {
  least.without = Math.min(least.without, await cost(`a${round}`))
  least.with = Math.min(least.with, await cost(`b${round}`, added))
}
engine.close()
console.log(
  `${least.without.toFixed(1)} us a step, ${least.with.toFixed(1)} us with ${terms} terms: ` +
    `${((100 * (least.with - least.without)) / least.without).toFixed(1)} % more`,
)
