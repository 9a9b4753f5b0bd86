/** Terms that several objectives add up: means of energies over answers, and the loss of the read-out. */
import type { Tensor } from '../../energy/tfjs/backend.js'
import { withoutGradient, crossEntropy } from '../loss.js'
import type { Network } from '../../energy/tfjs/network.js'
import { BasinError } from '../../errors.js'
import type { ModelConfig } from '../../model/config.js'
import type { Draw, Inputs } from './objective.js'
import { stateOf } from './start.js'

/** The mean of `byAnswer` [B, M] over the answers that have a moving position. */
export const meanOver = ({ tf }: Network, inputs: Inputs, byAnswer: Tensor): Tensor =>
  tf.div(tf.sum(tf.mul(byAnswer, inputs.answers)), inputs.answerCount)

/** A landscape drawn with equal probability: without a descent there is no step that determines it. */
export const drawnLandscape = ({ landscapes }: ModelConfig, draw: Draw): number =>
  Math.floor(draw() * landscapes)

/**
 * In latent space, `weight` times the cross-entropy of the read-out at the true answers' embeddings, which
 * trains the read-out. The embeddings are constants in it: otherwise this loss alone would keep them
 * apart. Null in vocab space, where a state is its own read-out.
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

/** Throws `not_supported` if the configuration has no energy. */
export function needsEnergy(name: string, { feed_forward }: ModelConfig): void {
  if (feed_forward)
    throw new BasinError('not_supported', {
      param: 'objective',
      reason: `${name} shapes an energy, and a feed-forward control has none`,
    })
}
