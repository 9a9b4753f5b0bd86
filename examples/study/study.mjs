/**
 * Measures what more steps and more candidates give for each shipped model, on data made here:
 *
 *     npm run build && npm run study -- [--model NAME ...] [--control NAME=DIRECTORY ...] [--text FILE]
 *
 * writes figures and pictures to docs/thinking/ and docs/thinking.md, or to another directory with --docs.
 * --control measures a control, which is not shipped, on the same data and records it in the model's
 * evaluation.json, from which later studies take it. --text is held-out text for models of text; without
 * it, their recorded figures stay. --rows and --steps shorten the study, to try it. --draw measures nothing,
 * and writes page and pictures again from recorded figures.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import {
  discriminationAreas,
  budgetScore,
  choiceScore,
  classesBy,
} from '../../dist/train/evaluation/answer-scores.js'
import { allocate } from './allocation.mjs'
import { scoreExamples, openModel, readExamples } from './measure.mjs'
import { plans } from './plans.mjs'
import { writeReport } from './report.mjs'

const { values } = parseArgs({
  options: {
    work: { type: 'string', default: join(tmpdir(), 'basin-study') },
    model: { type: 'string', multiple: true },
    control: { type: 'string', multiple: true, default: [] },
    text: { type: 'string' },
    docs: { type: 'string' },
    draw: { type: 'boolean', default: false },
    rows: { type: 'string' },
    steps: { type: 'string' },
  },
})
const project = (path) => new URL(`../../${path}`, import.meta.url).pathname
const shipped = readdirSync(project('models'))
const names = values.model ?? shipped
const controls = new Map(values.control.map((pair) => pair.split('=')))
const commit = execFileSync('git', ['rev-parse', '--short=12', 'HEAD'], { encoding: 'utf8' }).trim()

const docs = values.docs ?? project('docs')

/** The budgets up to --steps; at least one. */
function within(budgets) {
  const most = Number(values.steps ?? Infinity)
  const kept = budgets.filter((budget) => budget <= most)
  return kept.length > 0 ? kept : [most]
}

/**
 * The plan with the rows and budgets that --rows and --steps allow. With --rows, data is not compared with
 * the training data.
 */
function shortened(plan) {
  const rows = Number(values.rows ?? Infinity)
  const fewer = (part) => ({ ...part, rows: Math.min(part.rows, rows) })
  const parts = plan.text
    ? {}
    : {
        data: plan.data.map(fewer),
        candidates: { ...fewer(plan.candidates), budgets: within(plan.candidates.budgets) },
        long: fewer(plan.long),
        allocation: { ...fewer(plan.allocation), totals: within(plan.allocation.totals) },
      }
  const trained = values.rows === undefined ? plan.trained : undefined
  return { ...plan, trained, budgets: within(plan.budgets), ...parts }
}

function basin(...words) {
  console.error(`basin ${words.join(' ')}`)
  const { status, stderr } = spawnSync(process.execPath, [project('dist/cli/main.js'), ...words], {
    encoding: 'utf8',
  })
  if (status === 0) return
  console.error(stderr.trim().split('\n').at(-1))
  process.exit(1)
}

/** The file of a data set, which is made unless it exists. */
function dataFile(name, { words, name: set }, count, exclude) {
  const file = join(values.work, `${name}-${set.replaceAll(' ', '-')}-${count}.jsonl`)
  const all = ['tasks', ...words, ...(count ? ['--count', String(count)] : [])]
  const rest = exclude ? ['--exclude', exclude] : []
  if (!existsSync(file)) basin(...all, ...rest, '--out', file)
  return file
}

const round = (value) => (typeof value === 'number' ? Number(value.toPrecision(6)) : value)
const rounded = (value) => JSON.parse(JSON.stringify(value, (_, v) => round(v)))

const scoresOf = (answers, budgets) =>
  budgets.map((steps, budget) => {
    const { solved, accuracy, energy } = budgetScore(answers, steps, budget)
    return { steps, solved, accuracy, energy, judge: discriminationAreas(answers, budget) }
  })

/** Share of the answers that have a step `when`, and the median of these steps. */
function reached(answers, when) {
  const steps = answers.flatMap((answer) => answer[when] ?? []).sort((a, b) => a - b)
  return {
    share: steps.length / answers.length,
    median: steps[Math.floor(steps.length / 2)] ?? null,
  }
}

function longRun(model, file, { rows, times }) {
  const { energy_target: target = null, steps: trained } = model.engine.model
  const budgets = within(times.map((factor) => factor * trained))
  const answers = scoreExamples(model, readExamples(file, rows), { budgets })
  return {
    rows,
    scores: scoresOf(answers, budgets),
    converged: reached(answers, 'convergedAt'),
    target,
    onTarget: reached(answers, 'onTargetAt'),
    highestLastEnergy: Math.max(...answers.map(({ lastEnergy }) => lastEnergy)),
  }
}

function candidatesRun(model, file, { rows, budgets, counts }) {
  const candidates = Math.max(...counts)
  const answers = scoreExamples(model, readExamples(file, rows), { budgets, candidates })
  return {
    rows,
    budgets: budgets.map((steps, budget) => ({
      steps,
      judge: discriminationAreas(answers, budget),
      choices: counts.map((count) => choiceScore(answers, budget, count)),
    })),
  }
}

