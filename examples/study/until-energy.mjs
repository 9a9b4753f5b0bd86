/**
 * Measures the share of answers that are wholly right, and the steps they take, if each answer ends at an
 * energy or, at the latest, after a number of steps:
 *
 *     npm run build && node examples/study/until-energy.mjs MODEL DATA.jsonl ROWS MOST_STEPS ENERGY
 */
import { landscapeOf } from '../../dist/model/config.js'
import { encodeTemplate } from '../../dist/tokenizer/answer-template.js'
import { openModel, readExamples, SLOTS } from './measure.mjs'

const [model, data, rows, most, target] = process.argv.slice(2)
const { engine, tokenizer } = await openModel(model)
const examples = readExamples(data, Number(rows))
const waiting = examples.values()
/** The answer that descends in each slot. */
const descents = new Map()
let right = 0
let steps = 0

function begin(slot) {
  const { done, value: example } = waiting.next()
  if (done) {
    descents.delete(slot)
    return
  }
  const clamped = encodeTemplate(tokenizer, example.template, engine.model.template.blank)
  engine.begin([{ slot, contextId: 0, seed: 0, candidate: 0, clamped }])
  descents.set(slot, { answer: tokenizer.encode(example.completion), step: 0 })
}

function finish(slot, { answer, step }) {
  const [{ tokens }] = engine.read([{ slot, which: 'best', top: 1 }])
  if (answer.every((token, i) => token === tokens[i])) right++
  steps += step
  begin(slot)
}

for (let slot = 0; slot < SLOTS; slot++) begin(slot)
while (descents.size > 0) {
  const now = [...descents]
  const results = engine.descend(
    now.map(([slot, { step }]) => {
      return { slot, landscape: landscapeOf(engine.model, step), noise: 0, step }
    }),
  )
  now.forEach(([slot, descent], i) => {
    descent.step++
    if (results[i].best <= Number(target) || descent.step >= Number(most)) finish(slot, descent)
  })
}
engine.close()
console.log(
  `${((100 * right) / examples.length).toFixed(2)} % of ${examples.length} right, ` +
    `${(steps / examples.length).toFixed(1)} steps each`,
)
