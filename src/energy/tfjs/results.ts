/** From the tensors of a step to the plain numbers of the engine interface. */
import type { EnergyResult, StepResult } from '../engine.js'
import type { Tensor, Tf } from './backend.js'
import type { Slope } from './landscape.js'

const first = (t: Tensor): number => t.dataSync()[0] as number

/** One row's energy and terms. */
export function numbersOf(judged: Omit<Slope, 'direction'>): Omit<EnergyResult, 'best'> {
  const { energy, disagreement, doubt } = judged
  if (!disagreement || !doubt) return { energy: first(energy) }
  return {
    energy: first(energy),
    terms: { disagreement: first(disagreement), doubt: first(doubt) },
  }
}

/** A batch's energies before the step, norms and terms; `best` is the slot's to fill in. */
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
      doubt && { terms: { disagreement: disagreement[i] as number, doubt: doubt[i] as number } }),
  }))
}
