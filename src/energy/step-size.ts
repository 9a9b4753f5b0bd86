/** The size of descent steps: what a checkpoint was trained with, and what a row of `descend` makes of it. */
import type { Checkpoint } from '../model/checkpoint.js'
import type { ModelConfig } from '../model/config.js'
import { trainedStepSize } from '../model/derived.js'
import { stepSizeOf } from '../refine/budget.js'
import type { DescendRow } from './engine.js'

/** As in the published implementation, which never takes smaller steps than this. */
export const SMALLEST_STEP_SIZE = 1e-4

/** alpha of a checkpoint. */
export const alphaOf = ({ tensors }: Checkpoint): number =>
  Math.max(tensors.get('alpha')?.data[0] ?? 0, SMALLEST_STEP_SIZE)

/** The step size of a row of `descend`, for a model whose checkpoint has this alpha. */
export const rowStepSize = (
  model: ModelConfig,
  alpha: number,
  row: Pick<DescendRow, 'step' | 'stepSize' | 'shrink'>,
): number => stepSizeOf(trainedStepSize(model, alpha, row.step), row)
