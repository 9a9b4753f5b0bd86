/** Weights of a checkpoint as tensors, and the network that computes with them. */
import type { Tf } from './backend.js'
import { Network } from './network.js'
import type { Checkpoint } from '../../model/checkpoint.js'

export function loadNetwork(tf: Tf, { config, tensors }: Checkpoint): Network {
  const weights = new Map([...tensors].map(([name, t]) => [name, tf.tensor(t.data, [...t.shape])]))
  return new Network(tf, config, weights)
}

/** Frees the network with its weights. */
export function disposeNetwork(network: Network): void {
  network.dispose()
  for (const weight of network.weights.values()) weight.dispose()
}
