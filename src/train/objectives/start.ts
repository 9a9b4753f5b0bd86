/** Where the descents of a training batch start: the model's start, replayed rows, noise, the truth. */
import type { Tensor } from '../../energy/tfjs/backend.js'
import type { Network } from '../../energy/tfjs/network.js'
import { stateWidth } from '../../model/config.js'
import { normals } from '../../refine/random.js'
import { joinBatches } from '../data/training-batch.js'
import type { ReplayBuffer } from '../replay.js'
import { inputsOf, type Draw, type Inputs } from './objective.js'

/** A seed for `normals`, from one draw. */
export const seedFrom = (draw: Draw): number => Math.floor(draw() * 2 ** 32)

/** Standard normal noise times `scale`, [B, N, W]. */
export function noiseFor(network: Network, inputs: Inputs, scale: number, draw: Draw): Tensor {
  const { tf, config } = network
  const [rows, n] = inputs.targets.shape as [number, number]
  const width = stateWidth(config)
  const noise = tf.tensor3d(normals(seedFrom(draw), 0, 0, rows * n * width), [rows, n, width])
  return scale === 1 ? noise : tf.mul(noise, scale)
}

/**
 * The state of given tokens [B, N]: one-hot in vocab space, their embeddings in latent space. The one-hot
 * is cast because the wasm backend of TensorFlow.js 4.22 writes integers where oneHot asks for floats.
 */
export const stateOf = (network: Network, tokens: Tensor): Tensor =>
  network.config.answer.space === 'vocab'
    ? network.tf.cast(network.tf.oneHot(tokens, network.config.vocab_size), 'float32')
    : network.embed(tokens)

export interface Replayed {
  inputs: Inputs
  /** Rows of the batch as it was; replayed rows stand behind them. */
  fresh: number
  /** States of the replayed rows, [R, N, W]; null where there are none. */
  states: Tensor | null
}

/** The batch with rows of the buffer behind it. */
export function withReplay(
  network: Network,
  inputs: Inputs,
  buffer: ReplayBuffer | undefined,
  draw: Draw,
): Replayed {
  const fresh = inputs.batch.rows
  const sampled = buffer?.sample(fresh, draw) ?? []
  if (sampled.length === 0) return { inputs, fresh, states: null }
  const { tf, config } = network
  const shape = [1, inputs.targets.shape[1] as number, stateWidth(config)] as const
  return {
    inputs: inputsOf(network, joinBatches([inputs.batch, ...sampled])),
    fresh,
    states: tf.concat(sampled.map(({ start }) => tf.tensor(start, [...shape]))),
  }
}