async function allocationRun(directory, file, { rows, totals }) {
  const examples = readExamples(file, rows)
  const found = []
  for (const total of totals) {
    const row = { total, even: [] }
    for (const candidates of [1, 2, 4, 8]) {
      const limits = { candidates, maxSteps: Math.floor(total / candidates), allocation: 'even' }
      row.even.push({ candidates, ...(await allocate(directory, examples, limits)) })
    }
    const limits = { candidates: 8, maxSteps: Math.ceil(total / 8), allocation: 'adaptive' }
    row.adaptive = await allocate(directory, examples, limits)
    found.push(row)
  }
  return { rows, totals: found }
}

/** The control's figures: measured now if --control names its directory, otherwise as recorded. */
function controlOf(name, files, rows) {
  const path = join(project('models'), name, 'evaluation.json')
  const recorded = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {}
  const directory = controls.get(name)
  if (directory === undefined) return recorded.control
  const report = join(values.work, `${name}-control.json`)
  const scores = Object.fromEntries(
    Object.entries(files).map(([set, file]) => {
      basin(
        'evaluate',
        '--model',
        directory,
        '--data',
        file,
        '--rows',
        String(rows[set]),
        '--batch',
        '40',
        '--json',
        report,
      )
      const { parameters, scores } = JSON.parse(readFileSync(report, 'utf8')).models[0]
      const { solved, accuracy, bitsPerByte } = scores[0]
      return [set, { answers: rows[set], parameters, solved, accuracy, bitsPerByte }]
    }),
  )
  recorded.control = rounded({ commit, scores })
  writeFileSync(path, `${JSON.stringify(recorded, null, 2)}\n`)
  return recorded.control
}

async function studyAnswers(name, plan) {
  const directory = join(project('models'), name)
  const trained = plan.trained && dataFile(name, plan.trained, 0)
  const files = Object.fromEntries(
    plan.data.map((set) => [set.name, dataFile(name, set, set.rows, trained)]),
  )
  const model = await openModel(directory)
  const { info } = model.engine
  const sets = plan.data.map((set) => {
    console.error(`${name}: ${set.name}`)
    const answers = scoreExamples(model, readExamples(files[set.name], set.rows), {
      budgets: plan.budgets,
    })
    const classes = classesBy(answers, plan.by).map(({ label, answers: members }) => {
      return { label, answers: members.length, scores: scoresOf(members, plan.budgets) }
    })
    return { ...set, scores: scoresOf(answers, plan.budgets), classes }
  })
  const hardest = files[plan.data.at(-1).name]
  console.error(`${name}: long`)
  const long = longRun(model, files[plan.data[0].name], plan.long)
  console.error(`${name}: candidates`)
  const candidates = candidatesRun(model, hardest, plan.candidates)
  model.engine.close()
  console.error(`${name}: allocation`)
  const allocation = await allocationRun(directory, hardest, plan.allocation)
  const rows = Object.fromEntries(plan.data.map((set) => [set.name, set.rows]))
  const control = controlOf(name, files, rows)
  const engine = `${info.name}, ${info.backend}`
  const words = plan.trained?.words.join(' ')
  return { engine, trained: words, sets, long, candidates, allocation, control }
}

function studyText(name, plan, previous) {
  if (values.text === undefined) {
    const instead = previous ? 'recorded figures stay' : 'it is left out'
    console.error(`${name}: no --text, so ${instead}`)
    return previous
  }
  const report = join(values.work, `${name}.json`)
  const words = ['--data', values.text, '--rows', '32', '--json', report]
  basin(
    'evaluate',
    '--model',
    join(project('models'), name),
    ...words,
    '--budgets',
    plan.budgets.join(),
  )
  const { models, backend } = JSON.parse(readFileSync(report, 'utf8'))
  const scores = models[0].scores.map(({ steps, bitsPerByte, accuracy, energy }) => {
    return { steps, bitsPerByte, accuracy, energy }
  })
  const control = controlOf(name, { text: values.text }, { text: 32 })
  const content = readFileSync(values.text)
  const hash = createHash('sha256').update(content).digest('hex').slice(0, 16)
  const source = { rows: 32, window: 192, bytes: content.length, hash }
  return { engine: `tfjs, ${backend}`, source, text: scores, control }
}

mkdirSync(values.work, { recursive: true })
mkdirSync(join(docs, 'thinking'), { recursive: true })
if (values.draw) await writeReport(docs, shipped, plans)
else
  for (const name of names) {
    if (!plans[name]) {
      console.error(`${name} has no plan in examples/study/plans.mjs`)
      process.exit(1)
    }
    const plan = shortened(plans[name])
    const path = join(docs, 'thinking', `${name}.json`)
    const previous = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined
    const started = performance.now()
    const found = plan.text ? studyText(name, plan, previous) : await studyAnswers(name, plan)
    if (found !== previous) {
      const seconds = Math.round((performance.now() - started) / 1000)
      const figures = { name, commit, machine: cpus()[0].model, seconds, ...rounded(found) }
      writeFileSync(path, `${JSON.stringify(figures)}\n`)
    }
    await writeReport(docs, shipped, plans)
  }
