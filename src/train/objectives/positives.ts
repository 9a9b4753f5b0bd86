/**
 * `positives`: lowers the energy of true answers and nothing else. The lowest value is 0: the residual
 * energy is never below it, and other energies are squared. It is here to show the collapse that the
 * other objectives prevent: an energy that is 0 everywhere is a perfect solution.
 */
import type { Network } from '../../energy/tfjs/network.js'
import { addAll, drawnLandscape, meanOver, needsEnergy, readoutLoss } from './energies.js'
import { gradientsOf } from './gradients.js'
import { landscapesOf, type Inputs, type Objective } from './objective.js'
import { stateOf } from './start.js'

export interface PositivesOptions {
  /** Weight of the read-out's loss (latent space). */
  readout: number
}

export function positives({ readout }: PositivesOptions): Objective {
  return {
    name: 'positives',
    check: (config) => needsEnergy('positives', config),
    update(network, inputs, draw) {
      const landscape = drawnLandscape(network.config, draw)
      const { value, gradients } = gradientsOf(network, () => [
        addAll(network, [
          levelOf(network, inputs, landscape),
          readoutLoss(network, inputs, readout),
        ]),
      ])
      return { value, losses: [], gradients }
    },
  }
}

function levelOf(network: Network, inputs: Inputs, landscape: number) {
  const { tf, config } = network
  const truth = stateOf(network, inputs.targets)
  const { energy } = landscapesOf(network, inputs)(landscape).energy(truth)
  return meanOver(network, inputs, config.energy.kind === 'residual' ? energy : tf.square(energy))
}
