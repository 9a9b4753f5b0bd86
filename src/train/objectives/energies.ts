/** What the objectives share that shape the energy itself: energies of answers, means, the read-out. */
import type { Tensor } from '../../energy/tfjs/backend.js'
import { withoutGradient, crossEntropy } from '../loss.js'
import type { Network } from '../../energy/tfjs/network.js'
import { BasinError } from '../../errors.js'
import type { ModelConfig } from '../../model/config.js'
import type { Draw, Inputs } from './objective.js'
import { stateOf } from './start.js'

/** Mean over the answers that have a moving position; `byAnswer` [B, M]. */
export const meanOver = ({ tf }: Network, inputs: Inputs, byAnswer: Tensor): Tensor =>
  tf.div(tf.sum(tf.mul(byAnswer, inputs.answers)), inputs.answerCount)

/** A landscape of the model, drawn evenly: an energy without a descent has no step to say which. */
export const drawnLandscape = ({ landscapes }: ModelConfig, draw: Draw): number =>
  Math.floor(draw() * landscapes)

/**
 * Latent space: cross-entropy of reading the true answers' own embeddings, times `weight`, so that what
 * a descent finds can be read. Embeddings are constants in it, else it would hold them apart by itself.
 * Null in vocab space, where a state is its own read-out.
 */
export function readoutLoss(network: Network, inputs: Inputs, weight: number): Tensor | null {
  const { tf, config } = network
  if (config.answer.space === 'vocab' || weight === 0) return null
  const truth = withoutGradient(tf, () => stateOf(network, inputs.targets))
  const { targets, weights, count } = inputs
  return tf.mul(crossEntropy(tf, network.readout(truth), targets, weights, count), weight)
}

export const addAll = (network: Network, parts: readonly (Tensor | null)[]): Tensor =>
  network.tf.addN(parts.filter((part) => part !== null))

/** Throws `not_supported` for a configuration without an energy. */
export function needsEnergy(name: string, { feed_forward }: ModelConfig): void {
  if (feed_forward)
    throw new BasinError('not_supported', {
      param: 'objective',
      reason: `${name} shapes an energy, and a feed-forward control has none`,
    })
}
