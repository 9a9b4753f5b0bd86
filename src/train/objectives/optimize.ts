/**
 * `optimize`, stage S1 of the EBT recipe (Gladstone et al. 2025, section 3.3): differentiate the loss
 * of every step's answer through the descent step that made it; steps are detached from each other.
 *
 * With lambda = dL/dy_next and y_next = base - alpha d(theta), the parameter gradient of one step is
 * -alpha d/dtheta <lambda, d>, and <lambda, d> is the directional derivative of the descended energy
 * along lambda. It is taken forward (numbers.ts), then reversed once.
 */
import { BasinError } from '../../errors.js'
import type { Tensor } from '../../energy/tfjs/backend.js'
import { descend, logitsOf } from '../../energy/tfjs/descent.js'
import type { Network } from '../../energy/tfjs/network.js'
import { crossEntropy } from '../loss.js'
import {
  gradientsOf,
  landscapesOf,
  scalarOf,
  startOf,
  type Inputs,
  type Objective,
} from './objective.js'

export interface OptimizeOptions {
  /** mcmc_num_steps of the reference: descent steps per update, each with a loss. */
  steps: number
}

/** One step taken: where its energy was, where it led, and dL/d(next). */
interface Taken {
  base: Tensor
  next: Tensor
  lambda: Tensor
}

/** The reference clamps alpha from below, and its gradient with it. */
const lowestAlpha = 1e-4

export function optimize({ steps }: OptimizeOptions): Objective {
  return {
    name: 'optimize',
    check({ energy, feed_forward }) {
      if (feed_forward || (energy.kind === 'residual' && energy.direction === 'amortized'))
        throw new BasinError('not_supported', {
          param: 'objective',
          reason:
            'optimize needs an energy with a true gradient; train the amortized direction with equilibrium',
        })
    },
    update(network, inputs, draw) {
      const { tf, config } = network
      const alpha = Math.max(scalarOf(network.weight('alpha')), lowestAlpha)
      const landscapeAt = landscapesOf(network, inputs)
      let state = startOf(network, inputs, landscapeAt(0), Math.floor(draw() * 2 ** 32))
      let alphaSlope = 0
      const losses: number[] = []
      const walked: Taken[] = []
      for (let step = 0; step < steps; step++) {
        const options = { alpha: tf.scalar(alpha), first: step === 0, noise: null }
        const { base, slope, next } = descend(network, landscapeAt(step), state, options)
        const { loss, lambda } = lossAt(network, inputs, next)
        losses.push(loss)
        alphaSlope -= scalarOf(tf.sum(tf.mul(lambda, slope.direction))) / steps
        walked.push({ base, next, lambda })
        state = next
      }
      const gradients = gradientsOf(network, () => {
        const taped = landscapesOf(network, inputs)
        const parts = walked.map(({ base, next, lambda }, step) => {
          const along = taped(step).descended({ value: base, tangent: lambda }).tangent as Tensor
          const through = tf.mul(tf.sum(along), -alpha)
          // In latent space the read-out has a gradient of its own.
          return config.answer.space === 'vocab'
            ? through
            : tf.add(through, readLoss(network, inputs, next))
        })
        return tf.div(tf.addN(parts), steps)
      })
      gradients.set('alpha', tf.scalar(alpha > lowestAlpha ? alphaSlope : 0))
      return { losses, gradients }
    },
  }
}

const readLoss = (network: Network, inputs: Inputs, answer: Tensor): Tensor =>
  crossEntropy(network.tf, logitsOf(network, answer), inputs.targets, inputs.weights, inputs.count)

/** The loss of an answer and its gradient with respect to the answer. */
function lossAt(
  network: Network,
  inputs: Inputs,
  answer: Tensor,
): { loss: number; lambda: Tensor } {
  const { value, grad } = network.tf.valueAndGrad((t: Tensor) => readLoss(network, inputs, t))(
    answer,
  )
  return { loss: scalarOf(value), lambda: grad }
}
