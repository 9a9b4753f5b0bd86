/** The section of docs/thinking.md on blocks of text that settle as a whole, from the figures of blocks.mjs. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { table } from './report-table.mjs'

const nats = ({ mean, error }) => `${mean.toFixed(3)} ± ${error.toFixed(3)}`
const signed = ({ mean, error }) => `${mean > 0 ? '+' : ''}${mean.toFixed(4)} ± ${error.toFixed(4)}`
/** Half of an interval of 95 %, of a mean with this standard error. */
const HALF = 1.96

/** A share of independent cases in percent, and its standard error. */
function shareOf(right, cases) {
  const share = right / cases
  const error = Math.sqrt((share * (1 - share)) / cases)
  return `${(100 * share).toFixed(1)} ± ${(100 * error).toFixed(1)} %`
}

function infillingPart({ blanks, block, context, infilling, rows }) {
  const kinds = Object.keys(infilling)
  const at = (of) => kinds.map((kind) => of(infilling[kind]))
  const lines = [
    ...infilling[kinds[0]].atOnce.map(({ steps }, i) => [
      `at once, ${steps} steps`,
      ...at(({ atOnce }) => nats(atOnce[i])),
    ]),
    ['one after the other, 2 steps each', ...at(({ inOrder }) => nats(inOrder))],
  ]
  if (infilling[kinds[0]].control)
    lines.push(
      ['causal control, text on the left alone', ...at(({ control }) => nats(control))],
      [
        'one after the other, as a share of the control',
        ...at(({ share }) => `${(100 * share).toFixed(1)} %`),
      ],
    )
  return [
    `**Infilling.** ${rows} pieces of a held-out text: ${context} tokens, then a block of ${block} of which ${blanks} are blank with text on both sides, as a run in its middle or
scattered. Nats of each blank and a standard error over pieces. At once: every blank is read by itself. One after the other: from left to
right, each with those before it told, which is an exact log-likelihood of all blanks together, as the control's is. The control was not trained to fill in the middle.`,
    table(['nats for each blank', ...kinds], lines),
  ]
}

function writingPart({ judge, writing }) {
  const kinds = Object.keys(writing)
  const lines = writing[kinds[0]].ways.map(({ budget, rounds, steps }, i) => [
    budget,
    `${rounds} x ${steps}`,
    ...kinds.flatMap((kind) => {
      const { beyond16, change, ...way } = writing[kind].ways[i]
      const value = budget <= 16 ? change : beyond16
      return [nats(way), value ? signed(value) : '']
    }),
  ])
  const truth = kinds.flatMap((kind) => [nats(writing[kind].truth), ''])
  return [
    `**Writing.** The most probable tokens are committed in rounds, evenly, with so many steps in each. Nats per byte of the block for the judge, \`${judge.split('/').at(-1)}\` after one step, and the change: up
to 16 against half the budget, beyond against 16, with standard errors over pieces. \`infill\`: the runs of above; \`continue\`: whole blocks.`,
    table(
      ['rounds x steps', '', ...kinds.flatMap((kind) => [kind, 'change'])],
      [...lines, ['the true text', '', ...truth]],
    ),
  ]
}

function readingPart({ choosing, distinct, endings }) {
  const { cases, ...measures } = choosing
  const share = (list) => list.map((x) => `${(100 * x).toFixed(1)} %`).join(', ')
  return [
    `**Distinct n-grams.** Of 1, 2, 3 words in continuations of one block at temperature 0.7, ${share(distinct.written)} are different ones; of the true text ${share(distinct.truth)}.`,
    `**Reading.** Of ${endings.stories} stories, the true ending fits best among it and three that the model wrote itself, all of them with as many tokens as the true one (chance is 25 %).
Each token left out: the mean over tokens of the nats of each where all others are given (pseudo-log-likelihood); less entropy: of what is read there, that is how much less probable than a draw
of the model's own the token is. What the model writes is more predictable than true text, which the second does not count in its favour. Endings have one length because the model's sentences are shorter than
true ones. This comparison was settled before the model measured here was trained; its training tells true answers from its own by the energy of their tokens too (\`--own-answers\`), on other stories.`,
    table(
      ['measure', 'true ending first'],
      Object.entries(endings.right).map(([name, right]) => [name, shareOf(right, endings.stories)]),
    ),
    `Of 16 continuations of ${cases} pieces (temperature 0.7), the judge's nats per byte of the one that the model rates best, less the mean of the 16, with an interval of 95 %:`,
    table(
      ['measure', 'difference'],
      Object.entries(measures).map(([name, { error, mean }]) => [
        name,
        `${mean > 0 ? '+' : ''}${mean.toFixed(4)} ± ${(HALF * error).toFixed(4)}`,
      ]),
    ),
  ]
}

/** Whether a mean is below 0 in 95 % confidence. */
const surelyBelow = ({ error, mean }) => mean + HALF * error < 0

const answer = (reached) => (reached ? 'yes' : 'no')

/** What was aimed at before any model was measured, and whether the figures reach it. */
function aimsPart({ choosing, endings, infilling, writing }) {
  const energy = 'energy of its tokens'
  const blanks = Object.entries(infilling)
    .filter(([, { share }]) => share !== undefined)
    .map(([kind, { share }]) => [
      `blanks with text on both sides, ${kind}: at most 80 % of the nats of the causal control`,
      `${(100 * share).toFixed(1)} %`,
      answer(share <= 0.8),
    ])
  const written = Object.entries(writing).flatMap(([kind, { ways }]) => {
    const doublings = ways.filter(({ budget, change }) => change && budget <= 16)
    const least = doublings.reduce((a, b) => (b.change.mean > a.change.mean ? b : a))
    const worst = ways
      .filter(({ budget }) => budget > 16)
      .reduce((a, b) => (b.beyond16.mean > a.beyond16.mean ? b : a))
    return [
      [
        `${kind}: every doubling of rounds up to 16 lowers the judge's cost`,
        `${signed(least.change)}, the least, to ${least.budget}`,
        least.change.mean < 0 && !surelyBelow(least.change)
          ? 'by the mean, not in 95 % confidence'
          : answer(least.change.mean < 0),
      ],
      [
        `${kind}: no budget beyond 16 does harm that 95 % confidence shows`,
        `${signed(worst.beyond16)}, the most, at ${worst.rounds} x ${worst.steps}`,
        answer(worst.beyond16.mean <= HALF * worst.beyond16.error),
      ],
    ]
  })
  const best = choosing[energy]
  const lines = [
    ...blanks,
    ...written,
    [
      'the true ending first by the energy of its tokens: at least 75 %',
      shareOf(endings.right[energy], endings.stories),
      answer(endings.right[energy] >= 0.75 * endings.stories),
    ],
    [
      'the best of 16 by the energy of its tokens better than one at random, in 95 % confidence',
      `${signed(best)} nats per byte`,
      answer(surelyBelow(best)),
    ],
  ]
  return [
    '**Aims**, set before a model was measured, and what was reached, with standard errors:',
    table(['aim', 'measured', 'reached'], lines),
  ]
}

export function blocksSection(docs) {
  const path = join(docs, 'thinking', 'blocks.json')
  if (!existsSync(path)) return []
  const found = JSON.parse(readFileSync(path, 'utf8'))
  return [
    '## Blocks of text',
    `How \`${found.model}\` fills and writes blocks that settle as a whole, measured by

    npm run build && node examples/study/blocks.mjs models/${found.model} TEXT --judge models/stories --control DIRECTORY --record`,
    ...infillingPart(found),
    ...writingPart(found),
    ...readingPart(found),
    ...aimsPart(found),
  ]
}
