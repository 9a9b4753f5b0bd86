/** Chooses which of M candidates becomes the answer, by their energies. */
import type { Selection } from './budget.js'
import { STREAMS, uniform } from './random.js'

export interface Outcome {
  /** Energy at the candidate's starting point. */
  initial: number
  /** Energy of the answer it would return. */
  energy: number
}

const scoreBy: Record<Selection, (outcome: Outcome) => number> = {
  min: ({ energy }) => -energy,
  max_gap: ({ initial, energy }) => initial - energy,
  max: ({ energy }) => energy,
}

/** The index of the chosen candidate, the lowest index among equals; -1 when no energy is finite. */
export function choose(outcomes: readonly Outcome[], select: Selection): number {
  let chosen = -1
  let highest = -Infinity
  outcomes.forEach((outcome, index) => {
    if (!Number.isFinite(outcome.energy)) return
    const value = scoreBy[select](outcome)
    if (chosen === -1 || value > highest) {
      chosen = index
      highest = value
    }
  })
  return chosen
}

/** The 32-bit seed for the noise of a request's `index`-th answer. It does not depend on the batch. */
export const answerSeed = (seed: number, index: number): number =>
  Math.floor(uniform(seed, STREAMS.answerSeeds, index) * 2 ** 32)
