/**
 * The energy of answers under one landscape, and the direction in which they descend.
 * Formulas: docs/mathematics.md, "Energies". Shapes: B rows, N = M K positions, W = V or D.
 */
import type { Tensor } from './backend.js'
import { constant, type Num } from './numbers.js'
import type { Context, Network, Rotary } from './network.js'

/** Everything but the answers' state. */
export interface Setting {
  context: Context | null
  rotary: Rotary
  /** K: positions that attend to each other. */
  block: number
  /** Step embedding of each row's landscape [B, 1, D]; null where the model has no conditioning. */
  step: Tensor | null
  /** [B, N, 1]: 1 where a position moves, 0 where it is clamped; null where all move. */
  moving: Tensor | null
  /** [B, N] int32: tokens of the clamped positions, anything where a position moves. */
  clamped: Tensor | null
}

export interface Slope {
  /** E before the step, [B, M]. */
  energy: Tensor
  /** d in y <- y - alpha d, [B, N, W], zero at clamped positions. */
  direction: Tensor
  /** Residual only: F, what the answer is read from, [B, N, D], and the two parts of the energy, [B, M]. */
  opinion?: Tensor
  disagreement?: Tensor
  doubt?: Tensor
}

export class Landscape {
  constructor(
    private readonly network: Network,
    private readonly setting: Setting,
  ) {}

  /** norm(h) of the candidate stream at a state: probabilities in vocab space, y in latent space. */
  hidden(state: Num): Num {
    const { network, setting } = this
    const { num, tf, config } = network
    const free =
      config.answer.space === 'vocab' ? network.vocabInput(state) : network.latentInput(state)
    let input = free
    if (setting.moving && setting.clamped) {
      const known = tf.mul(network.clampedInput(setting.clamped), tf.sub(1, setting.moving))
      input = num.add(num.mul(free, constant(setting.moving)), constant(known))
    }
    if (config.conditioning === 'candidate' && setting.step)
      input = num.add(input, constant(setting.step))
    return network.candidates(input, setting.block, setting.context, setting.rotary, setting.step)
  }

  /** y_0 from the observed stream alone, [B, N, D]; zeros where nothing was observed. */
  contextDraft(like: Tensor): Tensor {
    const hidden = this.setting.context?.hidden
    return hidden ? this.network.causalOpinion(hidden) : this.network.tf.zerosLike(like)
  }

  /** Sum of head(h) over each answer's positions, [B, M]. */
  headEnergy(state: Num): Num {
    return this.network.num.each(this.network.head(this.hidden(state)), (t) => this.byAnswer(t))
  }

  /** F(c, y), [B, N, D]: C norm(h), plus A y_0 where it corrects a draft. */
  opinion(state: Num): Num {
    const { num, config } = this.network
    const own = this.network.opinion(this.hidden(state))
    if (!config.answer.anchor) return own
    const draft = constant(this.contextDraft(state.value))
    return num.add(own, num.linear(draft, this.network.weight('answer.anchor.weight')))
  }

  /** The energy whose gradient is the direction of descent, [B, M], with its tangent along a direction. */
  descended(state: Num): Num {
    const { num, tf, config } = this.network
    const half = (x: Num): Num => {
      const moving = this.setting.moving ? num.mul(x, constant(this.setting.moving)) : x
      return num.each(num.sum(num.mul(moving, moving), 2), (t) => tf.mul(0.5, this.byAnswer(t)))
    }
    const minus = (x: Num): Num => num.each(x, (t) => tf.neg(t))
    if (config.energy.kind === 'head') return this.headEnergy(state)
    if (config.energy.kind === 'potential') {
      const phi = num.mul(this.headEnergy(state), constant(this.network.weight('answer.scale')))
      return num.add(half(state), minus(phi))
    }
    return half(num.add(state, minus(this.opinion(state))))
  }

