/** Writes docs/thinking.md and its pictures from the figures of a study. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { operationsSection } from './operations-section.mjs'
import { blocksSection } from './blocks-section.mjs'
import { endingsSection } from './endings-section.mjs'
import { chart, controlColours, rampColours, setColours } from './chart.mjs'
import { table } from './report-table.mjs'

const percent = (share) => `${(100 * share).toFixed(1)} %`
const area = (value) => (value === null || value === undefined ? '-' : value.toFixed(3))

/** A difference of shares and its standard error, in percentage points. */
const points = ({ error, mean }) =>
  `${mean > 0 ? '+' : ''}${(100 * mean).toFixed(1)} ± ${(100 * error).toFixed(1)}`

/**
 * A sentence that says which budgets did worse than smaller ones, of several series of scores. `of`: the score, the
 * larger the better.
 */
function growth(series, of) {
  const falls = series.flatMap((scores) =>
    scores.flatMap((score, i) =>
      i > 0 && of(score) < of(scores[i - 1]) ? [`${scores[i - 1].steps} to ${score.steps}`] : [],
    ),
  )
  return falls.length === 0
    ? 'No budget did worse than a smaller one.'
    : `A larger budget did worse from ${falls.join(', ')} steps.`
}

async function answersSection(docs, plan, figures) {
  const { name, trained, sets, long, candidates, allocation, control } = figures
  const budgets = sets[0].scores.map(({ steps }) => steps)
  const hard = sets.at(-1)
  const controlRow = control && [
    'control, one pass',
    ...sets.flatMap(({ name: set }) => {
      const found = control.scores[set]
      return found ? [percent(found.solved), ''] : ['', '']
    }),
  ]
  const quality = table(
    ['steps', ...sets.flatMap((set) => [set.name, 'AUROC'])],
    [
      ...budgets.map((steps, i) => [
        steps,
        ...sets.flatMap(({ scores }) => [percent(scores[i].solved), area(scores[i].judge.energy)]),
      ]),
      ...(controlRow ? [controlRow] : []),
    ],
  )
  const parts =
    plan.parts &&
    table(
      ['steps', ...sets.map((set) => set.name)],
      [
        ...budgets.map((steps, i) => [
          steps,
          ...sets.map(({ scores }) => percent(scores[i].accuracy)),
        ]),
        ...(control
          ? [
              [
                'control, one pass',
                ...sets.map((set) => percent(control.scores[set.name].accuracy)),
              ],
            ]
          : []),
      ],
    )
  await draw(docs, `${name}-steps`, axes(plan.title, 'answers that are wholly right', 'steps'), [
    ...sets.map((set, i) => ({
      name: set.name,
      colour: setColours[i],
      points: set.scores.map(({ steps, solved }) => [steps, solved]),
    })),
    ...sets.flatMap((set, i) => {
      const found = control?.scores[set.name]
      return found
        ? [{ name: `control, ${set.name}`, colour: controlColours[i], level: found.solved }]
        : []
    }),
  ])
  const counts = candidates.budgets[0].choices.map((choice) => choice.candidates)
  await draw(
    docs,
    `${name}-candidates`,
    axes(
      `${plan.title}, ${hard.name}`,
      'answers that are wholly right, one of several chosen by energy',
      'candidates',
    ),
    candidates.budgets.map(({ steps, choices }, i) => ({
      name: `${steps} steps`,
      colour: rampColours[i + rampColours.length - candidates.budgets.length],
      points: choices.map((choice) => [choice.candidates, choice.byEnergy]),
    })),
  )
  const choosing = table(
    [
      'steps',
      ...counts.map((c) => `of ${c}`),
      `best of ${counts.at(-1)}`,
      'energy',
      'disagreement',
      'doubt',
    ],
    candidates.budgets.map(({ steps, choices, judge }) => [
      steps,
      ...choices.map(({ byEnergy, atRandom, candidates: c }) =>
        percent(c === 1 ? atRandom : byEnergy),
      ),
      percent(choices.at(-1).best),
      area(judge.energy),
      area(judge.disagreement),
      area(judge.doubt),
    ]),
  )
  const classes = table(
    [plan.by, 'answers', ...budgets.map((b) => `${b}`)],
    hard.classes.map(({ label, answers, scores }) => [
      label,
      answers,
      ...scores.map(({ solved }) => percent(solved)),
    ]),
  )
  const sharing = table(
    [
      'steps in all',
      ...allocation.totals[0].even.map(({ candidates: c }) => `even, ${c}`),
      'adaptive, 8',
      'steps it took',
    ],
    allocation.totals.map(({ total, even, adaptive }) => [
      total,
      ...even.map(({ solved, candidates: c }) => (c > total ? '-' : percent(solved))),
      percent(adaptive.solved),
      adaptive.steps.toFixed(1),
    ]),
  )
  const stays = table(
    ['steps', 'right', 'energy'],
    long.scores.map(({ steps, solved, energy }) => [steps, percent(solved), energy.toPrecision(4)]),
  )
  return [
    ...sets.map(
      (set) =>
        `\`${set.name}\`: ${set.rows} answers of \`basin tasks ${set.words.join(' ')} --count ${set.rows}\`${trained ? `, none of them in \`basin tasks ${trained}\`` : ''}${set.harder ? ` (${set.harder})` : ''}.`,
    ),
    `Answers that are wholly right, where the answer is the one of lowest energy so far, and the AUROC of that energy (the area under the ROC curve, right answers against wrong ones):`,
    quality,
    ...(parts ? [`The ${plan.parts} in them that are right:`, parts] : []),
    `![right answers against steps](thinking/${name}-steps.svg)`,
    sets.map((set) => `${set.name}: ${growth([set.scores], (s) => s.solved)}`).join(' '),
    `Far beyond the trained number of steps (${long.rows} answers held out). ${percent(long.converged.share)} of them count as converged (the energy changes by at most 1e-3 of itself three steps in a row, or the best energy does in 16 times the trained steps) within ${long.scores.at(-1).steps} steps${byStep(long.converged)}${long.target === null ? '' : `; ${percent(long.onTarget.share)} reach the model's energy target of ${long.target}${byStep(long.onTarget)}`}; the highest energy at the last step is ${long.highestLastEnergy.toPrecision(3)}. ${growth([long.scores], (s) => s.solved)}`,
    stays,
    `Several candidates that start from noise, ${hard.name} (${candidates.rows} answers). A start from noise takes a step or two more than the model's own start, which the first table has. \`of 1\` is a candidate at random; the last three columns are AUROCs over all candidates:`,
    choosing,
    `![right answers against candidates](thinking/${name}-candidates.svg)`,
    `By ${plan.by}, ${hard.name}, and the number of steps:`,
    classes,
    `The same total of steps, ${hard.name} (${allocation.rows} answers), divided evenly among 1 to 8 candidates or adaptively (\`refinement.allocation\`) among 8:`,
    sharing,
  ]
}

