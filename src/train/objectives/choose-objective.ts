/** The objectives by their names, with their settings. */
import type { Tf } from '../../energy/tfjs/backend.js'
import { loadNetwork } from '../../energy/tfjs/load-network.js'
import { BasinError } from '../../errors.js'
import { openCheckpoint, type Checkpoint } from '../../model/checkpoint.js'
import type { ModelConfig } from '../../model/config.js'
import { amortized } from './amortized.js'
import { contrastive, type contrasts } from './contrastive.js'
import { equilibrium } from './equilibrium.js'
import { feedForward } from './feed-forward.js'
import type { Objective } from './objective.js'
import { optimize } from './optimize.js'
import { positives } from './positives.js'
import { stageOne, stageTwo } from './recipe.js'
import { type capacities, regularized } from './regularized.js'

export const objectiveNames = [
  'equilibrium',
  'optimize',
  'contrastive',
  'regularized',
  'positives',
  'amortized',
  'feed-forward',
] as const

/** What is absent has the default of the objective. Each field is the flag of `basin train` of its name. */
export interface ObjectiveSettings {
  objective: (typeof objectiveNames)[number]
  stage: 's1' | 's2'
  steps?: number
  through?: true
  lastLoss?: true
  truncate?: true
  stepSizeScale?: number
  repeats?: number
  leastRepeats?: number
  repeatLast?: true
  noise?: number
  leastNoise?: number
  still?: number
  lean?: number
  damping?: number
  pathNoise?: number
  bestOf?: number
  trim?: number
  fixedAlpha?: true
  clamp?: number
  absoluteClamp?: number
  sharpen?: number
  contrastWeight?: number
  riseWeight?: number
  replay?: number
  replayShare: number
  replayUnsolved?: true
  byAnswer?: true
  contextLoss?: number
  ownAnswers?: number
  horizon?: number
  lossSteps: number
  contrast: (typeof contrasts)[number]
  negatives: number
  corruption: number
  temperature: number
  margin: number
  penalty: number
  variance: number
  covariance: number
  capacity: (typeof capacities)[number]
  capacityWeight: number
  readoutWeight: number
  teacher?: string
  own: number
}

/** Defaults that do not depend on the objective. */
export const objectiveDefaults = {
  objective: 'equilibrium',
  stage: 's1',
  replayShare: 0.5,
  lossSteps: 2,
  contrast: 'infonce',
  negatives: 8,
  corruption: 0.3,
  temperature: 1,
  margin: 1,
  penalty: 0.01,
  variance: 1,
  covariance: 0.04,
  capacity: 'kl',
  capacityWeight: 0.1,
  readoutWeight: 1,
  own: 0.5,
} as const satisfies Partial<ObjectiveSettings>

export interface ChosenObjective {
  objective: Objective
  /** Weights to start from, if the objective provides some. */
  initial?: Checkpoint['tensors']
}

export function chooseObjective(
  settings: ObjectiveSettings,
  config: ModelConfig,
  tf: Tf,
): ChosenObjective {
  const { readoutWeight: readout, horizon = 4 } = settings
  switch (settings.objective) {
    case 'feed-forward':
      return { objective: feedForward }
    case 'positives':
      return { objective: positives({ readout }) }
    case 'regularized':
      return { objective: regularized({ ...settings, readout }) }
    case 'optimize':
      return { objective: optimize(optimizeOptions(settings, config)) }
    case 'equilibrium':
      return {
        objective: equilibrium({
          ...settings,
          horizon,
          noise: settings.noise ?? 0,
          replay: replayOf(settings, 0),
        }),
      }
    case 'contrastive':
      return {
        objective: contrastive({
          ...settings,
          steps: settings.steps ?? config.steps,
          noise: settings.noise ?? 0.1,
          replay: replayOf(settings, 512),
          readout,
        }),
      }
    case 'amortized': {
      const teacher = teacherOf(settings, tf)
      const { own } = settings
      return {
        objective: amortized({ teacher: teacher.network, horizon, own }),
        initial: teacher.tensors,
      }
    }
  }
}

const replayOf = ({ replay, replayShare: share }: ObjectiveSettings, defaultSize: number) =>
  (replay ?? defaultSize) > 0 ? { size: replay ?? defaultSize, share } : null

function optimizeOptions(
  settings: ObjectiveSettings,
  config: ModelConfig,
): Parameters<typeof optimize>[0] {
  const recipe = settings.stage === 's2' ? stageTwo : { ...stageOne, steps: config.steps }
  return {
    horizon: settings.horizon ?? recipe.horizon,
    steps: settings.steps ?? recipe.steps,
    through: settings.through ?? recipe.through,
    truncate: settings.truncate ?? recipe.truncate,
    stepSizeScale: settings.stepSizeScale ?? recipe.stepSizeScale,
    repeats: settings.repeats ?? recipe.repeats,
    leastRepeats: settings.leastRepeats ?? recipe.leastRepeats,
    repeatLast: settings.repeatLast ?? recipe.repeatLast,
    noise: settings.noise ?? recipe.noise,
    learnAlpha: settings.fixedAlpha ? false : recipe.learnAlpha,
    clamp: settings.clamp ?? recipe.clamp,
    absoluteClamp: settings.absoluteClamp ?? recipe.absoluteClamp,
    sharpen: settings.sharpen ?? recipe.sharpen,
    contrast: settings.contrastWeight ?? recipe.contrast,
    rise: settings.riseWeight ?? recipe.rise,
    replay: replayOf(settings, recipe.replay?.size ?? 0),
  }
}

function teacherOf({ teacher }: ObjectiveSettings, tf: Tf) {
  if (teacher === undefined)
    throw new BasinError('invalid_request', {
      param: '--teacher',
      reason: 'the objective amortized needs the directory of a model to learn from',
    })
  const checkpoint = openCheckpoint(teacher)
  return { network: loadNetwork(tf, checkpoint), tensors: checkpoint.tensors }
}