  /** E alone, without a direction: one forward pass. */
  energy(state: Tensor): Omit<Slope, 'direction'> {
    const { tf, config } = this.network
    if (config.energy.kind === 'head') return { energy: this.headEnergy(constant(state)).value }
    if (config.energy.kind === 'potential')
      return { energy: tf.sub(this.confinement(state), this.potential(state)) }
    return this.residualEnergy(state, this.opinion(constant(state)).value)
  }

  /** E and the direction of descent at a state. */
  slope(state: Tensor): Slope {
    const { tf, config } = this.network
    if (config.energy.kind === 'head') {
      const { value, grad } = this.gradient((s) => this.headEnergy(constant(s)).value, state)
      return { energy: value, direction: this.onlyMoving(grad) }
    }
    if (config.energy.kind === 'potential') {
      const { value, grad } = this.gradient((s) => this.potential(s), state)
      return {
        energy: tf.sub(this.confinement(state), value),
        direction: this.onlyMoving(tf.sub(state, grad)),
      }
    }
    return config.energy.direction === 'amortized' ? this.amortized(state) : this.exact(state)
  }

  /** [B, N] -> [B, M]: sums over the K positions of each answer. */
  private byAnswer(t: Tensor): Tensor {
    const { tf } = this.network
    const [b, n] = t.shape as [number, number]
    return tf.sum(tf.reshape(t, [b, n / this.setting.block, this.setting.block]), 2)
  }

  private onlyMoving(t: Tensor): Tensor {
    return this.setting.moving ? this.network.tf.mul(t, this.setting.moving) : t
  }

  /** phi = scale * sum_i head(h_i) */
  private potential(state: Tensor): Tensor {
    return this.network.tf.mul(
      this.headEnergy(constant(state)).value,
      this.network.weight('answer.scale'),
    )
  }

  /** 1/2 |y|^2 over moving positions */
  private confinement(state: Tensor): Tensor {
    const { tf } = this.network
    return tf.mul(0.5, this.byAnswer(tf.sum(tf.square(this.onlyMoving(state)), 2)))
  }

  private amortized(state: Tensor): Slope {
    const opinion = this.opinion(constant(state)).value
    const direction = this.onlyMoving(this.network.tf.sub(state, opinion))
    return { ...this.residualEnergy(state, opinion), direction }
  }

  /** (I - dF/dy)^T (y - F), the gradient of 1/2 |y - F|^2. */
  private exact(state: Tensor): Slope {
    const { tf } = this.network
    let opinion: Tensor | undefined
    const { grad } = this.gradient((s) => {
      const f = this.opinion(constant(s)).value
      opinion = tf.keep(tf.clone(f))
      return tf.mul(0.5, this.byAnswer(tf.sum(tf.square(this.onlyMoving(tf.sub(s, f))), 2)))
    }, state)
    const f = tf.clone(opinion as unknown as Tensor)
    ;(opinion as unknown as Tensor).dispose()
    return { ...this.residualEnergy(state, f), direction: this.onlyMoving(grad) }
  }

  /** The energy of a state given the opinion F about it, and its parts disagreement and doubt. */
  private residualEnergy(state: Tensor, opinion: Tensor): Required<Omit<Slope, 'direction'>> {
    const { tf, config } = this.network
    const distance = tf.sum(tf.square(this.onlyMoving(tf.sub(state, opinion))), 2)
    const disagreement = tf.mul(this.byAnswer(distance), 0.5 / config.dim)
    const logProbs = tf.logSoftmax(this.network.readout(opinion))
    const entropy = tf.neg(tf.sum(tf.mul(tf.exp(logProbs), logProbs), 2, true))
    const doubt = this.byAnswer(tf.squeeze(this.onlyMoving(entropy), [2]))
    const energy = tf.add(disagreement, tf.mul(doubt, config.energy.doubt))
    return { energy, opinion, disagreement, doubt }
  }

  private gradient(f: (s: Tensor) => Tensor, at: Tensor): { value: Tensor; grad: Tensor } {
    const { tf } = this.network
    const answers = (at.shape[1] as number) / this.setting.block
    return tf.valueAndGrad(f)(at, tf.ones([at.shape[0], answers]))
  }
}
