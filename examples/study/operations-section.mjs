/** The section of docs/thinking.md on operations for each right answer, from the figures of policies.mjs. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { stepCost } from '../../dist/energy/cost.js'
import { parameterCount } from '../../dist/model/checkpoint.js'
import { readConfig } from '../../dist/model/config.js'
import { table } from './report-table.mjs'

/**
 * Published results on Sudoku-Extreme. `passes`: through all weights that the publication names, for one puzzle; the
 * operations are two for each weight, position and pass, which leaves out attention.
 */
const published = [
  {
    name: 'EqR (arXiv 2605.21488), one trajectory',
    weights: 5e6,
    passes: 20_000,
    how: '"up to an equivalent of 40,000 layers", 2 a pass',
    right: 'over 99 %',
  },
  {
    name: 'EqR, 128 trajectories',
    weights: 5e6,
    passes: 128 * 20_000,
    how: 'the same 128 times, at most',
    right: '99.8 %',
  },
  {
    name: 'TRM (arXiv 2510.04871)',
    weights: 5e6,
    passes: 16 * 3 * 7,
    how: '16 segments of 3 times 6 + 1 passes',
    right: '87.4 %',
  },
  {
    name: 'chenglou/sudoku-solver',
    weights: 0.8e6,
    passes: 1024,
    how: '1,024 iterations',
    right: '98.9 %',
  },
]
const CELLS = 81

/** Published times of a puzzle, in milliseconds, by the links' own words. */
const publishedTimes = [
  {
    name: '[Kona 1.0](https://logicalintelligence.com/blog/energy-based-model-sudoku-demo)',
    weights: 'not said',
    machine: 'not said',
    time: '313, mean',
    right: '96.2 %, puzzles of its visitors',
  },
  {
    name: '[Graph of Models](https://w4m.ai/blog/gom-sudoku/), with a search of its own',
    weights: '97 k',
    machine: 'Apple M5',
    time: '160, mean; 120, median',
    right: '99.82 %, 13,000 of Sudoku-Extreme, neither its easiest half nor its hardest tenth',
  },
]

const billions = (operations) => {
  const value = operations / 1e9
  return value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString('en')
}

/** Times of answers, as examples/study/seconds.mjs has recorded them. */
function secondsPart(docs) {
  const path = join(docs, 'thinking', 'seconds.json')
  if (!existsSync(path)) return []
  const all = JSON.parse(readFileSync(path, 'utf8'))
  const places = new Set(all.map(({ commit, machine }) => `${machine}, commit ${commit}`))
  const milliseconds = (value) =>
    value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString('en')
  const lines = all.map((each) => [
    each.name,
    `\`${each.refinement}\``,
    each.most,
    each.threads,
    `${each.right} of ${each.answers}`,
    each.steps,
    ...[each.mean, each.median, each.perRight, each.perRightTogether].map(milliseconds),
  ])
  return [
    `**Milliseconds** of an answer that has the machine to itself, mean and median; and of all answers, right or not, for each right one: where they are asked one after the other, and
where all are asked at once of 64 slots. The engine core that also serves requests, float32, without HTTP (${[...places].join('; ')}; nothing else was running):

    npm run build && node examples/study/seconds.mjs MODEL DATA.jsonl ROWS MOST_STEPS REFINEMENT...`,
    table(
      [
        'answers',
        'refinement',
        'most steps',
        'threads',
        'right',
        'steps each',
        'mean',
        'median',
        'for each right one',
        'at once',
      ],
      lines,
    ),
  ]
}

/** Observed tokens: the start token alone. */
const CONTEXT = 1
const models = new URL('../../models/', import.meta.url).pathname

export function operationsSection(docs) {
  const path = join(docs, 'thinking', 'policies.json')
  if (!existsSync(path)) return []
  const costs = new Map()
  const lines = JSON.parse(readFileSync(path, 'utf8')).map((each) => {
    const [, name] = /^`([^`]+)`, /.exec(each.name)
    const config = readConfig(join(models, name))
    const { flops } = stepCost(config, CONTEXT)
    costs.set(name, [
      `\`${name}\``,
      parameterCount(config).toLocaleString('en'),
      (flops / 1e6).toFixed(1),
    ])
    const right = each.right.at(-1)
    return [
      each.name,
      `\`${each.refinement}\``,
      each.budgets.at(-1),
      `${(100 * right).toFixed(1)} %`,
      billions((each.mean * flops) / right),
    ]
  })
  return [
    `## Operations

What the searches [above](#restarts) cost. Operations of a step of one answer are counted from the configuration, two for each multiply-add.`,
    table(['model', 'parameters', 'million operations a step'], [...costs.values()]),
    `For each answer that is right: the operations of all answers, also of those that are not right within the budget, divided by how many are right. How long a step
takes is in [native.md](native.md#number-formats).`,
    table(
      ['answers', 'refinement', 'most steps', 'right', '10^9 operations for each right one'],
      lines,
    ),
    ...secondsPart(docs),
    `**Published figures**, not measured here, and on other puzzles: Sudoku-Extreme, whose test set has puzzles of all ratings from hard on, where the hardest
boards above all have a rating of 11 and more. The operations are an estimate from the published numbers of weights and passes, for each puzzle asked, right or not.`,
    table(
      ['system', 'weights', 'passes', '10^9 operations for each puzzle', 'right'],
      published.map(({ how, name, passes, right, weights }) => [
        name,
        `${weights / 1e6}M`,
        how,
        billions(2 * weights * CELLS * passes),
        right,
      ]),
    ),
    `Published times of a puzzle, not measured here either:`,
    table(
      ['system', 'weights', 'machine', 'milliseconds', 'right'],
      publishedTimes.map(({ machine, name, right, time, weights }) => [
        name,
        weights,
        machine,
        time,
        right,
      ]),
    ),
    `Orders of magnitude of operations can be compared, since those of the first table repeat one small network on 81 cells. Shares cannot, since the puzzles differ, nor can times, since
puzzles and machines differ, and a program that searches is part of some. TRM states some 18 hours of a GPU for its training, and EqR's is for several GPUs; \`sudoku9\` was trained on puzzles of 22 to 45 givens of its own generator, for
less than three hours of one core, and solves harder ones by breadth.`,
  ]
}
