/**
 * The descent of one training batch: forward as the recipe says, then backward for the gradients of its
 * losses. One step is defined in unroll.ts.
 */
import type { Tensor } from '../../energy/tfjs/backend.js'
import { draft, logitsOf } from '../../energy/tfjs/descent.js'
import type { Network } from '../../energy/tfjs/network.js'
import { stateWidth } from '../../model/config.js'
import { crossEntropy } from '../loss.js'
import { SMALLEST_STEP_SIZE } from '../../energy/step-size.js'
import { alphaOf } from '../learned-step-size.js'
import type { GatheredGradients } from './gradients.js'
import { startOf, type Draw, type Inputs } from './objective.js'
import type { OptimizeOptions } from './recipe.js'
import { noiseFor, seedFrom, stateOf } from './start.js'
import { stepBackward, stepForward, type StepSettings, type TakenStep } from './unroll.js'

/** The descent of one batch: `start`, `forward`, then `backward`. */
export class Unrolled {
  private readonly taken: TakenStep[] = []
  private readonly alpha: Tensor
  private state!: Tensor
  /** True if the network computed the starting point, which then has a loss of its own. */
  private drafted = false

  constructor(
    private readonly network: Network,
    private readonly inputs: Inputs,
    private readonly gradients: GatheredGradients,
    private readonly options: OptimizeOptions,
  ) {
    this.alpha = alphaOf(network)
  }

  /** The state after the last step. */
  get last(): Tensor {
    return this.state
  }

  start(replayed: Tensor | null, fresh: number, draw: Draw): void {
    const { network, inputs, gradients } = this
    const first = gradients.landscape(0)
    this.drafted = network.config.answer.start === 'draft' && !inputs.batch.start && !replayed
    this.state = startOf(network, inputs, first, seedFrom(draw))
    if (!replayed) return
    const { tf } = network
    this.state = tf.concat([tf.slice(this.state, [0, 0, 0], [fresh, -1, -1]), replayed])
  }

  forward(draw: Draw): void {
    const sizes = this.stepSizes(draw)
    const settings = (landscape: number, i: number): StepSettings => ({
      ...sizes,
      ...this.settings(draw),
      landscape,
      first: i === 0,
    })
    const { horizon } = this.options
    const before = horizon > 0 ? Math.floor(draw() * (horizon + 1)) : 0
    for (let i = 0; i < before; i++) this.pass(settings(this.network.config.landscapes - 1, i))
    schedule(this.options, draw).forEach((landscape, i) => {
      const step = stepForward(
        this.network,
        this.gradients,
        this.state,
        settings(landscape, before + i),
      )
      this.taken.push(step)
      this.state = step.next
    })
  }

  /** A step without a derivative: only the state after it is kept, and the draft has no loss. */
  private pass(settings: StepSettings): void {
    const { network, gradients, state } = this
    // A context that is computed here, outside the tidy, outlives the step.
    gradients.landscape(settings.landscape)
    this.state = network.tf.tidy(() => stepForward(network, gradients, state, settings).next)
    state.dispose()
    this.drafted = false
  }

  /** Gathers all gradients; returns the loss of every step that has one, and the minimised value. */
  backward(): { value: Tensor; losses: Tensor[] } {
    const { network, options, taken } = this
    const { tf } = network
    const counted = options.truncate ? 1 : taken.length + (this.drafted ? 1 : 0)
    const losses: Tensor[] = []
    const alphas: Tensor[] = []
    const besides: Tensor[] = []
    let behind: Tensor | null = null
    for (let i = taken.length - 1; i >= 0; i--) {
      const step = taken[i] as TakenStep
      const isLast = i === taken.length - 1
      let lambda: Tensor | null = behind
      if (isLast || !options.truncate) {
        const own = this.loss(step.next, 1 / counted)
        losses.unshift(own.loss)
        lambda = lambda ? tf.add(lambda, own.lambda) : own.lambda
      }
      if (!lambda) break
      const rise = isLast && options.rise > 0 ? this.rise(step) : undefined
      if (rise) lambda = tf.add(lambda, rise.atNext)
      const contrast = isLast && options.contrast > 0 ? this.contrast(step) : undefined
      besides.push(...[contrast?.value, rise?.value].filter((t) => t !== undefined))
      const atBase = [contrast?.slope, rise?.atBase].filter((t) => t !== undefined)
      const weights = isLast || !options.truncate
      const back = stepBackward(network, this.gradients, step, lambda, {
        weights,
        ...(atBase.length > 0 && { atBase: tf.addN(atBase) }),
      })
      alphas.push(back.alpha)
      behind = options.through ? back.state : null
    }
    this.draftBackward(behind, counted, losses)
    if (options.learnAlpha) {
      // A step size at its least stays there.
      const above = tf.sub(network.weight('alpha'), SMALLEST_STEP_SIZE)
      this.gradients.set('alpha', tf.mul(tf.addN(alphas), tf.step(above)))
    }
    const value = tf.addN([tf.div(tf.addN(losses), counted), ...besides])
    return { value, losses }
  }

