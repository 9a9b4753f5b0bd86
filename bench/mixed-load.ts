/**
 * What does it bring that easy answers leave early and hard ones get their slots? Boards of 9x9, most of them easy
 * and some hard, are asked of one engine at once, more than it has slots for. Either every answer takes the same
 * steps, or one that reaches the model's energy target leaves, and descents that do not begin anew until
 * the budget is spent. Printed are steps of single descents (rows of the engine's calls), which do not depend on
 * what else the machine does, for each board that is right.
 */
import './addon.js'
import { join } from 'node:path'
import { openEngine } from '../src/energy/open-engine.js'
import { EngineCore } from '../src/generation/core/engine-core.js'
import { readConfig } from '../src/model/config.js'
import type { RefinementRequest } from '../src/refine/presets.js'
import { openTokenizer } from '../src/tokenizer/tokenizer.js'
import { sudokuTask } from '../src/train/tasks/sudoku.js'
import { drawExamples } from '../src/train/tasks/task.js'
import { numberOf, numbersOf, readFlags } from './command.js'
import { shippedModels } from './server.js'
import { boardRequest, budgetOf } from './simulation/searching.js'

const NAME = 'mixed-load'
const flags = readFlags(
  NAME,
  'Measures a load of easy and hard boards with and without early ends.',
  {
    models: { default: shippedModels, help: 'directory of the models' },
    easy: { default: '48', help: 'boards of 30 to 45 givens' },
    hard: { default: '16', help: 'boards of 22 to 25 givens' },
    equal: { default: '64,128,256,512', help: 'steps that every answer takes' },
    most: {
      default: '256,1024,4096',
      help: 'steps that an answer takes at most if it may leave early',
    },
    slots: { default: '64', help: 'descents at a time' },
  },
)
const [easy, hard] = [numberOf(NAME, 'easy', flags.easy, 1), numberOf(NAME, 'hard', flags.hard, 1)]
const slots = numberOf(NAME, 'slots', flags.slots, 8)
const CANDIDATES = 8
const directory = join(flags.models, 'sudoku9')

const boards = (count: number, min: number, max: number, seed: number) => [
  ...drawExamples(sudokuTask({ size: 9, givens: { min, max } }), { count, seed }),
]
const examples = [...boards(easy, 30, 45, 777), ...boards(hard, 22, 25, 4242)]
/** Hard ones among the easy ones, as they would come. */
const order = examples
  .map((example, i) => ({ example, isHard: i >= easy, key: (i * 37) % examples.length }))
  .sort((a, b) => a.key - b.key)

interface Load {
  rows: number
  calls: number
  right: { easy: number; hard: number }
}

async function serve(refinement: RefinementRequest): Promise<Load> {
  const capacity = { slots, contexts: 2 * slots, pages: 16 * slots }
  const engine = await openEngine({ directory, engine: 'native', threads: 1, ...capacity })
  const core = new EngineCore(engine, openTokenizer(directory), {
    prefillChunk: 512,
    holdSeconds: 0,
    pauseSeconds: 1,
  })
  const budget = budgetOf(engine.model, { reasoning_effort: 'medium', refinement })
  order.forEach(({ example }, i) => {
    core.submit(boardRequest(String(i), example.template, i, budget, 'bench'))
  })
  const load: Load = { rows: 0, calls: 0, right: { easy: 0, hard: 0 } }
  for (let more = true; more;) {
    more = await core.step()
    const { events, stats } = core.report()
    for (const { rows, steps } of stats.ticks) {
      load.rows += rows * steps
      load.calls += steps
    }
    for (const { event, id } of events) {
      if (event.type === 'failed') throw new Error(JSON.stringify(event.error))
      const asked = order[Number(id)]
      if (event.type !== 'finished' || event.text !== asked?.example.completion) continue
      load.right[asked.isHard ? 'hard' : 'easy']++
    }
  }
  await engine.close()
  return load
}

const share = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`
console.log(`${easy} easy and ${hard} hard boards, ${slots} slots`)
console.log(
  '| answers | easy right | hard right | steps of an answer | for each right | slots in use |',
)
console.log('|---|---|---|---|---|---|')
const { energy_target: target = 0 } = readConfig(directory)
const runs: [string, RefinementRequest][] = [
  ...numbersOf(NAME, 'equal', flags.equal, 8).map((steps): [string, RefinementRequest] => [
    `${steps} steps each, in ${CANDIDATES} descents`,
    { candidates: CANDIDATES, max_steps: steps / CANDIDATES, noise: 1, noise_steps: 1 },
  ]),
  ...numbersOf(NAME, 'equal', flags.equal, 8).map((steps): [string, RefinementRequest] => [
    `${steps} steps each, in one descent`,
    { max_steps: steps },
  ]),
  ...numbersOf(NAME, 'most', flags.most, 8).map((steps): [string, RefinementRequest] => [
    `until the target, at most ${steps}, restarts`,
    { restarts: {}, max_steps: steps, energy_target: target },
  ]),
]
for (const [name, refinement] of runs) {
  const { calls, right, rows } = await serve(refinement)
  const all = right.easy + right.hard
  console.log(
    `| ${name} | ${share(right.easy, easy)} | ${share(right.hard, hard)} | ` +
      `${(rows / examples.length).toFixed(0)} | ${(rows / all).toFixed(0)} | ${share(rows, calls * slots)} |`,
  )
}
