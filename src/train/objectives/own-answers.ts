/**
 * A term that teaches the energy to tell true answers from the model's own: log(1 + exp(E+ - E-)), where E+ is
 * the energy of the first n tokens of a true answer, and E- that of the same answer with its blanks written by the
 * model, in rounds as answers are. So the wrong answers are as good as the model is (noise contrastive estimation,
 * Gutmann and Hyvarinen 2010, with the model as the noise). All n positions are free, as where an energy of given tokens
 * is asked for; n and the answer are drawn in each update.
 */
import type { Tensor } from '../../energy/tfjs/backend.js'
import { Landscape, type Setting } from '../../energy/tfjs/landscape.js'
import { constant } from '../../energy/tfjs/numbers.js'
import type { Context, Network } from '../../energy/tfjs/network.js'
import { uniform } from '../../refine/random.js'
import { withoutGradient } from '../loss.js'
import { landscapeOf } from '../../model/config.js'
import { settingOf, type Draw, type Inputs } from './objective.js'
import { seedFrom, stateOf } from './start.js'

/** Fewest tokens of an answer that is rated. */
const LEAST = 6
/** Rounds in which wrong answers are written. */
const ROUNDS = 6
/** The temperature of the draws is between this and 1. */
const COLDEST = 0.5

export interface OwnAnswers {
  /** The term, a scalar. */
  term: Tensor
  /** Share of rows whose true answer has the lower energy, among those that differ. */
  separated: Tensor
}

export function againstOwnAnswers(
  network: Network,
  inputs: Inputs,
  context: Context,
  step: number,
  draw: Draw,
): OwnAnswers {
  const { tf, config } = network
  const { block } = config.answer
  const first = Math.floor(draw() * inputs.batch.answers) * block
  const least = Math.min(LEAST, block)
  const size = least + Math.floor(draw() * (block - least + 1))
  const whole = partOf(network, inputs, context, { first, size: block, step })
  const own = withoutGradient(tf, () => written(network, whole, draw))
  const rated = partOf(network, inputs, context, { first, size, step })
  const landscape = new Landscape(network, { ...rated.setting, moving: null, clamped: null })
  const energyOf = (tokens: Tensor): Tensor => landscape.energy(stateOf(network, tokens)).energy
  const wrong = tf.slice(own, [0, 0], [-1, size])
  const apart = tf.sub(energyOf(wrong), energyOf(rated.truth))
  const differ = tf.max(tf.cast(tf.notEqual(wrong, rated.truth), 'float32'), 1, true)
  const count = tf.maximum(tf.sum(differ), 1)
  const term = tf.div(tf.sum(tf.mul(tf.softplus(tf.neg(apart)), differ)), count)
  const separated = tf.div(tf.sum(tf.mul(tf.cast(tf.greater(apart, 0), 'float32'), differ)), count)
  return { term, separated }
}

/** The first positions of one answer of each row. */
interface Part {
  setting: Setting
  /** [B, n]: tokens, and 1 where a position is blank. */
  truth: Tensor
  blank: Tensor
}

function partOf(
  network: Network,
  inputs: Inputs,
  { hidden, layers, mask }: Context,
  { first, size, step }: { first: number; size: number; step: number },
): Part {
  const { tf, config } = network
  const cut = (t: Tensor): Tensor =>
    tf.slice(t, [0, first, ...t.shape.slice(2).map(() => 0)], [-1, size, ...t.shape.slice(2)])
  const context = {
    layers,
    mask: mask && tf.slice(mask, [0, 0, first, 0], [-1, -1, size, -1]),
    hidden: hidden && cut(hidden),
  }
  const positions = inputs.batch.positions.map((row) => row.slice(first, first + size))
  return {
    setting: {
      ...settingOf(network, inputs, context, landscapeOf(config, step)),
      rotary: network.rotary(positions),
      block: size,
    },
    truth: cut(inputs.targets),
    blank: cut(inputs.weights),
  }
}

/** What the model writes in the blanks of a part, in rounds that commit the positions it is most certain of, [B, n]. */
function written(network: Network, { blank, setting, truth }: Part, draw: Draw): Tensor {
  const { tf, config } = network
  const temperature = COLDEST + (1 - COLDEST) * draw()
  const size = truth.shape[1] as number
  const blanks = tf.sum(blank, 1, true)
  // Every position is drawn once, so that one noise serves all rounds.
  const noise = tf.mul(gumbel(network, size, seedFrom(draw)), temperature)
  let state: Tensor = tf.zeros([truth.shape[0], size, config.dim])
  let open = blank
  let tokens = truth
  for (let round = 1; round <= ROUNDS; round++) {
    const moving = tf.expandDims(open, 2)
    const landscape = new Landscape(network, { ...setting, moving, clamped: tokens })
    state = landscape.opinion(constant(state)).value
    const logits = network.readout(state)
    const drawn = tf.cast(tf.argMax(tf.add(logits, noise), 2), 'int32')
    const certainty = tf.sub(tf.max(tf.softmax(logits), 2), tf.mul(2, tf.sub(1, open)))
    const before = tf.greater(tf.expandDims(certainty, 1), tf.expandDims(certainty, 2))
    const rank = tf.sum(tf.cast(before, 'float32'), 2)
    const left = tf.floor(tf.mul(blanks, 1 - round / ROUNDS))
    const many = tf.sub(tf.sum(open, 1, true), left)
    const now = tf.logicalAnd(tf.greater(open, 0), tf.less(rank, many))
    tokens = tf.where(now, drawn, tokens)
    open = tf.mul(open, tf.sub(1, tf.cast(now, 'float32')))
  }
  return tokens
}

/** Noise by which the largest logit is a draw from the softmax, the same for all rows, [1, n, V]. */
function gumbel({ config, tf }: Network, size: number, seed: number): Tensor {
  const { vocab_size: vocab } = config
  const noise = Float32Array.from(
    { length: size * vocab },
    (_, i) => -Math.log(-Math.log(uniform(seed, 0, i))),
  )
  return tf.tensor3d(noise, [1, size, vocab])
}
