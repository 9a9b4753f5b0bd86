/** The learned step size of a network in training. */
import { SMALLEST_STEP_SIZE } from '../energy/step-size.js'
import type { Tensor } from '../energy/tfjs/backend.js'
import type { Network } from '../energy/tfjs/network.js'

/**
 * The learned step size, a scalar of at least SMALLEST_STEP_SIZE. The published implementation clamps it
 * from below, and its gradient with it.
 */
export const alphaOf = (network: Network): Tensor =>
  network.tf.maximum(network.weight('alpha'), SMALLEST_STEP_SIZE)