const byStep = ({ median }) => (median === null ? '' : `, half of these by step ${median}`)

async function textSection(docs, plan, { name, source, text, control }) {
  const found = control?.scores.text
  await draw(docs, `${name}-steps`, axes(plan.title, 'next tokens that are right', 'steps'), [
    {
      name: 'model',
      colour: setColours[0],
      points: text.map(({ steps, accuracy }) => [steps, accuracy]),
    },
    ...(found ? [{ name: 'control', colour: controlColours[0], level: found.accuracy }] : []),
  ])
  return [
    `The first ${source.rows} windows of ${source.window} tokens of a held-out text (${source.bytes} bytes, SHA-256 ${source.hash}...), given by \`--text\`:`,
    table(
      ['steps', 'bits per byte', 'next token right'],
      [
        ...text.map(({ steps, bitsPerByte, accuracy }) => [
          steps,
          bitsPerByte.toFixed(4),
          percent(accuracy),
        ]),
        ...(found ? [['control', found.bitsPerByte.toFixed(4), percent(found.accuracy)]] : []),
      ],
    ),
    `![next token against steps](thinking/${name}-steps.svg)`,
    growth([text], ({ bitsPerByte }) => -bitsPerByte),
  ]
}

const axes = (title, subtitle, across) => ({ title, subtitle, across })

async function draw(docs, file, titles, series) {
  writeFileSync(join(docs, 'thinking', `${file}.svg`), `${await chart(titles, series)}\n`)
}

async function section(docs, name, plan) {
  const path = join(docs, 'thinking', `${name}.json`)
  if (!existsSync(path)) return [`## ${plan.title}`, 'Not measured yet.']
  const figures = JSON.parse(readFileSync(path, 'utf8'))
  const { commit, engine, machine, seconds, control } = figures
  const recorded = control
    ? ` The control's figures are those of \`evaluation.json\`, measured at commit ${control.commit}.`
    : ' No control has been recorded.'
  return [
    `## ${plan.title}`,
    `[models/${name}](../models/${name}/README.md), ${engine}, ${machine}, ${seconds} s, commit ${commit}.${recorded}${plan.note ? ` ${plan.note}` : ''}`,
    ...(await (figures.text ? textSection : answersSection)(docs, plan, figures)),
  ]
}

const introduction = `# Thinking longer

This page shows what more steps and more candidates give for each shipped model, and how well the energy
separates right answers from wrong ones. It is written by

    npm run build && npm run study

which makes its own data (the commands are below; descents start from noise of seed 7) and takes some minutes
for each model on one core. Pictures and figures are in [thinking/](thinking). A control is a feed-forward
transformer of the same size, trained on the same data for the same processor time; it answers in one pass.
Controls are not shipped: the same study with \`--control NAME=DIRECTORY\` measures one and records its
figures with the model.`

