/** The step size that training and evaluation descend with. */
import type { Tensor } from '../energy/tfjs/backend.js'
import type { Network } from '../energy/tfjs/network.js'

/** The published implementation clamps the learned step size from below, and its gradient with it. */
export const MIN_ALPHA = 1e-4

/** The learned step size, a scalar of at least MIN_ALPHA. */
export const alphaOf = (network: Network): Tensor =>
  network.tf.maximum(network.weight('alpha'), MIN_ALPHA)
