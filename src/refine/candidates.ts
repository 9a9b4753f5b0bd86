/** Which of M candidates becomes the answer. Energies in, an index out. */
import type { Selection } from './budget.js'
import { uniform } from './random.js'

export interface Outcome {
  /** Energy at the candidate's starting point. */
  initial: number
  /** Energy of the answer it would return. */
  energy: number
}

const merit: Record<Selection, (outcome: Outcome) => number> = {
  min: ({ energy }) => -energy,
  max_gap: ({ initial, energy }) => initial - energy,
  max: ({ energy }) => energy,
}

/** The index of the chosen candidate, ties to the lowest; -1 when no energy is finite. */
export function choose(outcomes: readonly Outcome[], select: Selection): number {
  let chosen = -1
  let highest = -Infinity
  outcomes.forEach((outcome, index) => {
    if (!Number.isFinite(outcome.energy)) return
    const value = merit[select](outcome)
    if (chosen === -1 || value > highest) {
      chosen = index
      highest = value
    }
  })
  return chosen
}

/** Keeps the noise of answers apart from the draws of sampling (`uniform`'s streams). */
const ANSWER_STREAM = 1

/** The seed of the noise of a request's `index`-th answer: 32 bits, whatever the batch. */
export const answerSeed = (seed: number, index: number): number =>
  Math.floor(uniform(seed, ANSWER_STREAM, index) * 2 ** 32)
