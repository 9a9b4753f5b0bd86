import { beforeAll, describe, it } from 'vitest'
import type { Tf } from '../../src/energy/tfjs/backend.js'
import { amortized } from '../../src/train/objectives/amortized.js'
import { contrastive } from '../../src/train/objectives/contrastive.js'
import { equilibrium } from '../../src/train/objectives/equilibrium.js'
import { feedForward } from '../../src/train/objectives/feed-forward.js'
import { optimize } from '../../src/train/objectives/optimize.js'
import { stageOne, stageTwo } from '../../src/train/objectives/recipe.js'
import { positives } from '../../src/train/objectives/positives.js'
import { regularized } from '../../src/train/objectives/regularized.js'
import { draftsFromContext } from '../../src/model/config.js'
import type { Checkpoint } from '../../src/model/checkpoint.js'
import type { Batch } from '../../src/train/data/training-batch.js'
import type { Objective } from '../../src/train/objectives/objective.js'
import { initialWeights } from '../../src/train/initial-weights.js'
import { configOf, modelOf, variants } from '../support/models.js'
import { backend, batchFor, expectSlopes, networkOf } from './differences.js'
import { contrastOptions } from './objective-cases.js'

let tf: Tf
beforeAll(async () => {
  ;({ tf } = await backend())
})

const contrastiveOptions = { ...contrastOptions, readout: 0 }

/**
 * The variants that an objective accepts. Finite differences cannot be compared with gradients if detached
 * steps start from a draft: the gradient through the draft is cut, and the difference is not.
 */
const accepts = (objective: Objective, detached: boolean, latent: boolean) =>
  variants.filter(({ overrides }) => {
    if (latent && overrides.answer?.space === 'vocab') return false
    if (detached && overrides.answer?.start === 'draft') return false
    try {
      objective.check(configOf(overrides))
      return true
    } catch {
      return false
    }
  })

/** Starts at a constant in place of a draft from the context, through which detached steps have no gradient. */
function startedBatch(model: Checkpoint): Batch {
  const batch = batchFor(model)
  if (!draftsFromContext(model.config)) return batch
  return { ...batch, start: new Float32Array(batch.targets.length * model.config.dim) }
}

function each(
  title: string,
  objective: () => Objective,
  { detached = false, latent = false, held = true, tolerance = 0.01 } = {},
): void {
  describe(title, () => {
    it.each(accepts(objective(), detached, latent))('$label', async ({ label }) => {
      const model = modelOf(label)
      const network = networkOf(tf, model)
      const batch = held ? startedBatch(model) : batchFor(model)
      await expectSlopes(network, batch, objective, { tolerance })
    })
  })
}

each('optimize, one detached step', () => optimize({ ...stageOne, steps: 1 }), { detached: true })
each('optimize, through three steps', () =>
  optimize({ ...stageOne, steps: 3, through: true, contrast: 0.5 }),
)
each('optimize, through steps that should not rise', () =>
  optimize({ ...stageOne, steps: 2, through: true, rise: 0.5 }),
)
each('optimize, through steps of random size and number, with noise', () =>
  optimize({
    ...stageTwo,
    steps: 1,
    truncate: false,
    noise: 0.3,
    learnAlpha: true,
    sharpen: 0.9,
    replay: null,
  }),
)
// An element that crosses its clamp within the difference bends it: a wider tolerance, and not where
// states move as far as those of vocabulary space do.
each(
  'optimize, through clamped steps',
  () => optimize({ ...stageOne, steps: 2, through: true, clamp: 0.05, absoluteClamp: 0.8 }),
  { latent: true, tolerance: 0.1 },
)
each('positives', () => positives({ readout: 0 }))
for (const contrast of ['infonce', 'hinge'] as const) {
  each(`contrastive, ${contrast}`, () => contrastive({ ...contrastiveOptions, contrast }))
}
each(
  'contrastive, divergence, at its start',
  () => contrastive({ ...contrastiveOptions, contrast: 'divergence', steps: 0 }),
  { detached: true },
)
for (const capacity of ['kl', 'e2'] as const) {
  each(`regularized, ${capacity}`, () =>
    regularized({ variance: 1, covariance: 0.5, capacity, capacityWeight: 0.3, readout: 0 }),
  )
}
each('equilibrium, at its start', () =>
  equilibrium({ horizon: 0, lossSteps: 1, noise: 0.5, replay: null }),
)
each(
  'equilibrium, through three steps',
  () => equilibrium({ horizon: 0, lossSteps: 3, through: true, noise: 0, replay: null }),
  { held: false },
)
each(
  'equilibrium, through two steps of which the last is read',
  () =>
    equilibrium({
      horizon: 0,
      lossSteps: 2,
      through: true,
      lastLoss: true,
      noise: 0,
      replay: null,
    }),
  { held: false },
)
each('equilibrium, answers alike, with the next observed token and its own answers', () =>
  equilibrium({
    horizon: 0,
    lossSteps: 1,
    noise: 0.5,
    replay: null,
    byAnswer: true,
    contextLoss: 0.5,
    ownAnswers: 0.5,
  }),
)

describe('feed-forward', () => {
  it.each([1, 4])('K = %i', async (block) => {
    const config = configOf({ answer: { block }, feed_forward: true })
    const model = { config, tensors: initialWeights(config, 42, 0.5) }
    await expectSlopes(networkOf(tf, model), batchFor(model), () => feedForward)
  })
})

describe('amortized, at its start', () => {
  it.each(['latent potential', 'latent head, time_embed', 'latent residual exact, noise'])(
    'from %s',
    async (label) => {
      const teacher = networkOf(tf, modelOf(label))
      const model = modelOf('latent residual amortized, K 4')
      await expectSlopes(networkOf(tf, model), batchFor(model), () =>
        amortized({ teacher, horizon: 0, own: 0 }),
      )
    },
  )
})
