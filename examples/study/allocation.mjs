/** Compares even with adaptive allocation of steps, in the engine core that also serves requests. */
import { coreRequest, noisyBudget, openCore, SEED } from './measure.mjs'

/** Requests that run at once. */
const REQUESTS = 8

/** The share of examples that are solved, and the mean number of steps of an example. */
export async function allocate(directory, examples, { candidates, maxSteps, allocation }) {
  const { core, engine } = await openCore(directory, {
    slots: REQUESTS * candidates,
    contexts: REQUESTS,
    pages: REQUESTS * 16,
  })
  const budget = noisyBudget({ maxSteps, candidates, allocation })
  examples.forEach(({ template }, row) => {
    core.submit(coreRequest({ id: String(row), template, seed: SEED + row, engine, budget }))
  })
  let steps = 0
  let solved = 0
  for (let more = true; more;) {
    more = await core.step()
    const { events, stats } = core.report()
    for (const { rows, steps: taken } of stats.ticks) steps += rows * taken
    for (const { id, event } of events) {
      if (event.type === 'failed') throw new Error(event.error.message)
      if (event.type === 'finished' && event.text === examples[id].completion) solved++
    }
  }
  engine.close()
  return { solved: solved / examples.length, steps: steps / examples.length }
}
