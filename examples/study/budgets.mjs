/**
 * Whole answers right by number of steps, the answer of lowest energy so far, on the engine that serves:
 *
 *     npm run build && node examples/study/budgets.mjs MODEL DATA.jsonl ROWS BUDGETS
 *
 * BUDGETS is a list such as 4,16,64. Told besides: cells right, the mean energy, the area under the curve
 * of that energy as the judge of right and wrong answers, and how high the energies of right answers are
 * and how low those of wrong ones at the largest budget, which is what an `energy_target` goes by.
 */
import { discriminationAreas, budgetScore } from '../../dist/train/evaluation/answer-scores.js'
import { scoreExamples, openModel, readExamples } from './measure.mjs'

const [directory, data, rows, list] = process.argv.slice(2)
const budgets = list.split(',').map(Number)
const model = await openModel(directory)
const answers = scoreExamples(model, readExamples(data, Number(rows)), { budgets })
model.engine.close()

const percent = (x) => `${(100 * x).toFixed(1)} %`
console.log(`${directory}, ${answers.length} answers of ${data}`)
console.log('| steps | whole | cells | energy | judge |')
console.log('| ---: | ---: | ---: | ---: | ---: |')
budgets.forEach((steps, budget) => {
  const { solved, accuracy, energy } = budgetScore(answers, steps, budget)
  const { energy: area } = discriminationAreas(answers, budget)
  const judge = area === null ? '-' : area.toFixed(3)
  console.log(
    `| ${steps} | ${percent(solved)} | ${percent(accuracy)} | ${energy.toFixed(3)} | ${judge} |`,
  )
})
const energiesOf = (right) =>
  answers
    .map(({ scores }) => scores.at(-1)[0])
    .filter(({ solved }) => solved === right)
    .map(({ energy }) => energy)
    .sort((a, b) => a - b)
const [right, wrong] = [energiesOf(true), energiesOf(false)]
const at = (sorted, share) => sorted[Math.floor(share * (sorted.length - 1))]?.toFixed(2) ?? '-'
console.log(
  `energies at ${budgets.at(-1)} steps: right ${at(right, 0.5)} (median), ${at(right, 0.9)} (90 %), ` +
    `${at(right, 1)} (highest); wrong ${at(wrong, 0)} (lowest), ${at(wrong, 0.5)} (median)`,
)
