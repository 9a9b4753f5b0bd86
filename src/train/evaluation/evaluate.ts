/**
 * Measures how good a model's answers are after given numbers of steps (budgets), on batches whose
 * targets are known. With `keep: 'best'` the answer at a budget is the one of lowest energy among all
 * steps so far, as in serving; with `keep: 'last'` it is that of the last step.
 */
import type { Tensor } from '../../energy/tfjs/backend.js'
import { descend, logitsOf } from '../../energy/tfjs/descent.js'
import type { Landscape } from '../../energy/tfjs/landscape.js'
import type { Network } from '../../energy/tfjs/network.js'
import { holding, readTensors } from '../../energy/tfjs/read-tensors.js'
import { energyAt, energyTensors } from '../../energy/tfjs/results.js'
import { contextCaches, stateWidth, trainedStepSize } from '../../model/config.js'
import { answerSeed } from '../../refine/candidates.js'
import { normals } from '../../refine/random.js'
import type { Batch } from '../data/training-batch.js'
import {
  budgetScore,
  type AnswerScore,
  type BudgetScore,
  type ScoredAnswer,
} from './answer-scores.js'
import { feedForwardLogits } from '../objectives/feed-forward.js'
import { inputsOf, landscapesOf, startOf, type Inputs } from '../objectives/objective.js'
import { SMALLEST_STEP_SIZE } from '../../energy/step-size.js'

export interface EvaluateOptions {
  budgets: readonly number[]
  keep: 'best' | 'last'
  seed: number
  /** M: descents of each answer, which differ by their noise; 1 if absent. */
  candidates?: number
  /** Standard deviation of Langevin noise, added before each of the first `noiseSteps` steps. */
  noise?: number
  noiseSteps?: number
}

/**
 * The budgets that a model can be measured at, in rising order. Budget 0 is the draft, for models that
 * start from one; a feed-forward control has one pass only, which counts as one step.
 */
export function budgetsOf({ config }: Network, budgets: readonly number[]): number[] {
  const least = config.answer.start === 'draft' ? 0 : 1
  return config.feed_forward ? [1] : budgets.filter((b) => b >= least).sort((a, b) => a - b)
}

/** One score for each budget of `budgetsOf`: means over answers and candidates. */
export async function evaluateBatches(
  network: Network,
  batches: readonly Batch[],
  options: EvaluateOptions,
): Promise<BudgetScore[]> {
  const answers = await scoreBatches(network, batches, options)
  return budgetsOf(network, options.budgets).map((steps, budget) =>
    budgetScore(answers, steps, budget),
  )
}

/** The scores of every answer with a moving position, by budget of `budgetsOf` and candidate. */
export async function scoreBatches(
  network: Network,
  batches: readonly Batch[],
  options: EvaluateOptions,
): Promise<ScoredAnswer[]> {
  const candidates = network.config.feed_forward ? 1 : (options.candidates ?? 1)
  const answers: ScoredAnswer[] = []
  let rowsBefore = 0
  for (const batch of batches) {
    const { held, free } = holding(network.tf, () => observed(network, batch))
    /** [candidates][budgets][answers] */
    const scores: AnswerScore[][][] = []
    try {
      for (let candidate = 0; candidate < candidates; candidate++)
        scores.push(await scoresAtBudgets({ network, ...held, candidate, rowsBefore, options }))
    } finally {
      free()
    }
    rowsBefore += batch.rows
    answers.push(...scoredAnswers(batch, scores))
  }
  return answers
}

/** A batch, and its contexts: observed once for all candidates and steps, whose scopes would free them. */
function observed(
  network: Network,
  batch: Batch,
): Pick<CandidateDescent, 'inputs' | 'landscapeAt'> {
  const inputs = inputsOf(network, batch)
  const landscapeAt = landscapesOf(network, inputs)
  if (!network.config.feed_forward)
    for (let t = 0; t < contextCaches(network.config); t++) landscapeAt(t)
  return { inputs, landscapeAt }
}

/** The descent of one candidate for every answer of a batch. */
interface CandidateDescent {
  network: Network
  inputs: Inputs
  landscapeAt: (step: number) => Landscape
  candidate: number
  /** Number of rows in all earlier batches; the seed of a row depends on its number. */
  rowsBefore: number
  options: EvaluateOptions
}

/** [budgets][answers] */
async function scoresAtBudgets(descent: CandidateDescent): Promise<AnswerScore[][]> {
  const { network, options } = descent
  const budgets = budgetsOf(network, options.budgets)
  const found = new Map<number, AnswerScore[]>()
  let kept: AnswerScore[] = []
  for await (const { step, scores } of walk(descent, Math.max(...budgets))) {
    kept = options.keep === 'last' || step <= 1 ? scores : scores.map((s, i) => better(s, kept[i]))
    found.set(step, kept)
  }
  return budgets.map((steps) => found.get(steps) as AnswerScore[])
}

const better = (a: AnswerScore, b: AnswerScore | undefined): AnswerScore =>
  !b || a.energy < b.energy ? a : b

