/**
 * The control that models are compared with: a network of the same size without an energy. With K = 1 it
 * is an ordinary causal language model, with K > 1 one pass over the position queries.
 */
import { BasinError } from '../../errors.js'
import { Landscape } from '../../energy/tfjs/landscape.js'
import { constant } from '../../energy/tfjs/numbers.js'
import type { Tensor } from '../../energy/tfjs/backend.js'
import type { Network } from '../../energy/tfjs/network.js'
import { crossEntropy } from '../loss.js'
import { gradientsOf } from './gradients.js'
import { contextOf, observeBatch, settingOf, type Inputs, type Objective } from './objective.js'

export const feedForward: Objective = {
  name: 'feed-forward',
  check(config) {
    if (!config.feed_forward || config.answer.space !== 'latent')
      throw new BasinError('not_supported', {
        param: 'objective',
        reason: 'feed-forward needs a configuration in latent space with feed_forward: true',
      })
  },
  update(network, inputs) {
    const { tf } = network
    const { value, gradients } = gradientsOf(network, () => {
      const logits = feedForwardLogits(network, inputs)
      return [crossEntropy(tf, logits, inputs.targets, inputs.weights, inputs.count)]
    })
    return { value, losses: [value], gradients }
  },
}

/** The logits [B, N, V] of the control. */
export function feedForwardLogits(network: Network, inputs: Inputs): Tensor {
  const { tf, config, num } = network
  if (config.answer.block === 1) {
    const { hidden } = observeBatch(network, inputs, 0)
    const normed = num.rmsNorm(
      constant(hidden),
      network.weight('transformer.norm.weight'),
      config.norm_eps,
    )
    return network.readout(normed.value)
  }
  const setting = settingOf(network, inputs, contextOf(network, inputs, 0), 0)
  const blank = tf.zeros([inputs.batch.rows, inputs.targets.shape[1] as number, config.dim])
  return network.readout(new Landscape(network, setting).hidden(constant(blank)).value)
}
