/**
 * How many whole answers a model finds by one descent, and by descents that begin anew elsewhere:
 *
 *     npm run build && node examples/study/restarts.mjs MODEL DATA.jsonl ONE_DESCENT_ROWS RESTART_ROWS [MOST_STEPS [STARTS [met]]]
 *
 * One descent starts as the model does and is read at 64 and 256 steps, the answer of lowest energy so
 * far. Restarts: eight descents at a time from noise of unit deviation, of 32 steps each, until one falls
 * below the model's energy target: it is accepted, right or wrong, and ends the answer. What counts is
 * the steps of all descents together. STARTS is `unit`, or `mixed`: the first of the eight starts as the
 * model does and goes on with its step-size cycles, and the noise of the others has a deviation between
 * 0.2 and 1.1. Both are measured where it is absent. Told are the steps until a descent met the right answer
 * (looked for every eighth step), whatever its energy, and until one was accepted; with `met` at the end
 * an answer ends when it was met.
 */
import { landscapeOf } from '../../dist/model/config.js'
import { answerSeed } from '../../dist/refine/candidates.js'
import { normals, uniform } from '../../dist/refine/random.js'
import { encodeTemplate } from '../../dist/tokenizer/answer-template.js'
import { openModel, percent, readExamples, scoreExamples, SEED } from './measure.mjs'

const [directory, data, descentRows, restartRows, most = '4096', only, until] =
  process.argv.slice(2)
const ABREAST = 8
const STEPS = 32
/** Steps between comparisons with the truth. */
const LOOK_EVERY = 8
const model = await openModel(directory)
const { engine, tokenizer } = model
const { answer: answerConfig, dim, energy_target: target } = engine.model
const blank = engine.model.template.blank

/** Deviation of a restart's noise; 0 starts as the model does and is not begun anew. */
const starts = {
  unit: () => 1,
  mixed: (row, candidate, round) =>
    candidate === 0 ? 0 : 0.2 + 0.9 * uniform(answerSeed(SEED, row), round, candidate),
}

/** Steps of all descents until the true answer was met, and until one was accepted; Infinity for never. */
function restart({ template, completion }, row, deviationOf) {
  const clamped = encodeTemplate(tokenizer, template, blank)
  const answer = tokenizer.encode(completion)
  const size = answerConfig.block * dim
  const slots = Array.from({ length: ABREAST }, (_, slot) => slot)
  const isRight = (slot) =>
    engine
      .read([{ slot, which: 'last', top: 1 }])
      .every(({ tokens }) => answer.every((token, i) => tokens[i] === token))
  /** Steps of each slot's present descent. */
  const taken = slots.map(() => 0)
  const found = { met: Infinity, energyMet: NaN, accepted: Infinity, right: false }
  let steps = 0
  for (let round = 0; steps < Number(most); round++) {
    for (const slot of slots) {
      const deviation = deviationOf(row, slot, round)
      if (deviation === 0 && round > 0) continue
      const noise = normals(answerSeed(SEED, row), slot + ABREAST * round, -1, size)
      const start = noise.map((x) => x * deviation)
      engine.begin([{ slot, contextId: 0, seed: 0, candidate: slot, clamped, start }])
      taken[slot] = 0
    }
    for (let step = 0; step < STEPS && steps < Number(most); step++) {
      const results = engine.descend(
        slots.map((slot) => {
          const own = taken[slot]++
          return { slot, landscape: landscapeOf(engine.model, own), noise: 0, step: own }
        }),
      )
      steps += ABREAST
      const low = results.findIndex(({ energy }) => energy < target)
      if (low >= 0) {
        const right = isRight(low)
        if (right && found.met === Infinity)
          Object.assign(found, { met: steps, energyMet: results[low].energy })
        return Object.assign(found, { accepted: steps, right })
      }
      if ((step + 1) % LOOK_EVERY !== 0 || found.met < Infinity) continue
      const slot = slots.find(isRight)
      if (slot === undefined) continue
      Object.assign(found, { met: steps, energyMet: results[slot].energy })
      if (until === 'met') return found
    }
  }
  return found
}

if (Number(descentRows) > 0) {
  const examples = readExamples(data, Number(descentRows))
  const judged = scoreExamples(model, examples, { budgets: [64, 256] })
  const solved = [0, 1].map((budget) => judged.filter(({ scores }) => scores[budget][0].solved))
  const accepted = judged.filter(({ scores }) => scores[1][0].energy < target)
  const wrong = accepted.filter(({ scores }) => !scores[1][0].solved).length
  console.log(
    `one descent of 64 / 256 steps, ${examples.length} answers: ` +
      `${solved.map((of) => percent(of.length, examples.length)).join(' / ')} right; ` +
      `${accepted.length} at energy below ${target}, ${wrong} of them wrong`,
  )
}
if (Number(restartRows) > 0) {
  const examples = readExamples(data, Number(restartRows))
  const budgets = [256, 512, 1024, 2048, 4096, 8192, 16384].filter((b) => b <= Number(most))
  for (const [name, deviationOf] of Object.entries(starts)) {
    if (only !== undefined && only !== name) continue
    const found = examples.map((example, row) => restart(example, row, deviationOf))
    const within = (of) =>
      budgets.map((b) => percent(found.filter((f) => of(f) <= b).length, found.length))
    const accepted = (f) => (f.right ? f.accepted : Infinity)
    const wrong = found.filter((f) => !f.right && f.accepted < Infinity).length
    const energies = found.map((f) => f.energyMet).filter((e) => !Number.isNaN(e))
    const middle = energies.sort((x, y) => x - y)[energies.length >> 1]
    console.log(
      `restarts, ${name}, ${found.length} answers within ${budgets.join(' / ')} steps: ` +
        `met ${within((f) => f.met).join(' / ')} at energy ${middle?.toFixed(1)} (median)` +
        (until === 'met'
          ? ''
          : `, accepted ${within(accepted).join(' / ')} and ${wrong} wrong ones`),
    )
  }
}
engine.close()
