/**
 * `equilibrium`, for the residual energy: iterate y <- F(y) a random number of times without gradient
 * (the states inference will meet), then a few steps with cross-entropy on the read-out of F, detached
 * between them. First derivatives only; an update costs a few feed-forward updates however long the
 * horizon. The observed stream is computed once for all steps.
 */
import { BasinError } from '../../errors.js'
import type { Tensor } from '../../energy/tfjs/backend.js'
import { constant } from '../../energy/tfjs/numbers.js'
import { crossEntropy, withoutGradient } from '../loss.js'
import { gradientsOf, landscapesOf, scalarOf, type Objective } from './objective.js'

export interface EquilibriumOptions {
  /** P: the number of steps without gradient is drawn from 0..P. */
  horizon: number
  /** Steps with a loss after them. */
  lossSteps: number
}

export function equilibrium({ horizon, lossSteps }: EquilibriumOptions): Objective {
  return {
    name: 'equilibrium',
    check(config) {
      if (config.energy.kind !== 'residual')
        throw new BasinError('not_supported', {
          param: 'objective',
          reason: 'equilibrium trains the residual energy',
        })
      if (config.conditioning === 'time_embed' || config.conditioning === 'adaln')
        throw new BasinError('not_supported', {
          param: 'conditioning',
          reason: 'equilibrium needs one context for all steps',
        })
    },
    update(network, inputs, draw) {
      const { tf, config } = network
      const first = Math.floor(draw() * (horizon + 1))
      const losses: Tensor[] = []
      const gradients = gradientsOf(network, () => {
        const landscapeAt = landscapesOf(network, inputs)
        const opinionAt = (state: Tensor, step: number): Tensor =>
          landscapeAt(step).opinion(constant(state)).value
        // The observed stream belongs on the tape, the iterates before the loss do not.
        landscapeAt(0)
        let state = withoutGradient(tf, () => {
          let y: Tensor = tf.zeros([
            inputs.batch.rows,
            inputs.targets.shape[1] as number,
            config.dim,
          ])
          for (let step = 0; step < first; step++) y = tf.tidy(() => opinionAt(y, step))
          return y
        })
        for (let step = first; step < first + lossSteps; step++) {
          const opinion = opinionAt(state, step)
          losses.push(
            crossEntropy(
              tf,
              network.readout(opinion),
              inputs.targets,
              inputs.weights,
              inputs.count,
            ),
          )
          state = withoutGradient(tf, () => tf.clone(opinion))
        }
        losses.forEach((loss) => tf.keep(loss))
        return tf.div(tf.addN(losses), lossSteps)
      })
      return { losses: losses.map(scalarOf), gradients }
    },
  }
}
