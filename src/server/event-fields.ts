/** Fields of engine events under the names that clients know: the same on the socket and in streams. */
import type { Of } from '../generation/protocol.js'
import type { SettledAnswer } from '../generation/settled-answers.js'

export const stepFields = (event: Of<'step'>) => ({
  position: event.position,
  step: event.step,
  candidate: event.candidate,
  ...(event.restart !== undefined && { restart: event.restart }),
  ...(event.committed !== undefined && { committed: event.committed }),
  energy: event.energy,
  best_energy: event.bestEnergy,
  gradient_norm: event.gradientNorm,
  ...(event.disagreement !== undefined && { disagreement: event.disagreement }),
  ...(event.doubt !== undefined && { doubt: event.doubt }),
  ...(event.terms && { terms: event.terms }),
  text: event.text,
  top: event.top,
  ...(event.positions && { positions: event.positions }),
})

/** Of an answer without its text, which has a place of its own in each transport. */
export const settledFields = (answer: SettledAnswer) => ({
  position: answer.position,
  tokens: answer.tokens,
  steps: answer.steps,
  energy: answer.energy,
  stop_reason: answer.stopReason,
  seconds: answer.seconds,
  ...(answer.terms && { terms: answer.terms }),
})

export const usageFields = (promptTokens: number, completionTokens: number) => ({
  prompt_tokens: promptTokens,
  completion_tokens: completionTokens,
  total_tokens: promptTokens + completionTokens,
})

/** The UTF-8 bytes of a token, which OpenAI's log-probabilities have beside its text. */
export const tokenBytes = (token: string): number[] => [...Buffer.from(token)]
