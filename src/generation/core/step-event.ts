/** What a client sees of an answer in descent: its present reading, decoded. */
import type { Readout } from '../../energy/engine.js'
import type { Tokenizer } from '../../tokenizer/tokenizer.js'
import type { Answer, Candidate } from './answer.js'
import { finiteOr } from './answer.js'
import type { Of } from '../protocol.js'
import { legible, ranked } from './token-selection.js'

/** Tokens of the first moving position that a `step` event lists. */
export const STEP_ALTERNATIVES = 5

/** `reading`: the latest answer of `candidate`, [block, STEP_ALTERNATIVES]. */
export function stepEvent(
  answer: Answer,
  candidate: Candidate,
  reading: Readout,
  block: number,
  tokenizer: Tokenizer,
): Of<'step'> {
  const { steps, final, best, gradientNorm, parts } = candidate.progress
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
    ...(parts && { disagreement: parts.disagreement, doubt: parts.doubt }),
    text: tokenizer.decode(shown.filter((token) => token < tokenizer.vocabSize)),
    top: ranked(reading, block, answer.firstMoving).map(({ token, logProb }) => ({
      token: legible(tokenizer, token),
      id: token,
      probability: Math.exp(logProb),
    })),
  }
}
