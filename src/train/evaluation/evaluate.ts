/**
 * Measures how good a model's answers are after given numbers of steps (budgets), on batches whose
 * targets are known. With `keep: 'best'` the answer at a budget is the one of lowest energy among all
 * steps so far, as in serving; with `keep: 'last'` it is that of the last step.
 */
import type { Tensor } from '../../energy/tfjs/backend.js'
import { descend, logitsOf } from '../../energy/tfjs/descent.js'
import type { Landscape, Slope } from '../../energy/tfjs/landscape.js'
import type { Network } from '../../energy/tfjs/network.js'
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
import { inputsOf, landscapesOf, scalarOf, startOf, type Inputs } from '../objectives/objective.js'
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
export function evaluateBatches(
  network: Network,
  batches: readonly Batch[],
  options: EvaluateOptions,
): BudgetScore[] {
  const answers = [...scoreBatches(network, batches, options)]
  return budgetsOf(network, options.budgets).map((steps, budget) =>
    budgetScore(answers, steps, budget),
  )
}

/** The scores of every answer with a moving position, by budget of `budgetsOf` and candidate. */
export function* scoreBatches(
  network: Network,
  batches: readonly Batch[],
  options: EvaluateOptions,
): Generator<ScoredAnswer> {
  const candidates = network.config.feed_forward ? 1 : (options.candidates ?? 1)
  let rowsBefore = 0
  for (const batch of batches) {
    /** [candidates][budgets][answers] */
    const scores: AnswerScore[][][] = []
    network.tf.tidy(() => {
      const inputs = inputsOf(network, batch)
      const landscapeAt = landscapesOf(network, inputs)
      // Contexts are observed here, once for all candidates: within a candidate's tidy they would be
      // freed with it.
      if (!network.config.feed_forward)
        for (let t = 0; t < contextCaches(network.config); t++) landscapeAt(t)
      for (let candidate = 0; candidate < candidates; candidate++)
        network.tf.tidy(() => {
          const descent = { network, inputs, landscapeAt, candidate, rowsBefore, options }
          scores.push(scoresAtBudgets(descent))
        })
    })
    rowsBefore += batch.rows
    yield* scoredAnswers(batch, scores)
  }
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
function scoresAtBudgets(descent: CandidateDescent): AnswerScore[][] {
  const { network, options } = descent
  const budgets = budgetsOf(network, options.budgets)
  const found = new Map<number, AnswerScore[]>()
  let kept: AnswerScore[] = []
  for (const { step, scores } of walk(descent, Math.max(...budgets))) {
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

/** Yields the scores of all answers after each step. It runs inside the caller's tidy. */
function* walk(
  descent: CandidateDescent,
  steps: number,
): Generator<{ step: number; scores: AnswerScore[] }> {
  const { network, inputs, landscapeAt } = descent
  const { tf, config } = network
  const score = (logits: Tensor, slope: SlopeFigures) =>
    scoreAnswers(network, inputs, logits, slope)
  if (config.feed_forward) {
    const energy = new Float32Array(inputs.batch.rows * inputs.batch.answers)
    yield { step: 1, scores: score(feedForwardLogits(network, inputs), { energy }) }
    return
  }
  const trained = Math.max(scalarOf(network.weight('alpha')), SMALLEST_STEP_SIZE)
  // A residual energy is that of the opinion that the same step computes. A head or a potential is the
  // energy of the state that the previous step produced, so its answers come one step later.
  const lag = config.energy.kind === 'residual' ? 0 : 1
  let state = startingPoint(descent)
  for (let step = 0; step < steps + lag; step++) {
    const landscape = landscapeAt(step)
    const noise = noiseOf(descent, step)
    let figures: SlopeFigures = { energy: [] }
    const [next, answer] = tf.tidy(() => {
      const alpha = tf.scalar(trainedStepSize(config, trained, step))
      const taken = descend(network, landscape, state, { alpha, first: step === 0, noise })
      figures = figuresOf(taken.slope)
      return [taken.next, taken.slope.opinion ?? state] as [Tensor, Tensor]
    })
    if (step === 0 && config.answer.start === 'draft')
      yield { step: 0, scores: score(logitsOf(network, state), figures) }
    if (step >= lag)
      yield { step: step + 1 - lag, scores: score(logitsOf(network, answer), figures) }
    // Otherwise the tensors of thousands of steps would be held until the tidy ends.
    tf.dispose([state, answer, ...(noise ? [noise] : [])])
    state = next
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

/** Energies of all answers, row-major, and the two parts of a residual energy. */
interface SlopeFigures {
  energy: ArrayLike<number>
  disagreement?: ArrayLike<number>
  doubt?: ArrayLike<number>
}

const figuresOf = ({ energy, disagreement, doubt }: Slope): SlopeFigures => ({
  energy: energy.dataSync(),
  ...(disagreement && doubt && { disagreement: disagreement.dataSync(), doubt: doubt.dataSync() }),
})

function scoreAnswers(
  network: Network,
  inputs: Inputs,
  logits: Tensor,
  { energy, disagreement, doubt }: SlopeFigures,
): AnswerScore[] {
  const { tf, config } = network
  const { batch } = inputs
  let nats: ArrayLike<number> = []
  let right: ArrayLike<number> = []
  tf.tidy(() => {
    const logProbs = tf.logSoftmax(logits)
    nats = tf
      .neg(tf.sum(tf.mul(logProbs, tf.oneHot(inputs.targets, config.vocab_size)), 2))
      .dataSync()
    right = tf.cast(tf.equal(tf.argMax(logits, 2), inputs.targets), 'float32').dataSync()
  })
  const block = config.answer.block
  return Array.from({ length: batch.rows * batch.answers }, (_, a) => {
    const score: AnswerScore = {
      energy: energy[a] as number,
      ...(disagreement && doubt && { disagreement: disagreement[a], doubt: doubt[a] }),
      nats: 0,
      right: 0,
      solved: true,
    }
    for (let i = a * block; i < (a + 1) * block; i++) {
      if (!batch.moving[i]) continue
      score.nats += nats[i] as number
      score.right += right[i] as number
      score.solved &&= right[i] === 1
    }
    return score
  })
}
