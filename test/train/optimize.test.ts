import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { loadBackend, type Tensor } from '../../src/energy/tfjs/backend.js'
import { batchOfWindows } from '../../src/train/data/training-batch.js'
import { inputsOf } from '../../src/train/objectives/objective.js'
import { optimize } from '../../src/train/objectives/optimize.js'
import { stageOne, type OptimizeOptions } from '../../src/train/objectives/recipe.js'
import { golden, goldenGradients, normError } from '../support/golden.js'
import { networkOf } from './differences.js'

/** Token 0 is padding, which has no loss. */
async function updateOf(name: string, options: Partial<OptimizeOptions>) {
  const { tf } = await loadBackend('wasm', 1)
  const { config, tensors, expected } = golden(name)
  const data = JSON.parse(
    readFileSync(new URL(`../golden/${name}/expected.json`, import.meta.url), 'utf8'),
  ) as { tokens: number[][]; initial_logits: number[][][] }
  const network = networkOf(tf, { config, tensors })
  const batch = batchOfWindows(config, Int32Array.from(data.tokens.flat()), data.tokens.length)
  batch.start = Float32Array.from(data.initial_logits.flat(2))
  batch.moving = Float32Array.from(batch.targets, (token) => (token === 0 ? 0 : 1))
  const objective = optimize({ ...stageOne, steps: config.steps, ...options })
  return { expected, ...objective.update(network, inputsOf(network, batch), () => 0.5) }
}

describe('optimize', () => {
  it.each([
    ['train_s1_time_embed', {}],
    ['train_s2_through_steps', { through: true, learnAlpha: false }],
    ['train_contrastive', { contrast: 0.5 }],
  ])('has the losses and gradients of the published implementation: %s', async (name, options) => {
    const { expected, value, losses, gradients } = await updateOf(name, options)
    const near = (wanted: number | undefined) => (wanted as number) * 1e-4
    expect(Math.abs(value - (expected.loss ?? NaN))).toBeLessThan(near(expected.loss))
    expect(Math.abs((losses[0] ?? NaN) - (expected.initial_loss ?? NaN))).toBeLessThan(
      near(expected.initial_loss),
    )
    expect(Math.abs((losses.at(-1) ?? NaN) - (expected.final_step_loss ?? NaN))).toBeLessThan(
      near(expected.final_step_loss),
    )
    for (const [tensor, wanted] of goldenGradients(name)) {
      if (tensor === 'langevin_dynamics_noise_std') continue
      const actual = gradients.get(tensor)
      expect(actual, tensor).toBeDefined()
      expect(normError((actual as Tensor).dataSync(), wanted), tensor).toBeLessThan(1e-3)
    }
  })
})
