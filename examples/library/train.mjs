// Goes on training `stories` with one's own text: `node train.mjs TEXT HELD_OUT_TEXT [DIRECTORY]`. The same call
// again resumes a run that was ended.
import { openModel, train } from 'basin-ebt'

const [text, heldOut, out = 'runs/mine'] = process.argv.slice(2)
const run = train({
  model: 'stories',
  init: 'stories',
  name: 'mine',
  data: text,
  valid: heldOut,
  out,
  updates: 20,
  batch: 4,
  window: 32,
  lr: 1e-3,
  warmup: 5,
  horizon: 1,
  through: true,
  budgets: [0, 2],
  validRows: 8,
})
for await (const report of run) {
  if (report.type === 'update')
    console.log(`update ${report.update}: ${report.losses.at(-1).toFixed(3)} nats per token`)
  else
    for (const { steps, nats } of report.scores)
      console.log(`held-out text after ${steps} steps: ${nats.toFixed(3)} nats per token`)
}
const { directory } = await run.result()

const model = await openModel(directory)
const { text: written } = await model.generate({ prompt: 'The sea', maxTokens: 16, seed: 1 })
console.log(`The sea${written}`)
await model.close()