function scoredAnswers(
  batch: Batch,
  scores: readonly (readonly AnswerScore[][])[],
): ScoredAnswer[] {
  const block = batch.targets.length / (batch.rows * batch.answers)
  const [first = []] = scores
  return Array.from({ length: batch.rows * batch.answers }, (_, answer): ScoredAnswer => {
    const moving = batch.moving
      .subarray(answer * block, (answer + 1) * block)
      .reduce((a, b) => a + b, 0)
    const row = Math.floor(answer / batch.answers)
    return {
      moving,
      facts: { blanks: moving, ...batch.facts?.[row] },
      scores: first.map((_, budget) => scores.map((of) => of[budget]?.[answer] as AnswerScore)),
    }
  }).filter(({ moving }) => moving > 0)
}

/** Yields the scores of all answers after each step. */
async function* walk(
  descent: CandidateDescent,
  most: number,
): AsyncGenerator<{ step: number; scores: AnswerScore[] }> {
  const { network, inputs, landscapeAt } = descent
  const { tf, config } = network
  const block = config.answer.block
  if (config.feed_forward) {
    const numbers = await readTensors(tf, () =>
      readOutTensors(network, inputs, feedForwardLogits(network, inputs)),
    )
    yield { step: 1, scores: scoresOf(inputs.batch, block, numbers, []) }
    return
  }
  const [alpha] = await readTensors(tf, () => [network.weight('alpha')])
  const trained = Math.max(alpha?.[0] as number, SMALLEST_STEP_SIZE)
  // A residual energy is that of the opinion that the same step computes. A head or a potential is the
  // energy of the state that the previous step produced, so its answers come one step later.
  const lag = config.energy.kind === 'residual' ? 0 : 1
  let state = tf.tidy(() => startingPoint(descent))
  try {
    for (let step = 0; step < most + lag; step++) {
      const isDraft = step === 0 && config.answer.start === 'draft'
      /** The numbers of steps after which there are answers now. */
      const after = [...(isDraft ? [0] : []), ...(step >= lag ? [step + 1 - lag] : [])]
      let next = state
      const numbers = await readTensors(tf, () => {
        const taken = descend(network, landscapeAt(step), state, {
          alpha: tf.scalar(trainedStepSize(config, trained, step)),
          first: step === 0,
          noise: noiseOf(descent, step),
        })
        next = tf.keep(taken.next)
        const readOuts = after.flatMap((count) => {
          const answer = count === 0 ? state : (taken.slope.opinion ?? state)
          return readOutTensors(network, inputs, logitsOf(network, answer))
        })
        return [...readOuts, ...energyTensors(taken.slope)]
      })
      state.dispose()
      state = next
      const energies = numbers.splice(2 * after.length)
      for (const count of after)
        yield { step: count, scores: scoresOf(inputs.batch, block, numbers.splice(0, 2), energies) }
    }
  } finally {
    state.dispose()
  }
}

/** The starting states [B, N, W]: noise drawn as in serving if the model starts from noise. */
function startingPoint(descent: CandidateDescent): Tensor {
  const { network, inputs, landscapeAt, options } = descent
  const { start, start_scale: scale } = network.config.answer
  return start === 'noise' && !inputs.batch.start
    ? network.tf.mul(normalsOf(descent, -1), scale)
    : startOf(network, inputs, landscapeAt(0), options.seed)
}

function noiseOf(descent: CandidateDescent, step: number): Tensor | null {
  const { noise = 0, noiseSteps = Infinity } = descent.options
  return noise === 0 || step >= noiseSteps
    ? null
    : descent.network.tf.mul(normalsOf(descent, step), noise)
}

/** Standard normal [B, N, W]; a function of (seed, row, candidate, step), however rows are batched. */
function normalsOf(
  { network, inputs, candidate, rowsBefore, options }: CandidateDescent,
  step: number,
) {
  const { rows, targets } = inputs.batch
  const [n, width] = [targets.length / rows, stateWidth(network.config)]
  const values = new Float32Array(rows * n * width)
  for (let row = 0; row < rows; row++) {
    const seed = answerSeed(options.seed, rowsBefore + row)
    values.set(normals(seed, candidate, step, n * width), row * n * width)
  }
  return network.tf.tensor3d(values, [rows, n, width])
}

/** The cross-entropy of each position in nats, and 1 where its most probable token is right: [B, N] each. */
function readOutTensors({ tf, config }: Network, { targets }: Inputs, logits: Tensor): Tensor[] {
  const picked = tf.mul(tf.logSoftmax(logits), tf.oneHot(targets, config.vocab_size))
  return [tf.neg(tf.sum(picked, 2)), tf.cast(tf.equal(tf.argMax(logits, 2), targets), 'float32')]
}

/** From the numbers of `readOutTensors` and of `energyTensors`; a control has no energies. */
const scoresOf = (
  { answers, moving, rows }: Batch,
  block: number,
  [nats, right]: readonly Float32Array[],
  energies: readonly Float32Array[],
): AnswerScore[] =>
  Array.from({ length: rows * answers }, (_, a) => {
    const { energy, parts } =
      energies.length > 0 ? energyAt(a, energies) : { energy: 0, parts: undefined }
    const score: AnswerScore = { energy, ...parts, nats: 0, right: 0, solved: true }
    for (let i = a * block; i < (a + 1) * block; i++) {
      if (!moving[i]) continue
      score.nats += nats?.[i] as number
      score.right += right?.[i] as number
      score.solved &&= right?.[i] === 1
    }
    return score
  })
