/**
 * From the readout of an answer to tokens: which row to read, which token at each position, with which
 * probability. Pure but for the completion that it appends to; makes no call and emits no event.
 */
import type { ReadRow, Readout } from '../../../energy/engine.js'
import { readLogits } from '../../../energy/readout.js'
import type { StopReason } from '../../../refine/budget.js'
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
} from '../../../refine/sampling.js'
import type { Tokenizer } from '../../../tokenizer/tokenizer.js'
import type { EnergySummary, Of, Refinement, StepPosition, TokenLogprob } from '../../protocol.js'
import { finiteOr, progressOf, slotOf } from '../answers/answer.js'
import type { Candidate } from '../answers/candidate.js'
import { BLANK } from '../answers/answer-shape.js'
import { type CandidateRow, candidateOf, type RequestState } from './request-state.js'

/** Tokens of the first position in descent that a `step` event lists. */
export const STEP_ALTERNATIVES = 5

/** Least temperature that an engine takes; below it every draw is the most probable token. */
const LEAST_TEMPERATURE = 1e-6

/** Of a draw, as engines take it. */
export const temperatureOf = ({ temperature }: Sampling): number =>
  Math.max(temperature, LEAST_TEMPERATURE)

/**
 * What is read of a settled answer. Greedy choices need the most probable tokens; draws among all tokens
 * need the token drawn, and other plain draws the weights; everything else needs all logits, and so do several
 * positions with a mask, where each depends on the tokens before it. `block`: K.
 */
export function readRow(row: CandidateRow, block: number): ReadRow {
  const { completion, givenTokens, mask, request } = row.state
  const { answer, candidate } = candidateOf(row)
  const { sampling } = request
  const place = { slot: slotOf(candidate), which: answer.reads(candidate) }
  if (givenTokens.length > 0 || (mask && block > 1)) return { ...place, top: 'all' }
  const asked = { ...place, ...(mask && { allowed: mask.allowed() }) }
  if (isGreedy(sampling) && (!mask || request.logprobs === undefined))
    return { ...asked, top: Math.max(1, request.logprobs ?? 0) }
  if (request.logprobs !== undefined || !isPlainDraw(sampling)) return { ...asked, top: 'all' }
  const temperature = temperatureOf(sampling)
  if (!isWholeDraw(sampling)) return { ...asked, top: 'all', temperature }
  const first = completion.tokens.length
  const draws = Array.from({ length: block }, (_, i) => chanceOf(sampling, first + i))
  return { ...asked, top: 'all', temperature, draws }
}

/** The readout of a settled answer that was kept for its terms; undefined where the engine has it. */
export function keptReadout(row: CandidateRow, block: number): Readout | undefined {
  const { answer, candidate } = candidateOf(row)
  const kept = candidate.terms?.best
  if (!kept) return undefined
  return readLogits(kept.logits.slice(), block, readRow(row, block), answer.shape.clamped)
}

/** The tokens of one position of a readout, most probable first. `block`: K. */
export function ranked(readout: Readout, block: number, position: number): TokenLogProbs['top'] {
  const width = readout.tokens.length / block
  return Array.from({ length: width }, (_, place) => ({
    token: readout.tokens[position * width + place] as number,
    logProb: readout.logProbs[position * width + place] as number,
  }))
}

/** Throws a RangeError where the readout is not finite. */
function chooseToken(
  { completion, context, mask, request }: RequestState,
  readout: Readout,
  block: number,
  position: number,
): { token: number; choice?: TokenLogProbs } {
  const { sampling } = request
  const { logits, logProbs, tokens, weights } = readout
  if (isGreedy(sampling) && logProbs.length > 0) {
    const alternatives = ranked(readout, block, position)
    const [first] = alternatives
    if (!first || !Number.isFinite(first.logProb)) throw new RangeError('the readout is not finite')
    const top = alternatives.slice(0, request.logprobs ?? 0)
    return { token: first.token, choice: { ...first, top } }
  }
  if (logits.length + weights.length === 0) {
    const token = tokens[position] as number
    if (token < 0) throw new RangeError('the readout is not finite')
    return { token }
  }
  const draw = completion.tokens.length
  if (weights.length > 0)
    return { token: drawFrom(rowAt(weights, block, position), sampling, draw) }
  const row = rowAt(logits, block, position)
  const surroundings = { prompt: context, allowed: mask?.allowed() }
  const token = sample(row, sampling, completion.counts, draw, surroundings)
  return {
    token,
    ...(request.logprobs !== undefined && { choice: tokenLogProbs(row, token, request.logprobs) }),
  }
}

/** [V] of [K, V] */
function rowAt(all: Float32Array, block: number, position: number): Float32Array {
  const size = all.length / block
  return all.subarray(position * size, (position + 1) * size)
}

const logprobOf = ({ token, logProb, top }: TokenLogProbs, tokenizer: Tokenizer): TokenLogprob => ({
  token: tokenText(tokenizer, token),
  logprob: logProb,
  top: top.map((other) => ({ token: tokenText(tokenizer, other.token), logprob: other.logProb })),
})

/** Empty for the ids of a padded vocabulary that stand for no token. */
const tokenText = (tokenizer: Tokenizer, token: number): string =>
  token < tokenizer.vocabSize ? tokenizer.tokenText(token) : ''

