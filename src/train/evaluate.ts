/**
 * How good a model's answers are after 1, 2, 4, ... steps, on batches with known targets. The answer
 * at a budget is the one of lowest energy among its steps, as in serving; `last` shows the raw iterate.
 */
import type { Tensor } from '../energy/tfjs/backend.js'
import { descend, logitsOf } from '../energy/tfjs/descent.js'
import type { Network } from '../energy/tfjs/network.js'
import type { Batch } from './batch.js'
import { feedForwardLogits } from './objectives/feed-forward.js'
import { inputsOf, landscapesOf, startOf, type Inputs } from './objectives/objective.js'

export interface BudgetScore {
  steps: number
  /** Cross-entropy per moving position, nats. */
  nats: number
  /** Share of moving positions whose most probable token is right. */
  accuracy: number
  /** Share of answers right in every moving position. */
  solved: number
  /** Mean energy of the answers that are scored. */
  energy: number
}

/** What one answer scored at one step. */
interface AnswerScore {
  energy: number
  nats: number
  right: number
  solved: boolean
}

export interface EvaluateOptions {
  budgets: readonly number[]
  keep: 'best' | 'last'
  seed: number
}

/** One line per budget. A feed-forward control has the single line `steps: 1`. */
export function evaluateBatches(
  network: Network,
  batches: readonly Batch[],
  { budgets, keep, seed }: EvaluateOptions,
): BudgetScore[] {
  const wanted = network.config.feed_forward ? [1] : [...budgets].sort((a, b) => a - b)
  const totals = new Map(
    wanted.map((steps) => [steps, { nats: 0, right: 0, solved: 0, energy: 0 }]),
  )
  let positions = 0
  let answers = 0
  for (const [index, batch] of batches.entries()) {
    positions += batch.moving.reduce((a, b) => a + b, 0)
    answers += batch.rows * batch.answers
    network.tf.tidy(() => {
      const inputs = inputsOf(network, batch)
      let kept: AnswerScore[] = []
      for (const { step, scores } of walk(network, inputs, Math.max(...wanted), seed + index)) {
        kept = keep === 'last' || step === 1 ? scores : scores.map((s, i) => better(s, kept[i]))
        const total = totals.get(step)
        if (total) kept.forEach((score) => accumulate(total, score))
      }
    })
  }
  return wanted.map((steps) => {
    const total = totals.get(steps) as {
      nats: number
      right: number
      solved: number
      energy: number
    }
    return {
      steps,
      nats: total.nats / positions,
      accuracy: total.right / positions,
      solved: total.solved / answers,
      energy: total.energy / answers,
    }
  })
}

const better = (a: AnswerScore, b: AnswerScore | undefined): AnswerScore =>
  !b || a.energy < b.energy ? a : b

function accumulate(
  total: { nats: number; right: number; solved: number; energy: number },
  score: AnswerScore,
): void {
  total.nats += score.nats
  total.right += score.right
  total.solved += score.solved ? 1 : 0
  total.energy += score.energy
}

/** Yields the scores of every answer after each step. Runs inside the caller's tidy. */
function* walk(
  network: Network,
  inputs: Inputs,
  steps: number,
  seed: number,
): Generator<{ step: number; scores: AnswerScore[] }> {
  const { tf, config } = network
  const { rows, answers } = inputs.batch
  if (config.feed_forward) {
    yield {
      step: 1,
      scores: scoreAnswers(
        network,
        inputs,
        feedForwardLogits(network, inputs),
        new Float32Array(rows * answers),
      ),
    }
    return
  }
  const landscapeAt = landscapesOf(network, inputs)
  const alpha = tf.maximum(network.weight('alpha'), 1e-4)
  const residual = config.energy.kind === 'residual'
  let state = startOf(network, inputs, landscapeAt(0), seed)
  // A head or potential energy judges the state that the step before produced, so it lags by one.
  const lag = residual ? 0 : 1
  for (let step = 0; step < steps + lag; step++) {
    let energies: ArrayLike<number> = []
    const landscape = landscapeAt(step)
    const [next, judged] = tf.tidy(() => {
      const options = { alpha, first: step === 0, noise: null }
      const taken = descend(network, landscape, state, options)
      energies = taken.slope.energy.dataSync()
      return [taken.next, taken.slope.opinion ?? state] as [Tensor, Tensor]
    })
    if (step >= lag)
      yield {
        step: step + 1 - lag,
        scores: scoreAnswers(network, inputs, logitsOf(network, judged), energies),
      }
    state = next
  }
}

function scoreAnswers(
  network: Network,
  inputs: Inputs,
  logits: Tensor,
  energies: ArrayLike<number>,
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
    const score: AnswerScore = { energy: energies[a] as number, nats: 0, right: 0, solved: true }
    for (let i = a * block; i < (a + 1) * block; i++) {
      if (!batch.moving[i]) continue
      score.nats += nats[i] as number
      score.right += right[i] as number
      score.solved &&= right[i] === 1
    }
    return score
  })
}
