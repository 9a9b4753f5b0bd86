/** Every objective with a model that it trains, for tests of backends. */
import type { Tf } from '../../src/energy/tfjs/backend.js'
import type { Checkpoint } from '../../src/model/checkpoint.js'
import { initialWeights } from '../../src/train/initial-weights.js'
import { amortized } from '../../src/train/objectives/amortized.js'
import { contrastive } from '../../src/train/objectives/contrastive.js'
import { equilibrium } from '../../src/train/objectives/equilibrium.js'
import { feedForward } from '../../src/train/objectives/feed-forward.js'
import type { Objective } from '../../src/train/objectives/objective.js'
import { optimize } from '../../src/train/objectives/optimize.js'
import { positives } from '../../src/train/objectives/positives.js'
import { stageOne, stageTwo } from '../../src/train/objectives/recipe.js'
import { regularized } from '../../src/train/objectives/regularized.js'
import { configOf, modelOf } from '../support/models.js'
import { networkOf } from './differences.js'

/** Options of `contrastive`, whatever it contrasts by. */
export const contrastOptions = {
  negatives: 3,
  corruption: 0.3,
  temperature: 0.7,
  margin: 2,
  steps: 2,
  noise: 0.1,
  replay: null,
  penalty: 0.05,
  readout: 1,
} as const
const residual = 'latent residual amortized, K 4'
const potential = 'latent potential'
/** Its name, the model that it trains, and the objective. */
export type ObjectiveCase = [name: string, model: string, objective: (tf: Tf) => Objective]

export const objectiveCases: readonly ObjectiveCase[] = [
  [
    'equilibrium',
    residual,
    () => equilibrium({ horizon: 3, lossSteps: 2, noise: 0.1, replay: null }),
  ],
  [
    'equilibrium of text',
    residual,
    () =>
      equilibrium({
        horizon: 3,
        lossSteps: 1,
        noise: 0,
        replay: null,
        byAnswer: true,
        contextLoss: 0.5,
        ownAnswers: 0.3,
      }),
  ],
  ['optimize s1', potential, () => optimize({ ...stageOne, steps: 2 })],
  [
    'optimize s2',
    potential,
    () => optimize({ ...stageTwo, steps: 2, truncate: false, noise: 0.1, replay: null }),
  ],
  ['infonce', potential, () => contrastive({ ...contrastOptions, contrast: 'infonce' })],
  ['hinge', potential, () => contrastive({ ...contrastOptions, contrast: 'hinge' })],
  ['divergence', potential, () => contrastive({ ...contrastOptions, contrast: 'divergence' })],
  [
    'regularized',
    residual,
    () =>
      regularized({
        variance: 1,
        covariance: 0.5,
        capacity: 'kl',
        capacityWeight: 0.3,
        readout: 1,
      }),
  ],
  ['positives', potential, () => positives({ readout: 1 })],
  [
    'amortized',
    residual,
    (tf) => amortized({ teacher: networkOf(tf, modelOf(potential)), horizon: 2, own: 0 }),
  ],
  ['feed-forward', 'control', () => feedForward],
]

/** The model of a case. */
export function trainedModel(label: string): Checkpoint {
  if (label !== 'control') return modelOf(label)
  const config = configOf({ answer: { block: 4 }, feed_forward: true })
  return { config, tensors: initialWeights(config, 42, 0.5) }
}