/**
 * Appends the answer's tokens to the completion, known ones as they are, up to its end if it ends within
 * this answer. Returns the tokens appended.
 */
export function takeTokens(
  row: CandidateRow,
  readout: Readout,
  block: number,
  tokenizer: Tokenizer,
): number[] {
  const { state } = row
  const { shape } = candidateOf(row).answer
  const { completion, request } = state
  const before = completion.tokens.length
  for (let position = 0; position < shape.length && !completion.ended; position++) {
    const known = shape.clamped?.[position] ?? BLANK
    if (known !== BLANK) {
      completion.push(known)
      continue
    }
    const { choice, token } = chooseToken(state, readout, block, position)
    const wanted = request.logprobs !== undefined && choice
    const { length } = completion.tokens
    completion.push(token, wanted ? logprobOf(choice, tokenizer) : undefined)
    // The token that ends a completion is no part of its text.
    if (completion.tokens.length > length) state.mask?.accept([token])
  }
  return completion.tokens.slice(before)
}

/** Log-probabilities of the given tokens in the place of which an answer was found. */
export function givenLogprobs(
  { givenTokens, request }: RequestState,
  { logits }: Readout,
  block: number,
  tokenizer: Tokenizer,
): TokenLogprob[] {
  return givenTokens.map((token, position) =>
    logprobOf(
      tokenLogProbs(rowAt(logits, block, position), token, request.logprobs ?? 0),
      tokenizer,
    ),
  )
}

/** The tokens of one position and their probabilities, at most `most` of them. */
function stepPosition(
  choices: TokenLogProbs['top'],
  most: number,
  tokenizer: Tokenizer,
): StepPosition {
  const shown = choices.slice(0, Math.max(1, most))
  return {
    tokens: shown.map(({ token }) => tokenText(tokenizer, token)),
    probabilities: shown.map(({ logProb }) => Number(Math.exp(logProb).toFixed(4))),
  }
}

/** What a client sees of an answer in descent. `readout`: of its latest state, [K, STEP_ALTERNATIVES]. */
export function stepEvent(
  row: CandidateRow,
  readout: Readout,
  block: number,
  tokenizer: Tokenizer,
): Of<'step'> {
  const { logprobs: alternatives } = row.state.request
  const { answer, candidate } = candidateOf(row)
  const { best, final, gradientNorm, steps, parts } = candidate.progress
  const tokens = Array.from(
    { length: answer.shape.length },
    (_, position) => ranked(readout, block, position)[0]?.token ?? tokenizer.vocabSize,
  )
  const end =
    answer.shape.clamped || tokenizer.bos === undefined ? -1 : tokens.indexOf(tokenizer.bos)
  const shown = end < 0 ? tokens : tokens.slice(0, end)
  return {
    type: 'step',
    position: answer.shape.position,
    step: steps,
    candidate: row.index,
    ...(answer.series && { restart: answer.series.restartOf(candidate) }),
    ...(candidate.commits && {
      committed: candidate.commits.filter((token) => token !== BLANK).length,
    }),
    energy: final,
    bestEnergy: finiteOr(best, final),
    gradientNorm,
    ...(parts && { disagreement: parts.disagreement, doubt: parts.doubt }),
    ...(candidate.terms?.latest && { terms: candidate.terms.latest.composed.results }),
    text: tokenizer.decode(shown.filter((token) => token < tokenizer.vocabSize)),
    top: ranked(readout, block, answer.firstMoving).map(({ logProb, token }) => ({
      token: tokenText(tokenizer, token),
      id: token,
      probability: Math.exp(logProb),
    })),
    ...(alternatives !== undefined && {
      positions: Array.from({ length: answer.shape.length }, (_, position) =>
        stepPosition(ranked(readout, block, position), alternatives, tokenizer),
      ),
    }),
  }
}

export function energySummary(candidate: Candidate): EnergySummary {
  const { best: lowest, final, initial } = progressOf(candidate)
  // With terms it is the energy of the state that is returned.
  const best = candidate.terms?.best?.standing.energy ?? lowest
  const last = finiteOr(final, best)
  return { initial: finiteOr(initial, last), final: last, best: finiteOr(best, last) }
}

/**
 * The account of all answers up to the present one, of which `candidate` is the chosen one or, where none
 * was chosen, the first. Energies are 0 where none is known.
 */
export function refinementOf(
  state: RequestState,
  candidate: Candidate | undefined,
  reason: StopReason,
): Refinement {
  const progress = candidate && progressOf(candidate)
  const known = candidate && Number.isFinite(energySummary(candidate).best)
  return {
    steps: state.settledSteps + (candidate ? (state.answer?.stepsOf(candidate) ?? 0) : 0),
    energy: known ? energySummary(candidate) : { initial: 0, final: 0, best: 0 },
    candidates: state.request.budget.candidates,
    ...(state.request.budget.restarts && {
      restarts: state.settledRestarts + (state.answer?.series?.restarted ?? 0),
    }),
    converged: state.allConverged && reason === 'converged',
    stop_reason: reason,
    ...(progress?.parts && {
      disagreement: progress.parts.disagreement,
      doubt: progress.parts.doubt,
    }),
    ...(state.termResults && { terms: state.termResults }),
  }
}
