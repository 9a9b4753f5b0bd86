/**
 * AdamW (Loshchilov and Hutter 2019) with decoupled weight decay, or Muon (Jordan 2024) for the matrices
 * of the layers and AdamW for the rest, with global-norm clipping, a warm-up and a cosine schedule. The
 * optimizer's state is tensors by parameter name, so that a checkpoint can hold it. Parameters of one shape
 * are updated in one stack: on a GPU a small model's update takes as long as it has operations.
 */
import type { Tensor, Tf } from '../energy/tfjs/backend.js'
import { fusedAll } from '../energy/tfjs/fused.js'

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
/** Numbers of a stack. Larger matrices gain nothing from it, and adapters limit the size of a tensor. */
const MOST_STACKED = 2 ** 22

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
    const settings = this.adamSettings(scale, update)
    for (const names of this.groups(parameters, gradients)) {
      const rest = names.filter((name) => {
        const [parameter, gradient] = [parameters.get(name), gradients.get(name)]
        if (!parameter || !gradient || this.hasMuon(name, parameter)) return true
        return !this.adamInOne(name, parameter, gradient, settings)
      })
      if (rest.length > 0) this.updateGroup(rest, parameters, gradients, scale, update)
    }
    settings.dispose()
  }

  /** What gradients are multiplied by, the learning rate, and how far both running means have come. */
  private adamSettings(scale: number, update: number): Tensor {
    const { beta1, beta2 } = this.options
    const come = [beta1, beta2].map((beta) => 1 - beta ** (update + 1))
    return this.tf.tensor1d([scale, learningRateAt(this.options, update), ...come])
  }

  /** AdamW by one kernel; false where the backend has none. */
  private adamInOne(
    name: string,
    parameter: Parameter,
    gradient: Tensor,
    settings: Tensor,
  ): boolean {
    const { tf } = this
    const { beta1, beta2 } = this.options
    const { decay, rateTimes } = this.ruleFor(name, parameter)
    const made = tf.tidy(() => {
      const first = this.first.get(name) ?? tf.zerosLike(gradient)
      const second = this.second.get(name) ?? tf.zerosLike(gradient)
      const inputs = { parameter, gradient, first, second, settings }
      const attributes = { beta1, beta2, epsilon: ADAM_EPSILON, decay, rateTimes }
      return fusedAll(tf, 'BasinAdamW', inputs, attributes) ?? []
    })
    if (made.length === 0) return false
    const [next, first, second] = made as [Tensor, Tensor, Tensor]
    this.replace(this.first, [name], first)
    this.replace(this.second, [name], second)
    parameter.assign(next)
    next.dispose()
    return true
  }

  /** The learning rate relative to that of most parameters, and the decay of the weights. */
  private ruleFor(name: string, { rank }: Tensor): { rateTimes: number; decay: number } {
    const { alphaMultiplier, weightDecay } = this.options
    if (name === 'alpha') return { rateTimes: alphaMultiplier, decay: 0 }
    return { rateTimes: 1, decay: rank < 2 ? 0 : weightDecay }
  }

  /** Names of parameters of one shape that the same rule updates, in the order of the gradients. */
  private groups(
    parameters: ReadonlyMap<string, Parameter>,
    gradients: ReadonlyMap<string, Tensor>,
  ): string[][] {
    const open = new Map<string, string[]>()
    const all: string[][] = []
    for (const name of gradients.keys()) {
      const parameter = parameters.get(name)
      if (!parameter) continue
      const alone = name === 'alpha' ? name : ''
      const key = `${alone} ${this.hasMuon(name, parameter)} ${parameter.shape.join()}`
      const group = open.get(key)
      if (group && (group.length + 1) * parameter.size <= MOST_STACKED) group.push(name)
      else {
        const fresh = [name]
        open.set(key, fresh)
        all.push(fresh)
      }
    }
    return all
  }

  /** Updates parameters of one shape in one stack, which takes as many operations as one of them. */
  private updateGroup(
    names: readonly string[],
    parameters: ReadonlyMap<string, Parameter>,
    gradients: ReadonlyMap<string, Tensor>,
    scale: number,
    update: number,
  ): void {
    const { tf, options } = this
    const [first] = names as [string]
    const own = names.map((name) => parameters.get(name) as Parameter)
    const { decay, rateTimes } = this.ruleFor(first, own[0] as Parameter)
    const rate = learningRateAt(options, update) * rateTimes
    const next = tf.tidy(() => {
      const stacked = names.map((name) => gradients.get(name) as Tensor)
      const clipped = tf.mul(stack(tf, stacked), scale)
      const step = this.hasMuon(first, own[0] as Parameter)
        ? this.muonStep(names, clipped)
        : this.adamStep(names, clipped, update)
      const whole = stack(tf, own)
      const decayed = decay === 0 ? whole : tf.mul(whole, 1 - rate * decay)
      return unstack(tf, tf.sub(decayed, tf.mul(step, rate)), names.length)
    })
    next.forEach((value, i) => {
      own[i]?.assign(value)
      value.dispose()
    })
  }

  /** Muon updates the matrices of the hidden layers; embeddings, read-outs and vectors keep AdamW. */
  private hasMuon(name: string, parameter: Tensor): boolean {
    return (
      this.options.optimizer === 'muon' &&
      parameter.rank === 2 &&
      name.startsWith('transformer.layers.')
    )
  }

  private adamStep(names: readonly string[], g: Tensor, update: number): Tensor {
    const { tf, options } = this
    const oldM = this.stacked(this.first, names, g)
    const oldV = this.stacked(this.second, names, g)
    const m = tf.add(tf.mul(oldM, options.beta1), tf.mul(g, 1 - options.beta1))
    const v = tf.add(tf.mul(oldV, options.beta2), tf.mul(tf.square(g), 1 - options.beta2))
    this.replace(this.first, names, m)
    this.replace(this.second, names, v)
    return tf.div(
      tf.div(m, 1 - options.beta1 ** (update + 1)),
      tf.add(tf.sqrt(tf.div(v, 1 - options.beta2 ** (update + 1))), ADAM_EPSILON),
    )
  }

  /** Nesterov momentum, orthogonalised, scaled to the root mean square `muonStep` (Liu et al. 2025). */
  private muonStep(names: readonly string[], g: Tensor): Tensor {
    const { tf } = this
    const old = this.stacked(this.first, names, g)
    const m = tf.add(tf.mul(old, MUON_MOMENTUM), tf.mul(g, 1 - MUON_MOMENTUM))
    this.replace(this.first, names, m)
    const ahead = tf.add(tf.mul(m, MUON_MOMENTUM), tf.mul(g, 1 - MUON_MOMENTUM))
    return tf.mul(
      orthogonalised(tf, ahead),
      this.options.muonStep * Math.sqrt(Math.max(...g.shape.slice(-2))),
    )
  }

  /** Restores saved state; `second` is absent for parameters that Muon updates. */
  restore(name: string, first: Tensor, second: Tensor | undefined): void {
    this.replace(this.first, [name], first)
    if (second) this.replace(this.second, [name], second)
  }

  /** State of parameters of one shape in one stack `like` their gradients; zeros before their first update. */
  private stacked(
    state: ReadonlyMap<string, Tensor>,
    names: readonly string[],
    like: Tensor,
  ): Tensor {
    const known = names.map((name) => state.get(name))
    const present = known.filter((tensor) => tensor !== undefined)
    if (present.length === names.length) return stack(this.tf, present)
    if (present.length === 0) return this.tf.zerosLike(like)
    const shape = (present[0] as Tensor).shape
    return stack(
      this.tf,
      known.map((tensor) => tensor ?? this.tf.zeros(shape)),
    )
  }

  private replace(state: Map<string, Tensor>, names: readonly string[], whole: Tensor): void {
    unstack(this.tf, whole, names.length).forEach((tensor, i) => {
      const name = names[i] as string
      state.get(name)?.dispose()
      state.set(name, this.tf.keep(tensor))
    })
  }
}

