/**
 * `optimize`: the EBT recipe (Gladstone et al. 2025), which differentiates the loss of an answer through
 * the descent that found it. In stage S1 every step has a loss, and steps are detached from each other.
 * Stage S2 (`through`) differentiates through all steps, with random step sizes and numbers of steps,
 * Langevin noise, a replay buffer and, with `truncate`, the loss and the derivative of the last step
 * only. The derivation is in unroll.ts.
 */
import { BasinError } from '../../errors.js'
import { ReplayBuffer } from '../replay.js'
import { GatheredGradients } from './gradients.js'
import type { Objective } from './objective.js'
import type { OptimizeOptions } from './recipe.js'
import { remembering, withReplay } from './start.js'
import { Unrolled } from './unrolled.js'

export function optimize(options: OptimizeOptions): Objective {
  const buffer = options.replay ? new ReplayBuffer(options.replay) : undefined
  return {
    name: 'optimize',
    ...(buffer && { memory: buffer }),
    check({ energy, feed_forward }) {
      if (feed_forward || (energy.kind === 'residual' && energy.direction === 'amortized'))
        throw new BasinError('not_supported', {
          param: 'objective',
          reason:
            'optimize needs an energy with a true gradient; train the amortized direction with equilibrium',
        })
    },
    update(network, given, draw) {
      const { inputs, fresh, states } = withReplay(network, given, buffer, draw)
      const gradients = new GatheredGradients(network, inputs)
      const descent = new Unrolled(network, inputs, gradients, options)
      descent.start(states, fresh, draw)
      descent.forward(draw)
      const { value, losses } = descent.backward()
      return {
        value,
        losses,
        gradients: gradients.finish(),
        ...(buffer && remembering(buffer, inputs.batch, descent.last, { rows: fresh })),
      }
    },
  }
}