/** Ways to spend the same number of steps, as examples/study/policies.mjs has recorded them. */
function policiesSection(docs) {
  const path = join(docs, 'thinking', 'policies.json')
  if (!existsSync(path)) return []
  const all = JSON.parse(readFileSync(path, 'utf8'))
  const names = [...new Set(all.map(({ name }) => name))]
  const tables = names.map((name) => {
    const rows = all.filter((each) => each.name === name)
    const budgets = [...new Set(rows.flatMap((row) => row.budgets))].sort((a, b) => a - b)
    const cells = (row, texts) =>
      budgets.map((budget) => {
        const at = row.budgets.indexOf(budget)
        return at < 0 ? '' : texts[at]
      })
    const lines = rows.flatMap((row) => [
      [`\`${row.refinement}\``, row.answers, row.mean, ...cells(row, row.right.map(percent))],
      ['accepted', '', '', ...cells(row, row.accepted.map(percent))],
      ...(row.more
        ? [[`more than \`${row.against}\``, '', '', ...cells(row, row.more.map(points))]]
        : []),
    ])
    const scores = rows.map(({ budgets, right }) =>
      right.map((solved, i) => ({ steps: budgets[i], solved })),
    )
    const wrong = rows.reduce((sum, row) => sum + row.wrong, 0)
    return [
      `${name}; accepted wrongly: ${wrong}. ${growth(scores, (s) => s.solved)}`,
      table(['refinement', 'answers', 'steps each', ...budgets], lines),
    ].join('\n\n')
  })
  return [policiesIntroduction, ...tables]
}

/** Energies at which answers rest, as examples/study/targets.mjs has recorded them. */
function targetsSection(docs) {
  const path = join(docs, 'thinking', 'targets.json')
  if (!existsSync(path)) return []
  const models = JSON.parse(readFileSync(path, 'utf8')).map((found) => {
    const cell = ({ accepted, acceptedWrong, answers }, i) =>
      `${percent(accepted[i] / answers)}, ${acceptedWrong[i]}`
    const lines = found.tables.map((each) => [
      `${each.answers} of ${each.data}`,
      `${each.right}, ${each.wrong}`,
      ...found.targets.map((_, i) => cell(each, i)),
    ])
    const list = (energies) => energies.map((energy) => energy.toFixed(2)).join(', ')
    return [
      `\`${found.model}\`, whose target is ${found.target ?? 'none'}. Lowest energies of wrong rests: ${list(found.lowestWrong)}; highest of right ones: ${list(found.highestRight)}.`,
      table(['answers', 'rests: right, wrong', ...found.targets.map((t) => `≤ ${t}`)], lines),
    ].join('\n\n')
  })
  return [targetsIntroduction, ...models]
}

const targetsIntroduction = `## Energy targets

At which energy an answer may be accepted. Of every puzzle one descent begins as the model does and takes twice its trained steps, and three begin from noise of
unit deviation and take them once; a rest is the state of lowest energy of a descent. Cells: the share of answers that the first descent ends
right at or below this energy, and the number of wrong rests of all descents at or below it. Seed 7; measured by

    npm run build && node examples/study/targets.mjs --record MODEL TARGETS OUT DATA.jsonl=ROWS...`

const policiesIntroduction = `## Restarts

The same number of steps, spent in one descent (\`{"candidates":1}\`) or in descents that begin anew (\`refinement.restarts\`,
[http.md](http.md#restarts-and-commits)), eight at a time; \`mixed\` begins with one and doubles how many go at a time as its steps double. Columns are steps of all descents of an answer together; an answer ends when it
reaches the model's energy target. First line: answers whose state of lowest energy so far is right. Second line: those that reached the
target, right or wrong. Third line, where it is measured: by how many percentage points more are right than with the refinement that is named, on the
same answers, and the standard error of that difference; a share s of n answers has one of the root of s (1 - s) / n. Seed 7; native, avx512 f32; measured
at commits 951fb94 and 218f4e4, and the default, \`mixed\`, at 6b57657; what is not marked otherwise of \`sudoku9\` at 5e0e236, whose weights are
those shipped now; by

    npm run build && node examples/study/policies.mjs MODEL DATA.jsonl ROWS MOST_STEPS REFINEMENT...`

/** Language first, then boards and sums. */
export async function writeReport(docs, names, plans) {
  const language = []
  const others = []
  for (const name of names) {
    const sections = plans[name].language ? language : others
    sections.push(...(await section(docs, name, plans[name])))
  }
  const parts = [
    introduction,
    ...language,
    ...blocksSection(docs),
    ...endingsSection(docs),
    ...others,
    ...policiesSection(docs),
    ...operationsSection(docs),
    ...targetsSection(docs),
  ]
  writeFileSync(join(docs, 'thinking.md'), `${parts.join('\n\n')}\n`)
}
