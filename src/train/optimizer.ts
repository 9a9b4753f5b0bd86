/**
 * AdamW (Loshchilov and Hutter 2019) with decoupled weight decay, or Muon (Jordan 2024) for the matrices
 * of the layers and AdamW for the rest, with global-norm clipping, a warm-up and a cosine schedule. The
 * optimizer's state is tensors by parameter name, so that a checkpoint can hold it.
 */
import type { Tensor, Tf } from '../energy/tfjs/backend.js'

export const optimizers = ['adamw', 'muon'] as const
export type OptimizerName = (typeof optimizers)[number]

export interface OptimizerOptions {
  optimizer: OptimizerName
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
  /** Root mean square of Muon's steps relative to the learning rate; AdamW's are 0.2 to 1. */
  muonStep: number
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

const ADAM_EPSILON = 1e-8
const MUON_MOMENTUM = 0.95

type Parameter = { assign(value: Tensor): void } & Tensor

export class Optimizer {
  /** Running mean of the gradient; Muon's momentum. */
  readonly first = new Map<string, Tensor>()
  /** Running mean of the squared gradient; absent for parameters that Muon updates. */
  readonly second = new Map<string, Tensor>()

  constructor(
    private readonly tf: Tf,
    private readonly options: OptimizerOptions,
  ) {}

  /** Applies one update in place. `norm`: the global norm of the gradients. */
  apply(
    parameters: ReadonlyMap<string, Parameter>,
    gradients: ReadonlyMap<string, Tensor>,
    norm: number,
    update: number,
  ): void {
    const scale = Math.min(1, this.options.clip / (norm + 1e-6))
    for (const [name, gradient] of gradients) {
      const parameter = parameters.get(name)
      if (parameter) this.updateOne(name, parameter, gradient, scale, update)
    }
  }

  private updateOne(
    name: string,
    parameter: Parameter,
    gradient: Tensor,
    scale: number,
    update: number,
  ): void {
    const { tf, options } = this
    const isAlpha = name === 'alpha'
    const rate = learningRateAt(options, update) * (isAlpha ? options.alphaMultiplier : 1)
    const decay = isAlpha || parameter.rank < 2 ? 0 : options.weightDecay
    const next = tf.tidy(() => {
      const clipped = tf.mul(gradient, scale)
      const step = this.hasMuon(name, parameter)
        ? this.muonStep(name, clipped)
        : this.adamStep(name, clipped, update)
      const decayed = decay === 0 ? parameter : tf.mul(parameter, 1 - rate * decay)
      return tf.sub(decayed, tf.mul(step, rate))
    })
    parameter.assign(next)
    next.dispose()
  }

  /** Muon updates the matrices of the hidden layers; embeddings, read-outs and vectors keep AdamW. */
  private hasMuon(name: string, parameter: Tensor): boolean {
    return (
      this.options.optimizer === 'muon' &&
      parameter.rank === 2 &&
      name.startsWith('transformer.layers.')
    )
  }

  private adamStep(name: string, g: Tensor, update: number): Tensor {
    const { tf, options } = this
    const oldM = this.first.get(name) ?? tf.zerosLike(g)
    const oldV = this.second.get(name) ?? tf.zerosLike(g)
    const m = tf.add(tf.mul(oldM, options.beta1), tf.mul(g, 1 - options.beta1))
    const v = tf.add(tf.mul(oldV, options.beta2), tf.mul(tf.square(g), 1 - options.beta2))
    this.replace(this.first, name, m)
    this.replace(this.second, name, v)
    return tf.div(
      tf.div(m, 1 - options.beta1 ** (update + 1)),
      tf.add(tf.sqrt(tf.div(v, 1 - options.beta2 ** (update + 1))), ADAM_EPSILON),
    )
  }

  /** Nesterov momentum, orthogonalised, scaled to the root mean square `muonStep` (Liu et al. 2025). */
  private muonStep(name: string, g: Tensor): Tensor {
    const { tf } = this
    const old = this.first.get(name) ?? tf.zerosLike(g)
    const m = tf.add(tf.mul(old, MUON_MOMENTUM), tf.mul(g, 1 - MUON_MOMENTUM))
    this.replace(this.first, name, m)
    const ahead = tf.add(tf.mul(m, MUON_MOMENTUM), tf.mul(g, 1 - MUON_MOMENTUM))
    return tf.mul(
      orthogonalised(tf, ahead),
      this.options.muonStep * Math.sqrt(Math.max(...g.shape)),
    )
  }

  /** Restores saved state; `second` is absent for parameters that Muon updates. */
  restore(name: string, first: Tensor, second: Tensor | undefined): void {
    this.replace(this.first, name, first)
    if (second) this.replace(this.second, name, second)
  }

  private replace(state: Map<string, Tensor>, name: string, tensor: Tensor): void {
    state.get(name)?.dispose()
    state.set(name, this.tf.keep(tensor))
  }
}

/**
 * The orthogonal matrix nearest to this one, approximately: five Newton-Schulz iterations with the
 * quintic of Jordan (2024) bring the singular values to between 0.7 and 1.2.
 */
export function orthogonalised(tf: Tf, matrix: Tensor): Tensor {
  const [rows, columns] = matrix.shape as [number, number]
  const wide = rows > columns ? tf.transpose(matrix) : matrix
  let x = tf.div(wide, tf.add(tf.norm(wide), 1e-7))
  for (let i = 0; i < 5; i++) {
    const a = tf.matMul(x, x, false, true)
    const b = tf.add(tf.mul(a, -4.775), tf.mul(tf.matMul(a, a), 2.0315))
    x = tf.add(tf.mul(x, 3.4445), tf.matMul(b, x))
  }
  return rows > columns ? tf.transpose(x) : x
}
