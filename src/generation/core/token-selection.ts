/**
 * From a settled answer to tokens: which candidate, which of its answers, which token at each
 * position. Pure but for the completion it appends to.
 */
import type { ReadRow, Readout } from '../../energy/engine.js'
import type { StopReason } from '../../refine/budget.js'
import {
  chanceOf,
  type TokenLogProbs,
  drawFrom,
  isGreedy,
  isPlainDraw,
  isWholeDraw,
  tokenLogProbs,
  sample,
  type Sampling,
} from '../../refine/sampling.js'
import type { Tokenizer } from '../../tokenizer/tokenizer.js'
import { type Answer, type Candidate, finiteOr, summit } from './answer.js'
import type { EnergySummary, Refinement, TokenLogprob } from '../protocol.js'
import type { RequestState } from './request-state.js'
import { BLANK } from './template.js'

/** Least temperature that an engine takes; below it every draw is the most probable token. */
const LEAST_TEMPERATURE = 1e-6

/** Of a draw, as engines take it. */
export const temperatureOf = ({ temperature }: Sampling): number =>
  Math.max(temperature, LEAST_TEMPERATURE)

/**
 * Greedy choices need the most probable tokens; draws from all of them the token drawn, others the
 * weights; anything else all logits. `block`: K.
 */
export function readRow(
  state: RequestState,
  answer: Answer,
  chosen: Candidate,
  block: number,
): ReadRow {
  const { completion, request } = state
  const row = { slot: chosen.slot, which: answer.reads(chosen) }
  if (state.reading.length > 0) return { ...row, top: 'all' }
  if (isGreedy(request.sampling)) return { ...row, top: Math.max(1, request.logprobs ?? 0) }
  if (request.logprobs !== undefined || !isPlainDraw(request.sampling))
    return { ...row, top: 'all' }
  const temperature = temperatureOf(request.sampling)
  if (!isWholeDraw(request.sampling)) return { ...row, top: 'all', temperature }
  const first = completion.tokens.length
  const draws = Array.from({ length: block }, (_, i) => chanceOf(request.sampling, first + i))
  return { ...row, top: 'all', temperature, draws }
}

/** The tokens of one position of a reading, most probable first. `block`: K. */
export function ranked(reading: Readout, block: number, position: number): TokenLogProbs['top'] {
  const width = reading.tokens.length / block
  return Array.from({ length: width }, (_, place) => ({
    token: reading.tokens[position * width + place] as number,
    logProb: reading.logProbs[position * width + place] as number,
  }))
}

/** Throws a RangeError where the read-out is not finite. */
function chooseToken(
  state: RequestState,
  reading: Readout,
  block: number,
  position: number,
): { token: number; choice?: TokenLogProbs } {
  const { completion, request } = state
  const { sampling } = request
  const { logits, logProbs, tokens, weights } = reading
  if (isGreedy(sampling) && logProbs.length > 0) {
    const alternatives = ranked(reading, block, position)
    const [first] = alternatives
    if (!first || !Number.isFinite(first.logProb))
      throw new RangeError('the read-out is not finite')
    const top = alternatives.slice(0, request.logprobs ?? 0)
    return { token: first.token, choice: { ...first, top } }
  }
  if (logits.length + weights.length === 0) {
    const token = tokens[position] as number
    if (token < 0) throw new RangeError('the read-out is not finite')
    return { token }
  }
  const draw = completion.tokens.length
  if (weights.length > 0) return { token: drawFrom(at(weights, block, position), sampling, draw) }
  const row = at(logits, block, position)
  const token = sample(row, sampling, completion.counts, draw)
  return {
    token,
    ...(request.logprobs !== undefined && { choice: tokenLogProbs(row, token, request.logprobs) }),
  }
}

/** [V] of [K, V] */
const at = (all: Float32Array, block: number, position: number): Float32Array => {
  const size = all.length / block
  return all.subarray(position * size, (position + 1) * size)
}

export const logprobOf = (
  { token, logProb, top }: TokenLogProbs,
  tokenizer: Tokenizer,
): TokenLogprob => ({
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
  state: RequestState,
  answer: Answer,
  reading: Readout,
  block: number,
  tokenizer: Tokenizer,
): number[] {
  const { completion, request } = state
  const before = completion.tokens.length
  for (let position = 0; position < answer.shape.length && !completion.ended; position++) {
    const known = answer.shape.clamped?.[position] ?? BLANK
    if (known !== BLANK) {
      completion.push(known)
      continue
    }
    const { token, choice } = chooseToken(state, reading, block, position)
    const told = request.logprobs !== undefined && choice
    completion.push(token, told ? logprobOf(choice, tokenizer) : undefined)
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
  state: RequestState,
  candidate: Candidate | undefined,
  reason: StopReason,
): Refinement {
  const parts = candidate && summit(candidate).parts
  const judged = candidate && Number.isFinite(summit(candidate).best)
  return {
    steps: state.settledSteps + (candidate?.progress.steps ?? 0),
    energy: judged ? energySummary(candidate) : { initial: 0, final: 0, best: 0 },
    candidates: state.request.budget.candidates,
    converged: state.allConverged && reason === 'converged',
    stop_reason: reason,
    ...(parts && { disagreement: parts.disagreement, doubt: parts.doubt }),
  }
}
