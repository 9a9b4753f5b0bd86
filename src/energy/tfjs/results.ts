/** Turns the tensors of a step into the numbers of the engine interface. */
import type { EnergyResult, StepResult } from '../engine.js'
import type { Tensor, Tf } from './backend.js'
import type { Slope } from './landscape.js'

const first = (t: Tensor): number => t.dataSync()[0] as number

/** The energy of one row and, for the residual energy, its parts. */
export function energyOf(evaluated: Omit<Slope, 'direction'>): Omit<EnergyResult, 'best'> {
  const { energy, disagreement, doubt } = evaluated
  if (!disagreement || !doubt) return { energy: first(energy) }
  return {
    energy: first(energy),
    parts: { disagreement: first(disagreement), doubt: first(doubt) },
  }
}

/** Energies, direction norms and energy parts of a batch before its step; the slot fills in `best`. */
export function resultsOf(tf: Tf, slope: Slope): StepResult[] {
  const energies = slope.energy.dataSync()
  const norms = tf.sqrt(tf.sum(tf.square(slope.direction), [1, 2])).dataSync()
  const disagreement = slope.disagreement?.dataSync()
  const doubt = slope.doubt?.dataSync()
  return Array.from(energies, (energy, i) => ({
    energy,
    gradientNorm: norms[i] as number,
    best: Infinity,
    ...(disagreement &&
      doubt && { parts: { disagreement: disagreement[i] as number, doubt: doubt[i] as number } }),
  }))
}
