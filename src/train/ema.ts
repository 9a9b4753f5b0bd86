/**
 * An exponential moving average of the weights (Polyak averaging as diffusion models and EqR use it):
 * after each update, average <- r average + (1 - r) weights, with r = min(rate, (1 + u) / (10 + u)) at
 * update u = 0, 1, ..., so that the first weights are soon forgotten. The average is what a run
 * validates and writes as the model; the weights themselves stay in its state and are trained on.
 */
import type { Tensor, Tf } from '../energy/tfjs/backend.js'

export type Parameter = Tensor & { assign(value: Tensor): void }

/** r of update `update`. */
export const averagingRate = (rate: number, update: number): number =>
  Math.min(rate, (1 + update) / (10 + update))

export class WeightAverage {
  readonly weights: ReadonlyMap<string, Parameter>

  constructor(
    private readonly tf: Tf,
    private readonly rate: number,
    parameters: ReadonlyMap<string, Tensor>,
  ) {
    this.weights = new Map(
      // `variable` keeps what it is given: the clone is the average's own.
      [...parameters].map(([name, t]) => [name, tf.variable(tf.clone(t), false)]),
    )
  }

  /** Takes in the weights as they are after `update`. */
  follow(parameters: ReadonlyMap<string, Tensor>, update: number): void {
    const { tf } = this
    const rate = averagingRate(this.rate, update)
    for (const [name, average] of this.weights) {
      const next = tf.tidy(() =>
        tf.add(tf.mul(average, rate), tf.mul(parameters.get(name) as Tensor, 1 - rate)),
      )
      average.assign(next)
      next.dispose()
    }
  }

  restore(name: string, value: Tensor): void {
    this.weights.get(name)?.assign(value)
  }
}
