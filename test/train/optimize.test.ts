import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { loadBackend, type Tensor } from '../../src/energy/tfjs/backend.js'
import { Network } from '../../src/energy/tfjs/network.js'
import { batchOfWindows } from '../../src/train/batch.js'
import { inputsOf } from '../../src/train/objectives/objective.js'
import { optimize } from '../../src/train/objectives/optimize.js'
import { golden, goldenGradients, normError } from '../support/golden.js'

describe('optimize, S1', () => {
  it('has the gradients of the published implementation, through the descent', async () => {
    const { tf } = await loadBackend('wasm', 1)
    const { config, tensors, expected } = golden('train_s1_time_embed')
    const data = JSON.parse(
      readFileSync(new URL('../golden/train_s1_time_embed/expected.json', import.meta.url), 'utf8'),
    ) as { tokens: number[][]; initial_logits: number[][][] }
    const weights = new Map<string, Tensor>(
      [...tensors].map(([name, t]) => [name, tf.variable(tf.tensor(t.data, [...t.shape]))]),
    )
    const network = new Network(tf, config, weights)
    const batch = batchOfWindows(config, Int32Array.from(data.tokens.flat()), 2)
    batch.start = Float32Array.from(data.initial_logits.flat(2))
    batch.moving = Float32Array.from(batch.targets, (token) => (token === 0 ? 0 : 1))
    const { losses, gradients } = optimize({ steps: config.steps }).update(
      network,
      inputsOf(network, batch),
      () => 0.5,
    )

    expect(losses[0]).toBeCloseTo(expected.initial_loss as number, 2)
    expect(losses[1]).toBeCloseTo(expected.final_step_loss as number, 3)
    for (const [name, wanted] of goldenGradients('train_s1_time_embed')) {
      if (name === 'langevin_dynamics_noise_std') continue
      const actual = gradients.get(name)
      expect(actual, name).toBeDefined()
      expect(normError((actual as Tensor).dataSync(), wanted), name).toBeLessThan(1e-3)
    }
  })
})
