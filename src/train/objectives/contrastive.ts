/**
 * `contrastive`: lowers the energy of true answers and raises that of wrong ones. With their energies
 * E+ and E-:
 *
 *     infonce      -log softmax of the true answer among J corrupted ones, by -E / temperature
 *     hinge        mean of max(0, margin + E+ - E-) over J corrupted ones
 *     divergence   E+ - E-, where wrong answers are found by noisy descent from a replay buffer
 *                  (contrastive divergence: Hinton 2002, Du and Mordatch 2019)
 *
 * plus a penalty on E^2, which keeps energies that have no floor from drifting. In a corrupted answer
 * each moving position is replaced, with a given probability, by a token of the batch; at least one is.
 */
import type { Tensor } from '../../energy/tfjs/backend.js'
import { basePoint, descend } from '../../energy/tfjs/descent.js'
import type { Network } from '../../energy/tfjs/network.js'
import { ReplayBuffer, type ReplayOptions } from '../replay.js'
import { alphaOf } from '../learned-step-size.js'
import { addAll, drawnLandscape, meanOver, needsEnergy, readoutLoss } from './energies.js'
import { gradientsOf } from './gradients.js'
import {
  landscapesOf,
  startOf,
  type Draw,
  type Inputs,
  type Objective,
  type Update,
} from './objective.js'
import { noiseFor, remembering, seedFrom, stateOf, withReplay } from './start.js'

export const contrasts = ['infonce', 'hinge', 'divergence'] as const

export interface ContrastiveOptions {
  contrast: (typeof contrasts)[number]
  /** J: number of corrupted answers for each true one (infonce, hinge). */
  negatives: number
  /** Probability that a moving position is replaced. */
  corruption: number
  /** infonce: divides the energies. */
  temperature: number
  /** hinge: by how much the energy of a wrong answer should exceed that of the true one. */
  margin: number
  /** divergence: number of descent steps of an update. */
  steps: number
  /** divergence: standard deviation of noise before each step. */
  noise: number
  /** divergence: null for none. */
  replay: ReplayOptions | null
  /** Weight of the penalty on E^2. */
  penalty: number
  /** Weight of the read-out's loss (latent space). */
  readout: number
}

export function contrastive(options: ContrastiveOptions): Objective {
  const buffer =
    options.contrast === 'divergence' && options.replay
      ? new ReplayBuffer(options.replay)
      : undefined
  return {
    name: 'contrastive',
    ...(buffer && { memory: buffer }),
    check: (config) => needsEnergy('contrastive', config),
    update: (network, inputs, draw) =>
      options.contrast === 'divergence'
        ? diverge(network, inputs, buffer, options, draw)
        : compare(network, inputs, options, draw),
  }
}

function compare(
  network: Network,
  inputs: Inputs,
  options: ContrastiveOptions,
  draw: Draw,
): Update {
  const { tf, config } = network
  const landscape = drawnLandscape(config, draw)
  const wrong = Array.from({ length: options.negatives }, () =>
    corruptTokens(network, inputs, options.corruption, draw),
  )
  const { value, gradients, besides } = gradientsOf<[Tensor]>(network, () => {
    const at = landscapesOf(network, inputs)(landscape)
    const energies = [inputs.targets, ...wrong].map((t) => at.energy(stateOf(network, t)).energy)
    // [B, M, 1 + J], the true answer first.
    const all = tf.stack(energies, 2)
    const truth = tf.slice(all, [0, 0, 0], [-1, -1, 1])
    const apart = tf.sub(tf.slice(all, [0, 0, 1], [-1, -1, -1]), truth)
    const gap = meanOver(network, inputs, tf.mean(apart, 2))
    const byAnswer =
      options.contrast === 'hinge'
        ? tf.mean(tf.relu(tf.sub(options.margin, apart)), 2)
        : negativeLog(network, all, options.temperature)
    const loss = addAll(network, [
      meanOver(network, inputs, byAnswer),
      penaltyOf(network, inputs, tf.mean(tf.square(all), 2), options.penalty),
      readoutLoss(network, inputs, options.readout),
    ])
    return [loss, gap]
  })
  return { value, losses: [], gradients, measures: { gap: besides[0] } }
}

