// A puzzle in this process, without a server: `node solve.mjs`. The descent is printed as it runs.
import { openModel } from 'basin-ebt'

const model = await openModel('sudoku6')
const template = model.config.template.example
const refinement = model.refine({
  template,
  maxSteps: 64,
  energyTarget: model.config.energy_target,
})
for await (const { step, energy, text } of refinement)
  console.log(`step ${step}, energy ${energy.toFixed(4)}: ${text}`)
const { text, steps, stopReason } = await refinement.answer()
console.log(`${text} after ${steps} steps (${stopReason})`)
await model.close()