/** One tensor stays as it is. */
const stack = (tf: Tf, tensors: readonly Tensor[]): Tensor =>
  tensors.length === 1 ? (tensors[0] as Tensor) : tf.stack([...tensors])

const unstack = (tf: Tf, whole: Tensor, count: number): Tensor[] =>
  count === 1 ? [whole] : tf.unstack(whole)

/**
 * The orthogonal matrix nearest to this one, approximately: five Newton-Schulz iterations with the
 * quintic of Jordan (2024) bring the singular values to between 0.7 and 1.2. Of a stack [n, rows, columns],
 * each of its matrices for itself.
 */
export function orthogonalised(tf: Tf, matrices: Tensor): Tensor {
  const [rows, columns] = matrices.shape.slice(-2) as [number, number]
  const turn = (x: Tensor): Tensor => tf.transpose(x, x.rank === 2 ? [1, 0] : [0, 2, 1])
  const wide = rows > columns ? turn(matrices) : matrices
  const norm = tf.sqrt(tf.sum(tf.square(wide), [-2, -1], true))
  let x = tf.div(wide, tf.add(norm, 1e-7))
  for (let i = 0; i < 5; i++) {
    const a = tf.matMul(x, x, false, true)
    const b = tf.add(tf.mul(a, -4.775), tf.mul(tf.matMul(a, a), 2.0315))
    x = tf.add(tf.mul(x, 3.4445), tf.matMul(b, x))
  }
  return rows > columns ? turn(x) : x
}
