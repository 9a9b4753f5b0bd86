/** Events of a job as the outside sees them: the same names on the socket and in streams. */
import type { Of } from '../generation/protocol.js'

export const stepOf = (event: Of<'step'>) => ({
  position: event.position,
  step: event.step,
  candidate: event.candidate,
  energy: event.energy,
  best_energy: event.bestEnergy,
  gradient_norm: event.gradientNorm,
  ...(event.disagreement !== undefined && { disagreement: event.disagreement }),
  ...(event.doubt !== undefined && { doubt: event.doubt }),
  text: event.text,
  top: event.top,
  ...(event.positions && { positions: event.positions }),
})

/** An answer that is settled; its text is sent beside this. */
export const settledOf = (event: Of<'committed'>) => ({
  position: event.position,
  tokens: event.tokens,
  steps: event.steps,
  energy: event.energy,
  stop_reason: event.stopReason,
  seconds: event.seconds,
})

export const usageOf = (promptTokens: number, completionTokens: number) => ({
  prompt_tokens: promptTokens,
  completion_tokens: completionTokens,
  total_tokens: promptTokens + completionTokens,
})
