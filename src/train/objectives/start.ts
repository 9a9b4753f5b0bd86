/** The states that descents of a training batch start from: replayed rows, noise, the true answer. */
import type { Tensor } from '../../energy/tfjs/backend.js'
import type { Network } from '../../energy/tfjs/network.js'
import { stateWidth } from '../../model/config.js'
import { normals, uniform } from '../../refine/random.js'
import { joinBatches, type Batch } from '../data/training-batch.js'
import type { ReplayBuffer } from '../replay.js'
import { inputsOf, type Draw, type Inputs, type Update } from './objective.js'

/** A seed for `normals`, from one draw. */
export const seedFrom = (draw: Draw): number => Math.floor(draw() * 2 ** 32)

/** So many numbers are drawn for the noise of an update. */
const DRAWN = 2 ** 18

/**
 * Standard normal numbers. A number takes some 40 ns of one thread to draw, and hundreds of boards need millions, while a
 * GPU or other threads wait. So what is longer than `DRAWN` has that many, again and again, each time from
 * another place on: rows share numbers, in other places.
 */
export function trainingNoise(seed: number, size: number): Float32Array {
  if (size <= DRAWN) return normals(seed, 0, 0, size)
  const drawn = normals(seed, 0, 0, DRAWN)
  const noise = new Float32Array(size)
  for (let at = 0, turn = 0; at < size; at += DRAWN, turn++) {
    const from = Math.floor(uniform(seed, turn, 0) * DRAWN)
    const turned = [drawn.subarray(from), drawn.subarray(0, from)]
    let place = at
    for (const part of turned) {
      const fits = part.subarray(0, Math.max(0, size - place))
      noise.set(fits, place)
      place += fits.length
    }
  }
  return noise
}

/** Standard normal noise times `scale`, [B, N, W]. */
export function noiseFor(network: Network, inputs: Inputs, scale: number, draw: Draw): Tensor {
  const { tf, config } = network
  const [rows, n] = inputs.targets.shape as [number, number]
  const width = stateWidth(config)
  const noise = trainingNoise(seedFrom(draw), rows * n * width)
  const tensor = tf.tensor3d(noise, [rows, n, width])
  return scale === 1 ? tensor : tf.mul(tensor, scale)
}

/**
 * The state [B, N, W] of tokens [B, N]: one-hot in vocab space, embeddings in latent space. The one-hot
 * is cast because oneHot of the wasm backend of TensorFlow.js 4.22 writes integers into a float tensor.
 */
export const stateOf = (network: Network, tokens: Tensor): Tensor =>
  network.config.answer.space === 'vocab'
    ? network.tf.cast(network.tf.oneHot(tokens, network.config.vocab_size), 'float32')
    : network.embed(tokens)

export interface Replayed {
  inputs: Inputs
  /** Number of rows of the original batch; replayed rows follow them. */
  fresh: number
  /** States of the R replayed rows, [R, N, W]; null if there are none. */
  states: Tensor | null
}

/**
 * The part of an update by which a buffer takes the states [B, N, W] that a batch was left in: those of its
 * first `rows` rows, without the ones that `solved` [B] has as 1.
 */
export function remembering(
  buffer: ReplayBuffer,
  batch: Batch,
  states: Tensor,
  { rows = batch.rows, solved }: { rows?: number; solved?: Tensor } = {},
): Required<Pick<Update, 'remembered'>> {
  return {
    remembered: {
      tensors: solved ? [states, solved] : [states],
      take: ([left, right]) => {
        buffer.add(batch, left as Float32Array, rows, (row) => right?.[row] !== 1)
      },
    },
  }
}

/** The batch followed by rows that are sampled from the buffer. */
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
  const shape = [inputs.targets.shape[1] as number, stateWidth(config)] as const
  const states = new Float32Array(sampled.length * shape[0] * shape[1])
  sampled.forEach(({ start }, row) => states.set(start, row * start.length))
  return {
    inputs: inputsOf(network, joinBatches([inputs.batch, ...sampled])),
    fresh,
    states: tf.tensor3d(states, [sampled.length, ...shape]),
  }
}
