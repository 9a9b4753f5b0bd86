/**
 * `regularized`, for the residual energy: in place of wrong answers, it limits the volume that can have a
 * low energy. The true answer y, the embedding of its tokens, reaches the network through a narrow
 * channel, x = (1 - t) y + t n, with n standard normal and t drawn for each row. The energy is the
 * distance of the clean answer to the opinion about the blurred one, 1/2 |y - F(x)|^2 / D. Three terms
 * exclude the trivial solution (Bardes, Ponce and LeCun 2022; LeCun 2022 for the capacity):
 *
 *     variance     mean over dimensions of max(0, 1 - std), of y and of F, over the batch
 *     covariance   sum of squared off-diagonal covariances / D, of y and of F
 *     capacity     kl: 1/2 |y|^2 / D, the KL of the channel N(y, 1) from N(0, 1) up to its constant;
 *                  e2: the mean of E^2 at x itself
 */
import type { Tensor } from '../../energy/tfjs/backend.js'
import { constant } from '../../energy/tfjs/numbers.js'
import type { Network } from '../../energy/tfjs/network.js'
import { BasinError } from '../../errors.js'
import { addAll, drawnLandscape, meanOver, readoutLoss } from './energies.js'
import { gradientsOf } from './gradients.js'
import { landscapesOf, type Draw, type Inputs, type Objective } from './objective.js'
import { noiseFor, stateOf } from './start.js'

export const capacities = ['kl', 'e2', 'none'] as const

export interface RegularizedOptions {
  /** Weights of the terms. */
  variance: number
  covariance: number
  capacity: (typeof capacities)[number]
  capacityWeight: number
  /** Weight of the read-out's loss. */
  readout: number
}

export function regularized(options: RegularizedOptions): Objective {
  return {
    name: 'regularized',
    check({ energy, feed_forward }) {
      if (energy.kind !== 'residual' || feed_forward)
        throw new BasinError('not_supported', {
          param: 'objective',
          reason:
            'regularized needs the residual energy: a head has no representation whose volume could be limited',
        })
    },
    update(network, inputs, draw) {
      const { tf, config } = network
      const landscape = drawnLandscape(config, draw)
      const blur = blurOf(network, inputs, draw)
      const noise = tf.mul(noiseFor(network, inputs, 1, draw), blur)
      const { value, gradients, besides } = gradientsOf<[Tensor]>(network, () => {
        const truth = stateOf(network, inputs.targets)
        const blurred = tf.add(tf.mul(truth, tf.sub(1, blur)), noise)
        const at = landscapesOf(network, inputs)(landscape)
        const opinion = at.opinion(constant(blurred)).value
        const ofTruth = spreadOf(network, inputs, truth, options)
        const ofOpinion = spreadOf(network, inputs, opinion, options)
        const miss = tf.mul(tf.mean(tf.square(tf.sub(truth, opinion)), 2), 0.5)
        const loss = addAll(network, [
          tf.div(tf.sum(tf.mul(miss, inputs.weights)), inputs.count),
          ofTruth.loss,
          ofOpinion.loss,
          capacityOf(network, inputs, truth, () => at.energy(blurred).energy, options),
          readoutLoss(network, inputs, options.readout),
        ])
        return [loss, ofOpinion.deviation]
      })
      return { value, losses: [], gradients, measures: { deviation: besides[0] } }
    },
  }
}

/** The share t of noise in every row, [B, 1, 1]. */
function blurOf({ tf }: Network, { batch }: Inputs, draw: Draw): Tensor {
  return tf.tensor3d(Float32Array.from({ length: batch.rows }, draw), [batch.rows, 1, 1])
}

/** The variance and covariance terms of representations [B, N, D], over the moving positions. */
function spreadOf(
  { tf, config }: Network,
  { weights, count }: Inputs,
  representation: Tensor,
  options: RegularizedOptions,
): { loss: Tensor; deviation: Tensor } {
  const { dim } = config
  const flat = tf.reshape(representation, [-1, dim])
  const kept = tf.reshape(weights, [-1, 1])
  const mean = tf.div(tf.sum(tf.mul(flat, kept), 0, true), count)
  const centred = tf.mul(tf.sub(flat, mean), kept)
  const covariance = tf.div(tf.matMul(centred, centred, true), Math.max(1, count - 1))
  const eye = tf.eye(dim)
  const deviations = tf.sqrt(tf.add(tf.sum(tf.mul(covariance, eye), 0), 1e-4))
  const off = tf.mul(covariance, tf.sub(1, eye))
  const loss = tf.add(
    tf.mul(tf.mean(tf.relu(tf.sub(1, deviations))), options.variance),
    tf.mul(tf.div(tf.sum(tf.square(off)), dim), options.covariance),
  )
  return { loss, deviation: tf.mean(deviations) }
}

function capacityOf(
  network: Network,
  inputs: Inputs,
  truth: Tensor,
  energy: () => Tensor,
  { capacity, capacityWeight }: RegularizedOptions,
): Tensor | null {
  const { tf } = network
  if (capacity === 'none' || capacityWeight === 0) return null
  if (capacity === 'e2')
    return tf.mul(meanOver(network, inputs, tf.square(energy())), capacityWeight)
  const halves = tf.mul(tf.mean(tf.square(truth), 2), 0.5)
  return tf.mul(tf.div(tf.sum(tf.mul(halves, inputs.weights)), inputs.count), capacityWeight)
}
