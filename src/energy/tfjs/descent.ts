/**
 * One descent step on a batch of states, and how answers are read from it. Formulas:
 * docs/mathematics.md, "Answer spaces". Shapes: B rows, N positions, W = V or D.
 */
import { draftsFromContext } from '../../model/config.js'
import type { Tensor } from './backend.js'
import type { Landscape, Slope } from './landscape.js'
import type { Network } from './network.js'

export interface StepOptions {
  /** Scalar, or [B, 1, 1]. */
  alpha: Tensor
  /** True for the first step of an answer (matters to `normalize: first_step`). */
  first: boolean
  /** Added to the state before the step, [B, N, W]. */
  noise: Tensor | null
  /** The gradient of what is added to the energy, by the state, [B, N, W]. */
  push?: Tensor | null
}

export interface Step {
  /** What the energy was taken at: probabilities, or the state itself. */
  base: Tensor
  slope: Slope
  next: Tensor
}

/** The point at which the energy is taken: softmax(z) where the model normalises, else the state. */
export function basePoint(network: Network, state: Tensor, first: boolean): Tensor {
  const { space, normalize } = network.config.answer
  const normalized =
    space === 'vocab' && (normalize === 'every_step' || (normalize === 'first_step' && first))
  return normalized ? network.tf.softmax(state) : state
}

export function descend(
  network: Network,
  landscape: Landscape,
  state: Tensor,
  options: StepOptions,
): Step {
  const { tf } = network
  const { alpha, first, noise, push } = options
  const noisy = noise ? tf.add(state, noise) : state
  const amortized = isAmortized(network)
  const pushed = push && amortized ? tf.sub(noisy, tf.mul(push, alpha)) : noisy
  const base = basePoint(network, pushed, first)
  const model = landscape.slope(base)
  const direction = push && !amortized ? tf.add(model.direction, push) : model.direction
  return {
    base,
    slope: { ...model, direction },
    next: tf.sub(base, tf.mul(direction, alpha)),
  }
}

/** Whether a step is y <- F, or part of the way there. */
const isAmortized = ({ config: { energy } }: Network): boolean =>
  energy.kind === 'residual' && energy.direction === 'amortized'

/** logits [B, N, V] of an answer: a state, or F for the residual energy. */
export const logitsOf = (network: Network, answer: Tensor): Tensor =>
  network.config.answer.space === 'vocab' ? answer : network.readout(answer)

/** y_0 of a draft: the context's own, or one pass over the position queries with y = 0. [B, N, D] */
export function draft(network: Network, landscape: Landscape, like: Tensor): Tensor {
  if (draftsFromContext(network.config)) return landscape.contextDraft(like)
  const zero = { value: like, tangent: null }
  if (network.config.energy.kind === 'residual') return landscape.opinion(zero).value
  return network.num.linear(landscape.hidden(zero), network.weight('answer.draft.weight')).value
}
