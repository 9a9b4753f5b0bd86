/** What a client sees of an answer in descent: its present reading, decoded. */
import type { Reading } from '../energy/engine.js'
import type { Choice } from '../refine/sampling.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import type { Answer, Candidate } from './answer.js'
import { finiteOr } from './answer.js'
import type { Of, StepPosition } from './protocol.js'
import type { Running } from './running.js'
import { legible, ranked } from './settle.js'

/** Tokens of the first moving position that a `step` event lists. */
export const STEP_ALTERNATIVES = 5

/** The tokens of one position and their probabilities, at most `most` of them. */
function positionOf(choices: Choice['top'], most: number, tokenizer: Tokenizer): StepPosition {
  const shown = choices.slice(0, Math.max(1, most))
  return {
    tokens: shown.map(({ token }) => legible(tokenizer, token)),
    probabilities: shown.map(({ logProb }) => Number(Math.exp(logProb).toFixed(4))),
  }
}

/**
 * `reading`: the latest answer of `candidate`, [block, STEP_ALTERNATIVES]. Where the job asks
 * for log-probabilities, the event has those of every position.
 */
export function stepEvent(
  { job: { logprobs: alternatives } }: Running,
  answer: Answer,
  candidate: Candidate,
  reading: Reading,
  block: number,
  tokenizer: Tokenizer,
): Of<'step'> {
  const { steps, final, best, gradientNorm, terms } = candidate.progress
  const tokens = Array.from(
    { length: answer.shape.length },
    (_, position) => ranked(reading, block, position)[0]?.token ?? tokenizer.vocabSize,
  )
  const end =
    answer.shape.clamped || tokenizer.bos === undefined ? -1 : tokens.indexOf(tokenizer.bos)
  const shown = end < 0 ? tokens : tokens.slice(0, end)
  return {
    type: 'step',
    position: answer.shape.position,
    step: steps,
    candidate: answer.candidates.indexOf(candidate),
    energy: final,
    bestEnergy: finiteOr(best, final),
    gradientNorm,
    ...(terms && { disagreement: terms.disagreement, doubt: terms.doubt }),
    text: tokenizer.decode(shown.filter((token) => token < tokenizer.vocabSize)),
    top: ranked(reading, block, answer.firstMoving).map(({ token, logProb }) => ({
      token: legible(tokenizer, token),
      id: token,
      probability: Math.exp(logProb),
    })),
    ...(alternatives !== undefined && {
      positions: Array.from({ length: answer.shape.length }, (_, position) =>
        positionOf(ranked(reading, block, position), alternatives, tokenizer),
      ),
    }),
  }
}
