/** Even against adaptive allocation, in the loop that serves: requests in, rows of all ticks counted. */
import { GenerationLoop } from '../../dist/generation/loop.js'
import { openEngine } from '../../dist/energy/open.js'
import { openTokenizer } from '../../dist/tokenizer/tokenizer.js'
import { SEED } from './measure.mjs'

/** Requests in the loop at once. */
const TOGETHER = 8
const sampling = { temperature: 0, topP: 1, topK: 0, presencePenalty: 0, frequencyPenalty: 0 }

/** Share of examples solved, and steps spent per example. */
export async function allocate(directory, examples, { candidates, maxSteps, allocation }) {
  const tokenizer = openTokenizer(directory)
  const engine = await openEngine({
    directory,
    engine: 'auto',
    threads: 1,
    slots: TOGETHER * candidates,
    contexts: TOGETHER,
    pages: TOGETHER * 16,
  })
  const options = { prefillChunk: 512, holdSeconds: 1, pauseSeconds: 1 }
  const loop = new GenerationLoop(engine, tokenizer, options)
  examples.forEach(({ template }, row) => {
    loop.submit({
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
    more = loop.tick()
    const { events, stats } = loop.report()
    for (const { rows, steps: taken } of stats.ticks) steps += rows * taken
    for (const { id, event } of events) {
      if (event.type === 'failed') throw new Error(event.error.message)
      if (event.type === 'finished' && event.text === examples[id].completion) solved++
    }
  }
  engine.close()
  return { solved: solved / examples.length, steps: steps / examples.length }
}
