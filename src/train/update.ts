/**
 * One update of a training, up to the gradients: an objective computes it in a scope of its own, and its numbers
 * are read after that, all at once.
 */
import type { Tensor, Tf } from '../energy/tfjs/backend.js'
import type { Network } from '../energy/tfjs/network.js'
import { readTensors } from '../energy/tfjs/read-tensors.js'
import type { Batch } from './data/training-batch.js'
import { inputsOf, type Draw, type Objective } from './objectives/objective.js'

export interface ComputedUpdate {
  /** By parameter name. They belong to the caller. */
  gradients: ReadonlyMap<string, Tensor>
  /** Global norm of the gradients. */
  gradientNorm: number
  value: number
  losses: readonly number[]
  measures: Readonly<Record<string, number>>
}

/** The objective's memory has taken in the update when this is done. */
export async function computeUpdate(
  network: Network,
  objective: Objective,
  batch: Batch,
  draw: Draw,
): Promise<ComputedUpdate> {
  const { tf } = network
  const gradients = new Map<string, Tensor>()
  let names: string[] = []
  let losses = 0
  let remembered: ReturnType<Objective['update']>['remembered']
  const [value, norm, ...others] = await readTensors(tf, () => {
    const update = objective.update(network, inputsOf(network, batch), draw)
    for (const [name, gradient] of update.gradients) gradients.set(name, tf.keep(gradient))
    const { measures = {} } = update
    names = Object.keys(measures)
    losses = update.losses.length
    remembered = update.remembered
    return [
      update.value,
      squaredNorm(tf, [...gradients.values()]),
      ...update.losses,
      ...Object.values(measures),
      ...(remembered?.tensors ?? []),
    ]
  })
  const scalar = (numbers: Float32Array | undefined): number => numbers?.[0] as number
  const measured = names.map((name, i) => [name, scalar(others[losses + i])] as const)
  remembered?.take(others.slice(losses + names.length))
  return {
    gradients,
    gradientNorm: Math.sqrt(scalar(norm)),
    value: scalar(value),
    losses: others.slice(0, losses).map(scalar),
    measures: Object.fromEntries(measured),
  }
}

/** Numbers that are summed together at most. */
const MOST_JOINED = 2 ** 20

/** Small gradients are joined first: on a GPU, operations on them take as long as there are operations. */
function squaredNorm(tf: Tf, gradients: readonly Tensor[]): Tensor {
  const groups: Tensor[][] = []
  let size = Infinity
  for (const gradient of gradients) {
    size += gradient.size
    if (size > MOST_JOINED) {
      groups.push([])
      size = gradient.size
    }
    groups.at(-1)?.push(tf.reshape(gradient, [gradient.size]))
  }
  return tf.addN(
    groups.map((group) =>
      tf.sum(tf.square(group.length === 1 ? (group[0] as Tensor) : tf.concat(group))),
    ),
  )
}
