/**
 * AdamW (Loshchilov and Hutter 2019) with decoupled weight decay, global-norm clipping, and a warm-up
 * and cosine schedule. State is plain tensors by parameter name, so that a run resumes exactly.
 */
import type { Tensor, Tf } from '../energy/tfjs/backend.js'

export interface OptimizerOptions {
  learningRate: number
  beta1: number
  beta2: number
  weightDecay: number
  /** Largest global gradient norm; larger gradients are scaled down to it. */
  clip: number
  warmup: number
  updates: number
  /** Learning rate of alpha relative to the rest (reference: mcmc_step_size_lr_multiplier). */
  alphaMultiplier: number
}

/** Linear warm-up to the learning rate, then a cosine down to a tenth of it. */
export function learningRateAt(
  { learningRate, warmup, updates }: OptimizerOptions,
  update: number,
): number {
  const rising = Math.min(1, (update + 1) / Math.max(1, warmup))
  const progress = Math.min(1, update / Math.max(1, updates))
  return learningRate * rising * (0.1 + 0.9 * 0.5 * (1 + Math.cos(Math.PI * progress)))
}

const epsilon = 1e-8

export class AdamW {
  readonly first = new Map<string, Tensor>()
  readonly second = new Map<string, Tensor>()

  constructor(
    private readonly tf: Tf,
    private readonly options: OptimizerOptions,
  ) {}

  /** Applies one update in place; returns the global gradient norm before clipping. */
  apply(
    parameters: ReadonlyMap<string, { assign(value: Tensor): void } & Tensor>,
    gradients: ReadonlyMap<string, Tensor>,
    update: number,
  ): number {
    const { tf } = this
    const norm = tf.tidy(() => {
      const squares = [...gradients.values()].map((g) => tf.sum(tf.square(g)))
      return Math.sqrt(tf.addN(squares).dataSync()[0] as number)
    })
    if (!Number.isFinite(norm)) return norm
    const scale = Math.min(1, this.options.clip / (norm + 1e-6))
    for (const [name, gradient] of gradients) {
      const parameter = parameters.get(name)
      if (parameter) this.updateOne(name, parameter, gradient, scale, update)
    }
    return norm
  }

  private updateOne(
    name: string,
    parameter: { assign(value: Tensor): void } & Tensor,
    gradient: Tensor,
    scale: number,
    update: number,
  ): void {
    const { tf, options } = this
    const isAlpha = name === 'alpha'
    const rate = learningRateAt(options, update) * (isAlpha ? options.alphaMultiplier : 1)
    const decay = isAlpha || parameter.rank < 2 ? 0 : options.weightDecay
    const correction1 = 1 - options.beta1 ** (update + 1)
    const correction2 = 1 - options.beta2 ** (update + 1)
    const [m, v, next] = tf.tidy(() => {
      const g = tf.mul(gradient, scale)
      const oldM = this.first.get(name) ?? tf.zerosLike(parameter)
      const oldV = this.second.get(name) ?? tf.zerosLike(parameter)
      const newM = tf.add(tf.mul(oldM, options.beta1), tf.mul(g, 1 - options.beta1))
      const newV = tf.add(tf.mul(oldV, options.beta2), tf.mul(tf.square(g), 1 - options.beta2))
      const step = tf.div(
        tf.div(newM, correction1),
        tf.add(tf.sqrt(tf.div(newV, correction2)), epsilon),
      )
      const decayed = decay === 0 ? parameter : tf.mul(parameter, 1 - rate * decay)
      return [newM, newV, tf.sub(decayed, tf.mul(step, rate))] as [Tensor, Tensor, Tensor]
    })
    this.replace(this.first, name, m)
    this.replace(this.second, name, v)
    parameter.assign(next)
    next.dispose()
  }

  /** Puts back saved state. */
  restore(name: string, first: Tensor, second: Tensor): void {
    this.replace(this.first, name, first)
    this.replace(this.second, name, second)
  }

  private replace(state: Map<string, Tensor>, name: string, tensor: Tensor): void {
    state.get(name)?.dispose()
    state.set(name, this.tf.keep(tensor))
  }
}
