/** Compares even with adaptive allocation of steps, in the engine core that also serves requests. */
import { EngineCore } from '../../dist/generation/core/engine-core.js'
import { openEngine } from '../../dist/energy/open-engine.js'
import { openTokenizer } from '../../dist/tokenizer/tokenizer.js'
import { ENGINE, SEED } from './measure.mjs'

/** Requests that run at once. */
const REQUESTS = 8
const sampling = { temperature: 0, topP: 1, topK: 0, presencePenalty: 0, frequencyPenalty: 0 }

/** The share of examples that are solved, and the mean number of steps of an example. */
export async function allocate(directory, examples, { candidates, maxSteps, allocation }) {
  const tokenizer = openTokenizer(directory)
  const engine = await openEngine({
    directory,
    engine: ENGINE,
    threads: 1,
    slots: REQUESTS * candidates,
    contexts: REQUESTS,
    pages: REQUESTS * 16,
  })
  const options = { prefillChunk: 512, holdSeconds: 1, pauseSeconds: 1 }
  const core = new EngineCore(engine, tokenizer, options)
  examples.forEach(({ template }, row) => {
    core.submit({
      id: String(row),
      client: 'study',
      prompt: '',
      template,
      maxTokens: engine.model.answer.block,
      sampling: { ...sampling, seed: SEED + row, logitBias: {} },
      stop: [],
      budget: {
        maxSteps,
        minSteps: 0,
        patience: 3,
        candidates,
        select: 'min',
        allocation,
        noise: 1,
        noiseSteps: 1,
        keep: 'best',
        acceptLower: false,
      },
      reportSteps: false,
      hold: false,
    })
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
