/** `basin evaluate`: measures how good a model's answers are at each budget, next to those of a control. */
import { writeFileSync } from 'node:fs'
import { Option, type Command } from 'commander'
import { loadBackend, type Backend, type BackendChoice } from '../../energy/tfjs/backend.js'
import { withRefiner } from '../../energy/open-engine.js'
import { openCheckpoint, parameterCount, type Checkpoint } from '../../model/checkpoint.js'
import { openTokenizer } from '../../tokenizer/tokenizer.js'
import { budgetsOf, scoreBatches } from '../../train/evaluation/evaluate.js'
import {
  discriminationAreas,
  budgetScore,
  choiceScore,
  classesBy,
  type ScoredAnswer,
} from '../../train/evaluation/answer-scores.js'
import type { GivenShare } from '../../train/data/given-positions.js'
import { openData } from '../../train/data/training-data.js'
import { describeEvaluation, type Evaluation } from '../output/evaluation-tables.js'
import { disposeNetwork, loadNetwork } from '../../energy/tfjs/load-network.js'
import {
  backendOption,
  backendThreadsOption,
  budgetsOption,
  DATA_HELP,
  givenOption,
} from '../options/backend-options.js'
import { directionOption } from '../options/engine-options.js'
import { integer, real } from '../options/number-parsers.js'

interface Flags {
  model: string
  control?: string
  data: string[]
  rows: number
  window: number
  given?: GivenShare
  batch: number
  budgets: number[]
  keep: 'best' | 'last'
  refiner: string
  candidates: number
  noise?: number
  noiseSteps: number
  by?: string
  seed: number
  backend: BackendChoice
  threads: number
  json?: string
}

/** Default noise with several candidates, which differ by the noise before their first step. */
const CANDIDATE_NOISE = 1

export function registerEvaluate(program: Command): void {
  program
    .command('evaluate')
    .description('measure the answers of a model at each budget, on data it was not trained on')
    .requiredOption('--model <directory>', 'the model to measure')
    .requiredOption('--data <files...>', DATA_HELP)
    .option('--control <directory>', 'a feed-forward model to compare it with')
    .option('--rows <n>', 'number of windows of text, or of examples', integer(1, 1e7), 256)
    .option('--window <tokens>', 'predicted tokens in a window of text', integer(1, 1e6), 192)
    .addOption(givenOption())
    .option('--batch <rows>', 'rows that are computed together', integer(1, 65_536), 16)
    .addOption(budgetsOption('numbers of descent steps to measure at'))
    .addOption(
      new Option('--keep <which>', 'measure the answer of lowest energy so far, or the last one')
        .choices(['best', 'last'])
        .default('best'),
    )
    .addOption(directionOption())
    .option(
      '--candidates <m>',
      'descents of each answer, of which one is chosen by energy',
      integer(1, 1024),
      1,
    )
    .option(
      '--noise <deviation>',
      `Langevin noise before a step (default: ${CANDIDATE_NOISE} with several candidates, otherwise 0)`,
      real(0, 1000),
    )
    .option('--noise-steps <n>', 'number of steps that have noise', integer(1, 1e6), 1)
    .option(
      '--by <figure>',
      'also list results by a figure of difficulty in the data, such as givens or blanks',
    )
    .option('--seed <n>', 'seed of random starts', integer(0, 2 ** 31 - 1), 7)
    .addOption(backendOption())
    .addOption(backendThreadsOption())
    .option('--json <file>', 'also write the figures to this file')
    .action(evaluate)
}

async function evaluate(flags: Flags): Promise<void> {
  const backend = await loadBackend(flags.backend, flags.threads)
  console.error(`on ${backend.name}`)
  const { model, control, refiner } = flags
  const opened = [{ directory: model, checkpoint: withRefiner(openCheckpoint(model), refiner) }]
  if (control !== undefined)
    opened.push({ directory: control, checkpoint: openCheckpoint(control) })
  const evaluations: Evaluation[] = []
  for (const one of opened) {
    const evaluation = await measure(backend, one, flags)
    console.log(describeEvaluation(evaluation, flags.by))
    evaluations.push(evaluation)
  }
  if (flags.json === undefined) return
  const { data, rows, window, keep, candidates, noiseSteps, by, seed } = flags
  const report = {
    data,
    rows,
    window,
    keep,
    refiner,
    candidates,
    noise: noiseOf(flags),
    noiseSteps,
    by,
    seed,
    backend: backend.name,
    models: evaluations,
  }
  writeFileSync(flags.json, `${JSON.stringify(report, null, 2)}\n`)
}

async function measure(
  { tf }: Backend,
  { directory, checkpoint }: { directory: string; checkpoint: Checkpoint },
  flags: Flags,
): Promise<Evaluation> {
  const { config } = checkpoint
  const data = openData({
    ...flags,
    valid: flags.data,
    rows: flags.batch,
    validRows: flags.rows,
    relabel: [],
    strict: true,
    config,
    tokenizer: openTokenizer(directory),
  })
  const network = loadNetwork(tf, checkpoint)
  const options = { ...flags, noise: noiseOf(flags) }
  const answers = await scoreBatches(network, data.validation, options)
  const budgets = budgetsOf(network, flags.budgets)
  const counts = config.feed_forward ? [] : doublings(flags.candidates)
  const bytes = data.bytesPerPosition * Math.LN2
  disposeNetwork(network)
  return {
    name: config.name,
    parameters: parameterCount(config),
    ...figures(answers, budgets, counts, bytes),
    ...(flags.by !== undefined && {
      classes: classesBy(answers, flags.by).map(({ label, answers: members }) => {
        const { scores, ...rest } = figures(members, budgets, counts, 0)
        return { label, ...rest, budgets: scores }
      }),
    }),
  }
}

const noiseOf = ({ candidates, noise }: Flags): number =>
  noise ?? (candidates > 1 ? CANDIDATE_NOISE : 0)

/** 2, 4, 8, ... and `most`; empty for 1. */
function doublings(most: number): number[] {
  const counts: number[] = []
  for (let count = 2; count < most; count *= 2) counts.push(count)
  return most > 1 ? [...counts, most] : []
}

/** `bytes`: UTF-8 bytes per predicted position, times ln 2; 0 for JSON lines. */
const figures = (
  answers: readonly ScoredAnswer[],
  budgets: readonly number[],
  counts: readonly number[],
  bytes: number,
): Pick<Evaluation, 'answers' | 'scores'> => ({
  answers: answers.length,
  scores: budgets.map((steps, budget) => {
    const score = budgetScore(answers, steps, budget)
    return {
      ...score,
      ...(bytes > 0 && { bitsPerByte: score.nats / bytes }),
      judge: discriminationAreas(answers, budget),
      choices: counts.map((count) => choiceScore(answers, budget, count)),
    }
  }),
})
