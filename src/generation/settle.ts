/**
 * From a settled answer to tokens: which candidate, which of its answers, which token at each
 * position. Pure but for the completion it appends to.
 */
import type { ReadRow, Reading } from '../energy/engine.js'
import type { StopReason } from '../refine/budget.js'
import { isGreedy, sample, type Choice } from '../refine/sampling.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { type Answer, type Candidate, finiteOr, summit } from './answer.js'
import type { EnergySummary, Refinement, TokenLogprob } from './protocol.js'
import type { Running } from './running.js'
import { BLANK } from './template.js'

/** Greedy choices need the most probable tokens only; anything else needs all logits. */
export function readRow(running: Running, answer: Answer, chosen: Candidate): ReadRow {
  const { job } = running
  const greedy = isGreedy(job.sampling) && running.reading.length === 0
  return {
    slot: chosen.slot,
    which: answer.reads(chosen),
    top: greedy ? Math.max(1, job.logprobs ?? 0) : 'all',
  }
}

/** The tokens of one position of a reading, most probable first. `block`: K. */
export function ranked(reading: Reading, block: number, position: number): Choice['top'] {
  const width = reading.tokens.length / block
  return Array.from({ length: width }, (_, place) => ({
    token: reading.tokens[position * width + place] as number,
    logProb: reading.logProbs[position * width + place] as number,
  }))
}

function chooseToken(running: Running, reading: Reading, block: number, position: number): Choice {
  const { completion, job } = running
  const top = job.logprobs ?? 0
  if (isGreedy(job.sampling)) {
    const alternatives = ranked(reading, block, position)
    const [first] = alternatives
    if (!first) throw new RangeError('the reading is empty')
    return { ...first, top: alternatives.slice(0, top) }
  }
  const size = reading.logits.length / block
  const logits = reading.logits.subarray(position * size, (position + 1) * size)
  return sample(logits, job.sampling, completion.counts, completion.tokens.length, top)
}

export const logprobOf = ({ token, logProb, top }: Choice, tokenizer: Tokenizer): TokenLogprob => ({
  token: legible(tokenizer, token),
  logprob: logProb,
  top: top.map((other) => ({ token: legible(tokenizer, other.token), logprob: other.logProb })),
})

/** The text of a token; a padded vocabulary has ids that stand for none. */
export const legible = (tokenizer: Tokenizer, token: number): string =>
  token < tokenizer.vocabSize ? tokenizer.tokenText(token) : ''

/**
 * Appends the answer's tokens to the completion, known ones as they are, up to its end if it ends
 * within this answer. Returns the tokens appended.
 */
export function takeTokens(
  running: Running,
  answer: Answer,
  reading: Reading,
  block: number,
  tokenizer: Tokenizer,
): number[] {
  const { completion, job } = running
  const before = completion.tokens.length
  for (let position = 0; position < answer.shape.length && !completion.ended; position++) {
    const known = answer.shape.clamped?.[position] ?? BLANK
    if (known !== BLANK) {
      completion.push(known)
      continue
    }
    const choice = chooseToken(running, reading, block, position)
    if (!Number.isFinite(choice.logProb)) throw new RangeError('the read-out is not finite')
    completion.push(
      choice.token,
      job.logprobs === undefined ? undefined : logprobOf(choice, tokenizer),
    )
  }
  return completion.tokens.slice(before)
}

export function energySummary(candidate: Candidate): EnergySummary {
  const { initial, final, best } = summit(candidate)
  const last = finiteOr(final, best)
  return { initial: finiteOr(initial, last), final: last, best: finiteOr(best, last) }
}

/**
 * The account of all answers up to the present one, as `candidate` settled or left it. Energies are 0
 * where nothing was judged.
 */
export function refinementOf(
  running: Running,
  candidate: Candidate | undefined,
  reason: StopReason,
): Refinement {
  const terms = candidate && summit(candidate).terms
  const judged = candidate && Number.isFinite(summit(candidate).best)
  return {
    steps: running.settledSteps + (candidate?.progress.steps ?? 0),
    energy: judged ? energySummary(candidate) : { initial: 0, final: 0, best: 0 },
    candidates: running.job.budget.candidates,
    converged: running.allConverged && reason === 'converged',
    stop_reason: reason,
    ...(terms && { disagreement: terms.disagreement, doubt: terms.doubt }),
  }
}