  /** The gradient of the draft, from its own loss and from the steps after it (`behind` = dL/dy). */
  private draftBackward(behind: Tensor | null, counted: number, losses: Tensor[]): void {
    if (!this.drafted) return
    const { network, inputs, options } = this
    const { tf } = network
    const first = this.taken[0]?.base as Tensor
    const compute = (): Tensor => draft(network, this.gradients.landscape(0), tf.zerosLike(first))
    const parts = (): Tensor[] => {
      const y = compute()
      const own = options.truncate ? [] : [tf.div(readLoss(network, inputs, y), counted)]
      return behind ? [...own, tf.sum(tf.mul(y, behind))] : own
    }
    if (!options.truncate) losses.unshift(readLoss(network, inputs, compute()))
    if (!options.truncate || behind) this.gradients.add(() => tf.addN(parts()))
  }

  /** Adds the gradient of an answer's weighted loss; returns the unweighted loss and lambda = dL/dz. */
  private loss(answer: Tensor, weight: number): { loss: Tensor; lambda: Tensor } {
    const { network, inputs, gradients } = this
    const { value, slopes } = gradients.add(
      () => network.tf.mul(readLoss(network, inputs, answer), weight),
      [answer],
    )
    return { loss: network.tf.div(value, weight), lambda: slopes[0] as Tensor }
  }

  /** The contrastive term, and its gradient at the last step's base. */
  private contrast(step: TakenStep): { value: Tensor; slope: Tensor } {
    const { network, inputs, gradients, options } = this
    const { tf } = network
    const landscape = (): ReturnType<typeof gradients.landscape> =>
      gradients.landscape(step.landscape)
    const { value, slopes } = gradients.add(() => {
      const apart = tf.sub(
        landscape().energy(stateOf(network, inputs.targets)).energy,
        landscape().energy(step.base).energy,
      )
      const counts = tf.mul(tf.softplus(apart), inputs.answers)
      return tf.mul(tf.sum(counts), options.contrast / inputs.answerCount)
    }, [step.base])
    return { value, slope: slopes[0] as Tensor }
  }

  /**
   * The weighted max(0, E_next - E), per moving position and dimension, of the energy that descends, and
   * its gradients at both ends of the step. A step of size alpha lowers 1/2 |y|^2 - phi(y) wherever the
   * curvature of phi is above 1 - 2 / alpha; this term raises the curvature along the descent.
   */
  private rise(step: TakenStep): { value: Tensor; atBase: Tensor; atNext: Tensor } {
    const { network, inputs, gradients, options } = this
    const { tf } = network
    const energyAt = (state: Tensor): Tensor =>
      gradients.landscape(step.landscape).descended({ value: state, tangent: null }).value
    const size = inputs.count * stateWidth(network.config)
    const { value, slopes } = gradients.add(() => {
      const rise = tf.relu(tf.sub(energyAt(step.next), energyAt(step.base)))
      return tf.mul(tf.sum(tf.mul(rise, inputs.answers)), options.rise / size)
    }, [step.base, step.next])
    return { value, atBase: slopes[0] as Tensor, atNext: slopes[1] as Tensor }
  }

  /** One step size for all positions, or one drawn for each. */
  private stepSizes(draw: Draw): Pick<StepSettings, 'alpha' | 'alphaScale'> {
    const { tf } = this.network
    const { stepSizeScale } = this.options
    if (stepSizeScale === 1) return { alpha: this.alpha, alphaScale: tf.scalar(1) }
    const [rows, n] = this.inputs.targets.shape as [number, number]
    const [low, high] = [1 / stepSizeScale, stepSizeScale]
    const scales = Float32Array.from({ length: rows * n }, () => low + draw() * (high - low))
    const alphaScale = tf.tensor3d(scales, [rows, n, 1])
    return { alpha: tf.mul(alphaScale, this.alpha), alphaScale }
  }

  private settings(draw: Draw): Omit<StepSettings, 'landscape' | 'first' | 'alpha' | 'alphaScale'> {
    const { tf } = this.network
    const { noise, clamp, absoluteClamp, sharpen } = this.options
    return {
      noise: noise > 0 ? noiseFor(this.network, this.inputs, noise, draw) : null,
      clamp: clamp > 0 ? tf.div(clamp, this.alpha) : null,
      absoluteClamp: absoluteClamp || Infinity,
      sharpen: sharpen || 1,
    }
  }
}

/** The landscape of every step to take. Numbers of repeats are drawn. */
function schedule(options: OptimizeOptions, draw: Draw): number[] {
  const { steps, repeats, leastRepeats, repeatLast } = options
  const least = leastRepeats || 1
  return Array.from({ length: steps }, (_, step) => {
    const random = repeats > 0 && (!repeatLast || step === steps - 1)
    const times = random ? least + Math.floor(draw() * (repeats + 2 - least)) : 1
    return new Array<number>(times).fill(step)
  }).flat()
}

const readLoss = (network: Network, inputs: Inputs, answer: Tensor): Tensor =>
  crossEntropy(network.tf, logitsOf(network, answer), inputs.targets, inputs.weights, inputs.count)
