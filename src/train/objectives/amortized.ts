/**
 * `amortized`: a model with a residual energy learns to take the descent steps of another energy, the
 * teacher's, so that inference needs no backward pass. The target of F at a state y is y - alpha dE/dy of
 * the teacher. With step size 1 the student's y <- F(y) is then the teacher's step, and y - F is alpha
 * times the teacher's gradient. States come from the teacher's own descents and, in a share of the
 * updates, from the student's iterates, which are the states that it meets at inference.
 */
import type { Tensor } from '../../energy/tfjs/backend.js'
import { descend } from '../../energy/tfjs/descent.js'
import { constant } from '../../energy/tfjs/numbers.js'
import type { Network } from '../../energy/tfjs/network.js'
import { BasinError } from '../../errors.js'
import type { ModelConfig } from '../../model/config.js'
import { alphaOf } from '../learned-step-size.js'
import { gradientsOf } from './gradients.js'
import {
  inputsOf,
  landscapesOf,
  startOf,
  type Draw,
  type Inputs,
  type Objective,
} from './objective.js'
import { seedFrom } from './start.js'

export interface AmortizedOptions {
  /** The model to learn from; its weights are constants. */
  teacher: Network
  /** The number of steps before the state that is learned at is drawn from 0 to this. */
  horizon: number
  /** Share of the updates whose states are the student's own iterates. */
  own: number
}

export function amortized(options: AmortizedOptions): Objective {
  return {
    name: 'amortized',
    check: (config) => checkPair(config, options.teacher.config),
    update(network, inputs, draw) {
      const { tf } = network
      const taught = lesson(network, inputs, options, draw)
      const { value, gradients, besides } = gradientsOf<[Tensor]>(network, () => {
        const at = landscapesOf(network, inputs)(taught.step)
        const opinion = at.opinion(constant(taught.state)).value
        const miss = tf.mul(tf.sum(tf.square(tf.sub(opinion, taught.next)), 2), 0.5)
        return [tf.div(tf.sum(tf.mul(miss, inputs.weights)), inputs.count), opinion]
      })
      const [opinion] = besides
      const agreement = cosine(network, inputs, taught, opinion)
      return { value, losses: [], gradients, measures: { agreement } }
    },
  }
}

interface Lesson {
  step: number
  state: Tensor
  /** The state after the teacher's step from there. */
  next: Tensor
}

function lesson(
  network: Network,
  inputs: Inputs,
  { teacher, horizon, own: share }: AmortizedOptions,
  draw: Draw,
): Lesson {
  const { tf } = network
  const seen = inputsOf(teacher, inputs.batch)
  const step = Math.floor(draw() * (horizon + 1))
  const alone = draw() < share
  const seed = seedFrom(draw)
  const landscapeAt = landscapesOf(teacher, seen)
  const alpha = alphaOf(teacher)
  const taught = (state: Tensor, at: number): Tensor => {
    const landscape = landscapeAt(at)
    const options = { alpha, first: at === 0, noise: null }
    return tf.tidy(() => descend(teacher, landscape, state, options).next)
  }
  const ownAt = alone ? landscapesOf(network, inputs) : undefined
  let state = startOf(teacher, seen, landscapeAt(0), seed)
  for (let at = 0; at < step; at++) {
    const from = state
    const own = ownAt?.(at)
    state = own ? tf.tidy(() => own.opinion(constant(from)).value) : taught(from, at)
  }
  return { step, state, next: taught(state, step) }
}

/** The cosine between the student's direction and the teacher's, over all moving positions. */
function cosine({ tf }: Network, inputs: Inputs, taught: Lesson, opinion: Tensor): Tensor {
  return tf.tidy(() => {
    const kept = (t: Tensor) => tf.mul(t, tf.expandDims(inputs.weights, 2))
    const [a, b] = [kept(tf.sub(taught.state, opinion)), kept(tf.sub(taught.state, taught.next))]
    const norms = tf.mul(tf.norm(a), tf.norm(b))
    return tf.div(tf.sum(tf.mul(a, b)), tf.add(norms, 1e-12))
  })
}

function checkPair(student: ModelConfig, teacher: ModelConfig): void {
  const refuse = (reason: string): never => {
    throw new BasinError('not_supported', { param: 'objective', reason })
  }
  if (
    student.feed_forward ||
    student.energy.kind !== 'residual' ||
    student.energy.direction !== 'amortized'
  )
    refuse('amortized trains a residual energy with the amortized direction')
  if (student.conditioning === 'time_embed' || student.conditioning === 'adaln')
    refuse('amortized needs one context for all steps')
  if (teacher.feed_forward || teacher.answer.space !== 'latent')
    refuse('the teacher of amortized needs an energy in latent space')
  if (teacher.dim !== student.dim || teacher.answer.block !== student.answer.block)
    refuse('amortized needs dim and answer.block of its teacher')
  if (teacher.vocab_size !== student.vocab_size)
    refuse('amortized needs the vocabulary of its teacher')
}
