/** The tensors of a step that are read, and the numbers of the engine interface that they become. */
import type { EnergyResult, StepResult } from '../engine.js'
import type { Tensor, Tf } from './backend.js'
import type { Slope } from './landscape.js'

/** Energies and, for the residual energy, their parts: [B, M] each. */
export const energyTensors = ({
  energy,
  disagreement,
  doubt,
}: Omit<Slope, 'direction'>): Tensor[] =>
  disagreement && doubt ? [energy, disagreement, doubt] : [energy]

/** The norms of the directions of a step, [B], then its energies and their parts. */
export const stepTensors = (tf: Tf, slope: Slope): Tensor[] => [
  tf.sqrt(tf.sum(tf.square(slope.direction), [1, 2])),
  ...energyTensors(slope),
]

/** Of one row of `energyTensors`. */
export function energyAt(
  row: number,
  [energy, disagreement, doubt]: readonly Float32Array[],
): Omit<EnergyResult, 'best'> {
  const at = (numbers: Float32Array | undefined): number => numbers?.[row] as number
  if (!disagreement || !doubt) return { energy: at(energy) }
  return { energy: at(energy), parts: { disagreement: at(disagreement), doubt: at(doubt) } }
}

/** The results of a batch before its step, from its `stepTensors`; the slot fills in `best`. */
export const stepResults = ([norms, ...energies]: readonly Float32Array[]): StepResult[] =>
  Array.from(norms ?? [], (gradientNorm, row) => ({
    gradientNorm,
    best: Infinity,
    ...energyAt(row, energies),
  }))
