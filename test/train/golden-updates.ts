/** Losses and gradients of the published implementation, which every backend that trains must have. */
import { readFileSync } from 'node:fs'
import { expect } from 'vitest'
import type { Tensor, Tf } from '../../src/energy/tfjs/backend.js'
import { readTensors } from '../../src/energy/tfjs/read-tensors.js'
import { batchOfWindows } from '../../src/train/data/training-batch.js'
import { optimize } from '../../src/train/objectives/optimize.js'
import { stageOne, type OptimizeOptions } from '../../src/train/objectives/recipe.js'
import { computeUpdate } from '../../src/train/update.js'
import { golden, goldenGradients, normError } from '../support/golden.js'
import { networkOf } from './differences.js'

export const goldenUpdates: [name: string, options: Partial<OptimizeOptions>][] = [
  ['train_s1_time_embed', {}],
  ['train_s2_through_steps', { through: true, learnAlpha: false }],
  ['train_contrastive', { contrast: 0.5 }],
]

/** `tolerance`: the largest error of a gradient, relative to its norm; that of losses is 1e-4. */
export async function expectGoldenUpdate(
  tf: Tf,
  name: string,
  options: Partial<OptimizeOptions>,
  tolerance: number,
): Promise<void> {
  const { config, tensors, expected } = golden(name)
  const data = JSON.parse(
    readFileSync(new URL(`../golden/${name}/expected.json`, import.meta.url), 'utf8'),
  ) as { tokens: number[][]; initial_logits: number[][][] }
  const network = networkOf(tf, { config, tensors })
  const batch = batchOfWindows(config, Int32Array.from(data.tokens.flat()), data.tokens.length)
  batch.start = Float32Array.from(data.initial_logits.flat(2))
  // Token 0 is padding, which has no loss.
  batch.moving = Float32Array.from(batch.targets, (token) => (token === 0 ? 0 : 1))
  const objective = optimize({ ...stageOne, steps: config.steps, ...options })
  const { gradients, losses, value } = await computeUpdate(network, objective, batch, () => 0.5)
  const found = [value, losses[0], losses.at(-1)]
  const wanted = [expected.loss, expected.initial_loss, expected.final_step_loss]
  wanted.forEach((loss, i) => {
    expect(Math.abs((found[i] ?? NaN) / (loss ?? NaN) - 1)).toBeLessThan(1e-4)
  })
  let compared = 0
  for (const [tensor, numbers] of goldenGradients(name)) {
    if (tensor === 'langevin_dynamics_noise_std') continue
    const actual = gradients.get(tensor)
    expect(actual, tensor).toBeDefined()
    const [read] = await readTensors(tf, () => [actual as Tensor])
    expect(normError(read ?? [], numbers), tensor).toBeLessThan(tolerance)
    compared++
  }
  expect(compared).toBeGreaterThan(10)
}
