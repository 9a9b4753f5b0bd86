/**
 * One step of a descent and its derivative. Forward:
 *
 *     u = z + noise;  p = softmax(u) or u;  g = dE/dp;  r = p - a clamp(g);  z_next = clamp(r) / sharpen
 *
 * Backward, with lambda = dL/dz_next: mu = lambda / sharpen where r was not clamped (else 0), and
 * nu = a mu where g was not clamped (else 0). <nu, g> is the directional derivative of E along nu, which is
 * computed in forward mode (energy/tfjs/numbers.ts). One ordinary reverse pass over -<nu, g> gives both
 * the weights' gradient and -H nu, so that dL/dp = mu - H nu goes on through the softmax to the step
 * before. Only the tape of one step is held at a time.
 */
import type { Tensor } from '../../energy/tfjs/backend.js'
import { basePoint } from '../../energy/tfjs/descent.js'
import type { Network } from '../../energy/tfjs/network.js'
import type { GatheredGradients } from './gradients.js'

export interface StepSettings {
  /** 0-based, over the model's landscapes. */
  landscape: number
  /** True for the first step of an answer. */
  first: boolean
  /** a: scalar or [B, N, 1]. */
  alpha: Tensor
  /** da / d(alpha of the checkpoint), shaped as `alpha`. */
  alphaScale: Tensor
  /** [B, N, W], or null. */
  noise: Tensor | null
  /** Largest magnitude of g's elements, a scalar; null for no clamp. */
  clamp: Tensor | null
  /** Largest magnitude of r's elements; Infinity for no clamp. */
  absoluteClamp: number
  /** Divides the state after the step; 1 for none. */
  sharpen: number
}

/** What the backward pass needs of a step, besides its settings. */
export interface TakenStep extends StepSettings {
  base: Tensor
  normalized: boolean
  /** [B, N, W] g before the clamp. */
  direction: Tensor
  /** r before its clamp. */
  moved: Tensor
  next: Tensor
}

export function stepForward(
  network: Network,
  gradients: GatheredGradients,
  state: Tensor,
  settings: StepSettings,
): TakenStep {
  const { tf } = network
  const { alpha, noise, clamp, absoluteClamp, sharpen } = settings
  const noisy = noise ? tf.add(state, noise) : state
  const base = basePoint(network, noisy, settings.first)
  const { direction } = gradients.landscape(settings.landscape).slope(base)
  const limited = clamp ? tf.minimum(tf.maximum(direction, tf.neg(clamp)), clamp) : direction
  const moved = tf.sub(base, tf.mul(limited, alpha))
  const within = Number.isFinite(absoluteClamp)
    ? tf.clipByValue(moved, -absoluteClamp, absoluteClamp)
    : moved
  const next = sharpen === 1 ? within : tf.div(within, sharpen)
  return { ...settings, base, normalized: base !== noisy, direction, moved, next }
}

/**
 * Computes dL/dz from lambda = dL/dz_next, and adds the weights' gradients. `atBase` is added to dL/dp.
 * The result `alpha` is dL/d(alpha of the checkpoint). With `weights: false` g is taken as a constant.
 */
export function stepBackward(
  network: Network,
  gradients: GatheredGradients,
  step: TakenStep,
  lambda: Tensor,
  options: { weights: boolean; atBase?: Tensor },
): { state: Tensor; alpha: Tensor } {
  const { tf } = network
  const inside = (t: Tensor, limit: Tensor | number): Tensor =>
    tf.cast(tf.lessEqual(tf.abs(t), limit), 'float32')
  const divided = tf.div(lambda, step.sharpen)
  const mu = Number.isFinite(step.absoluteClamp)
    ? tf.mul(divided, inside(step.moved, step.absoluteClamp))
    : divided
  const free = step.clamp ? tf.mul(mu, inside(step.direction, step.clamp)) : mu
  // A clamped element of g is +-change / alpha: its product with alpha does not depend on alpha.
  const alpha = tf.neg(tf.sum(tf.mul(tf.mul(free, step.alphaScale), step.direction)))
  const atBase = options.atBase ? tf.add(mu, options.atBase) : mu
  if (!options.weights) return { state: throughSoftmax(network, step, atBase), alpha }
  const nu = tf.mul(free, step.alpha)
  const { slopes } = gradients.add(() => {
    const along = gradients.landscape(step.landscape).descended({ value: step.base, tangent: nu })
    return tf.neg(tf.sum(along.tangent as Tensor))
  }, [step.base])
  const toBase = tf.add(atBase, slopes[0] as Tensor)
  return { state: throughSoftmax(network, step, toBase), alpha }
}

/** dL/du from dL/dp, p = softmax(u). */
function throughSoftmax({ tf }: Network, step: TakenStep, slope: Tensor): Tensor {
  if (!step.normalized) return slope
  const weighted = tf.mul(step.base, slope)
  return tf.sub(weighted, tf.mul(step.base, tf.sum(weighted, -1, true)))
}
