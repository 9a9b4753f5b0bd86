/** `basin evaluate`: how good the answers of a model are at each budget, beside a control. */
import { writeFileSync } from 'node:fs'
import { Option, type Command } from 'commander'
import {
  backendChoices,
  loadBackend,
  type Backend,
  type BackendChoice,
} from '../../energy/tfjs/backend.js'
import { withRefiner } from '../../energy/open.js'
import { Network } from '../../energy/tfjs/network.js'
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
import { openData } from '../../train/data/training-data.js'
import { describeEvaluation, type Evaluation } from '../output/evaluation-tables.js'
import { integer, integerList, real } from '../options/number-parsers.js'
import { directionOption } from '../open-models.js'

interface Flags {
  model: string
  control?: string
  data: string[]
  rows: number
  window: number
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

/** Candidates of one answer differ by the noise of their first step alone, unless told otherwise. */
const CANDIDATE_NOISE = 1

export function registerEvaluate(program: Command): void {
  program
    .command('evaluate')
    .description('measure the answers of a model at each budget, on data it was not trained on')
    .requiredOption('--model <directory>', 'model to measure')
    .requiredOption('--data <files...>', 'text, or JSON lines {prompt?, template?, completion}')
    .option('--control <directory>', 'feed-forward model to set beside it')
    .option('--rows <n>', 'windows of text, or examples', integer(1, 1e7), 256)
    .option('--window <tokens>', 'predicted tokens per window of text', integer(1, 1e6), 192)
    .option('--batch <rows>', 'rows computed together', integer(1, 65_536), 16)
    .option('--budgets <list>', 'numbers of steps', integerList, [1, 2, 4, 8, 16, 32])
    .addOption(
      new Option('--keep <which>', 'the answer measured: of lowest energy so far, or the last')
        .choices(['best', 'last'])
        .default('best'),
    )
    .addOption(directionOption())
    .option(
      '--candidates <m>',
      'descents of each answer, one chosen by energy',
      integer(1, 1024),
      1,
    )
    .option(
      '--noise <deviation>',
      `Langevin noise before a step (default: ${CANDIDATE_NOISE} with several candidates, else 0)`,
      real(0, 1000),
    )
    .option('--noise-steps <n>', 'first steps that have noise', integer(1, 1e6), 1)
    .option('--by <figure>', 'classes by a figure of the data, such as givens; or by blanks')
    .option('--seed <n>', 'seed of random starts', integer(0, 2 ** 31 - 1), 7)
    .addOption(
      new Option('--backend <name>', 'TensorFlow.js backend')
        .choices(backendChoices)
        .default('auto'),
    )
    .option('--threads <n>', 'threads of the native and wasm backends', integer(1, 1024), 1)
    .option('--json <file>', 'write the figures there as well')
    .action(evaluate)
}

async function evaluate(flags: Flags): Promise<void> {
  const backend = await loadBackend(flags.backend, flags.threads)
  console.error(`on ${backend.name}`)
  const { model, control, refiner } = flags
  const opened = [{ directory: model, checkpoint: withRefiner(openCheckpoint(model), refiner) }]
  if (control !== undefined)
    opened.push({ directory: control, checkpoint: openCheckpoint(control) })
  const evaluations = opened.map((one) => {
    const evaluation = measure(backend, one, flags)
    console.log(describeEvaluation(evaluation, flags.by))
    return evaluation
  })
  if (flags.json === undefined) return
  const { data, rows, window, keep, candidates, noiseSteps, by, seed } = flags
  const settings = {
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
  }
  const report = { ...settings, backend: backend.name, models: evaluations }
  writeFileSync(flags.json, `${JSON.stringify(report, null, 2)}\n`)
}

function measure(
  { tf }: Backend,
  { directory, checkpoint }: { directory: string; checkpoint: Checkpoint },
  flags: Flags,
): Evaluation {
  const { config, tensors } = checkpoint
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
  const weights = new Map([...tensors].map(([name, t]) => [name, tf.tensor(t.data, [...t.shape])]))
  const network = new Network(tf, config, weights)
  const answers = [...scoreBatches(network, data.validation, { ...flags, noise: noiseOf(flags) })]
  const budgets = budgetsOf(network, flags.budgets)
  const counts = config.feed_forward ? [] : doublings(flags.candidates)
  const bytes = data.bytesPerPosition * Math.LN2
  network.dispose()
  for (const tensor of weights.values()) tensor.dispose()
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

/** 2, 4, ... up to the most, which is among them. */
function doublings(most: number): number[] {
  const counts: number[] = []
  for (let count = 2; count < most; count *= 2) counts.push(count)
  return most > 1 ? [...counts, most] : []
}

/** `bytes`: per position, times ln 2; 0 where the data is no text. */
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
