/**
 * How many puzzles with one more rule a model solves that never saw the rule, with the rule as terms of its
 * energy and without:
 *
 *     npm run basin -- tasks sudoku --variant diagonal --size 6 --count 200 --seed 3 --out diagonal6.jsonl
 *     npm run build && node examples/study/rules.mjs MODEL DATA.jsonl ROWS [--weight W] [--tries N]
 *         [--candidates N] [--steps N] [--noise X] [--noise-steps N]
 *         [--metropolis T] [--restarts STEPS] [--only with|without] [--each]
 *
 * A request has `candidates` descents of `steps` steps from noise, and ends when one of them falls below the
 * model's energy target; with terms, one that obeys the rules. Without an end it is asked again with another
 * seed, `tries` times at most. Told are the share of puzzles whose one valid board was found, the share whose
 * found board disobeys the rule or the plain rules, the steps of all descents together, and how well the energy of
 * the model tells right boards from wrong ones, as an AUROC over the replies to all requests: of those boards where
 * the rule holds, and of all (a rule that is not kept counts as an infinite energy).
 *
 * --weight gives all terms one weight; absent: the default of requests. --noise-steps N has noise in the first N
 * steps and not in the first alone; --metropolis T undoes steps by the composed energy. --restarts STEPS asks once,
 * with so many steps for all descents of `refinement.restarts`, which begin anew after --steps. --each tells the
 * outcome of every puzzle.
 */
import { parseArgs } from 'node:util'
import { areaUnderCurve } from '../../dist/train/evaluation/answer-scores.js'
import { openEngineClient } from '../../dist/library/open-models.js'
import { requestFrom } from '../../dist/server/requests/request-settings.js'
import { ENGINE, readExamples } from './measure.mjs'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    weight: { type: 'string' },
    tries: { type: 'string', default: '6' },
    candidates: { type: 'string', default: '8' },
    steps: { type: 'string', default: '24' },
    noise: { type: 'string', default: '1' },
    'noise-steps': { type: 'string', default: '1' },
    metropolis: { type: 'string' },
    restarts: { type: 'string' },
    only: { type: 'string' },
    each: { type: 'boolean', default: false },
  },
})
const [directory, data, rows] = positionals
const tries = values.restarts ? 1 : Number(values.tries)
const candidates = Number(values.candidates)
/** Puzzles that are asked for at once. */
const ABREAST = 4
const limits = {
  caps: { maxSteps: 1e6, maxSeconds: 86_400, candidates: 64 },
  terms: { terms: 1024, positions: 1e6, models: 0 },
}

const client = await openEngineClient(directory, {
  engine: ENGINE,
  threads: 1,
  slots: ABREAST * candidates,
  maxQueue: ABREAST,
  prefillChunk: 256,
  holdSeconds: 0,
  pauseSeconds: 0,
  watchdogSeconds: 0,
})

/**
 * One request: whether its board is right, its energy, whether it ended at the energy target, and the steps of
 * all candidates.
 */
async function ask({ completion, energy_terms: terms, template }, seed, withTerms) {
  const weighted = terms.map((term) =>
    values.weight === undefined ? term : { ...term, weight: Number(values.weight) },
  )
  const settings = {
    template,
    seed,
    temperature: 0,
    refinement: values.restarts
      ? {
          max_steps: Number(values.restarts),
          restarts: { after: Number(values.steps), keep: candidates },
          energy_target: client.model.energy_target,
        }
      : {
          candidates,
          max_steps: Number(values.steps),
          noise: Number(values.noise),
          noise_steps: Number(values['noise-steps']),
          ...(values.metropolis && { metropolis: Number(values.metropolis) }),
          energy_target: client.model.energy_target,
        },
    ...(withTerms && { energy_terms: weighted }),
  }
  const run = client.submit({
    ...requestFrom(settings, client.model, limits),
    prompt: '',
    client: 'study',
    reportSteps: false,
    hold: false,
  })
  for await (const event of run.events) {
    if (event.type === 'failed') throw new Error(JSON.stringify(event.error))
    if (event.type !== 'finished') continue
    const { finishReason, refinement, text } = event
    const obeys = finishReason !== 'unsatisfied'
    const ended = refinement.stop_reason === 'energy_target' && obeys
    // Of the chosen candidate, or of all descents where they begin anew.
    const steps = values.restarts ? refinement.steps : refinement.steps * candidates
    const energy = obeys ? refinement.energy.best : Infinity
    return { right: text === completion, energy, ended, steps }
  }
  throw new Error('the request had no end')
}

async function solve(example, row, withTerms) {
  let steps = 0
  const replies = []
  for (let attempt = 0; attempt < tries; attempt++) {
    const found = await ask(example, row * 1000 + attempt, withTerms)
    steps += found.steps
    replies.push(found)
    if (found.ended) return { right: found.right, found: true, steps, replies }
  }
  return { right: false, found: false, steps, replies }
}

async function measure(withTerms) {
  const waiting = readExamples(data, Number(rows)).entries()
  const outcomes = []
  const work = async () => {
    for (const [row, example] of waiting) outcomes[row] = await solve(example, row, withTerms)
  }
  await Promise.all(Array.from({ length: ABREAST }, work))
  const share = (holds) => (100 * outcomes.filter(holds).length) / outcomes.length
  const steps = outcomes.reduce((sum, each) => sum + each.steps, 0) / outcomes.length
  const area = (replies) => {
    const rights = replies.map(({ right }) => right)
    const value = areaUnderCurve(
      replies.map(({ energy }) => energy),
      rights,
    )
    const count = rights.filter(Boolean).length
    return `${value?.toFixed(4) ?? '-'} (${count} right, ${rights.length - count} wrong)`
  }
  const replies = outcomes.flatMap((each) => each.replies)
  const obedient = replies.filter(({ energy }) => energy < Infinity)
  if (values.each) console.log(outcomes.map(({ right }) => (right ? '1' : '0')).join(''))
  console.log(
    `${withTerms ? 'with terms' : 'without'}: ${share(({ right }) => right).toFixed(1)} % right, ` +
      `${share(({ found, right }) => found && !right).toFixed(1)} % wrong, ` +
      `${share(({ found }) => !found).toFixed(1)} % nothing found, of ${outcomes.length}; ` +
      `${steps.toFixed(0)} steps each at most; AUROC ${area(obedient)}, of all ${area(replies)}`,
  )
}

for (const withTerms of [true, false])
  if (values.only === undefined || (values.only === 'with') === withTerms) await measure(withTerms)
await client.close()