/** -log softmax(-E / temperature) of the first of [B, M, 1 + J]. */
function negativeLog({ tf }: Network, energies: Tensor, temperature: number): Tensor {
  const logProbs = tf.logSoftmax(tf.div(tf.neg(energies), temperature))
  return tf.neg(tf.squeeze(tf.slice(logProbs, [0, 0, 0], [-1, -1, 1]), [2]))
}

const penaltyOf = (
  network: Network,
  inputs: Inputs,
  squares: Tensor,
  weight: number,
): Tensor | null => (weight > 0 ? network.tf.mul(meanOver(network, inputs, squares), weight) : null)

function diverge(
  network: Network,
  given: Inputs,
  buffer: ReplayBuffer | undefined,
  options: ContrastiveOptions,
  draw: Draw,
): Update {
  const { tf } = network
  const { inputs, fresh, states } = withReplay(network, given, buffer, draw)
  const found = tf.tidy(() => {
    const landscapeAt = landscapesOf(network, inputs)
    const begun = startOf(network, inputs, landscapeAt(0), seedFrom(draw))
    let state = states ? tf.concat([tf.slice(begun, [0, 0, 0], [fresh, -1, -1]), states]) : begun
    const alpha = alphaOf(network)
    for (let step = 0; step < options.steps; step++) {
      const noise = options.noise > 0 ? noiseFor(network, inputs, options.noise, draw) : null
      const from = state
      const landscape = landscapeAt(step)
      state = tf.tidy(
        () => descend(network, landscape, from, { alpha, first: step === 0, noise }).next,
      )
    }
    return state
  })
  const wrong = basePoint(network, found, options.steps === 0)
  const { value, gradients, besides } = gradientsOf<[Tensor]>(network, () => {
    const at = landscapesOf(network, inputs)(options.steps)
    const down = at.energy(stateOf(network, inputs.targets)).energy
    const up = at.energy(wrong).energy
    const apart = meanOver(network, inputs, tf.sub(down, up))
    const squares = tf.add(tf.square(down), tf.square(up))
    const loss = addAll(network, [
      apart,
      penaltyOf(network, inputs, squares, options.penalty),
      readoutLoss(network, inputs, options.readout),
    ])
    return [loss, tf.neg(apart)]
  })
  return {
    value,
    losses: [],
    gradients,
    measures: { gap: besides[0] },
    ...(buffer && remembering(buffer, inputs.batch, found)),
  }
}

/** The targets [B, N] with some moving positions replaced by other tokens of the batch. */
export function corruptTokens(
  network: Network,
  { batch }: Inputs,
  probability: number,
  draw: Draw,
): Tensor {
  const { answer, vocab_size: vocab } = network.config
  const { targets, moving } = batch
  const wrong = targets.slice()
  const replace = (i: number): void => {
    const other = targets[Math.floor(draw() * targets.length)] as number
    const truth = targets[i] as number
    wrong[i] = other === truth ? (truth + 1 + Math.floor(draw() * (vocab - 1))) % vocab : other
  }
  for (let start = 0; start < targets.length; start += answer.block) {
    const places = Array.from({ length: answer.block }, (_, i) => start + i).filter(
      (i) => moving[i] === 1,
    )
    const chosen = places.filter(() => draw() < probability)
    const [one] = chosen.length > 0 ? [] : [places[Math.floor(draw() * places.length)]]
    for (const i of one === undefined ? chosen : [one]) replace(i)
  }
  return network.tf.tensor2d(wrong, [batch.rows, targets.length / batch.rows], 'int32')
}
