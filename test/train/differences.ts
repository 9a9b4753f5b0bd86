/** Compares the gradients of objectives with finite differences of their values. */
import { expect } from 'vitest'
import { loadBackend, type Tensor, type Tf } from '../../src/energy/tfjs/backend.js'
import { Network } from '../../src/energy/tfjs/network.js'
import type { Checkpoint } from '../../src/model/checkpoint.js'
import { batchOfExamples, batchOfWindows, type Batch } from '../../src/train/data/training-batch.js'
import type { Objective } from '../../src/train/objectives/objective.js'
import type { OptimizerOptions } from '../../src/train/optimizer.js'
import { computeUpdate } from '../../src/train/update.js'
import { normals, uniform } from '../../src/refine/random.js'

export const backend = (): Promise<{ tf: Tf }> => loadBackend('wasm', 1)

const tokensOf = (count: number, vocab: number, seed: number): number[] =>
  Array.from({ length: count }, (_, i) => Math.floor(uniform(seed, 9, i) * vocab))

/** Windows if K = 1, otherwise templates with given positions after contexts of different lengths. */
export function batchFor({ config }: Checkpoint, seed = 1): Batch {
  const { vocab_size: vocab, answer } = config
  if (answer.block === 1)
    return batchOfWindows(config, Int32Array.from(tokensOf(12, vocab, seed)), 2)
  const examples = [3, 1, 2].map((length, row) => {
    const tokens = tokensOf(answer.block, vocab, seed + 10 * row)
    const clamped = tokens.map((token, i) => (i === row ? token : -1))
    return { context: tokensOf(length, vocab, seed + row), answer: tokens, clamped }
  })
  return batchOfExamples(config, examples)
}

/** Of a short run of a small model. */
export const optimizerOf = (
  optimizer: OptimizerOptions['optimizer'],
  updates: number,
): OptimizerOptions => ({
  optimizer,
  learningRate: 1e-2,
  beta1: 0.9,
  beta2: 0.95,
  weightDecay: 0.01,
  clip: 1,
  warmup: 2,
  updates,
  alphaMultiplier: 3,
  muonStep: 1,
})

export function networkOf(tf: Tf, { config, tensors }: Checkpoint): Network {
  const weights = new Map<string, Tensor>(
    [...tensors].map(([name, t]) => [name, tf.variable(tf.tensor(t.data, [...t.shape]))]),
  )
  return new Network(tf, config, weights)
}

type Variable = Tensor & { assign(value: Tensor): void }

/**
 * Compares gradients with differences of the objective's value. Every tensor takes part in each of
 * `patterns` directions with a random sign: along its gradient if it has one, otherwise along a random
 * direction, in which the value must not change. A tensor whose gradient is wrong by a factor f is off by
 * (1 - f) of its norm in every one of them. An objective is made for each value, so that no
 * state is carried over. Differences are central; one that does not agree is extrapolated (Richardson) to cancel
 * the cubic term.
 */
export async function expectSlopes(
  network: Network,
  batch: Batch,
  objective: () => Objective,
  { tolerance = 0.01, patterns = 3 } = {},
): Promise<void> {
  const { tf } = network
  const update = () => {
    let draws = 0
    return computeUpdate(network, objective(), batch, () => uniform(3, 0, draws++))
  }
  const { gradients, value } = await update()
  const normOf = (t: Tensor | undefined) => (t ? (tf.norm(t).dataSync()[0] as number) : 0)
  const largest = Math.max(...[...gradients.values()].map(normOf))
  expect(largest).toBeGreaterThan(0)
  const parts = [...network.weights].map(([name, weight]) => {
    const gradient = gradients.get(name)
    const norm = normOf(gradient)
    const along =
      gradient && norm > 1e-3 * largest
        ? tf.div(gradient, norm)
        : tf.tensor(
            normals(5, 0, 0, weight.size).map((x) => x / Math.sqrt(weight.size)),
            weight.shape,
          )
    return { weight: weight as Variable, kept: tf.clone(weight), along, norm }
  })
  const scale = Math.sqrt(parts.reduce((sum, { norm }) => sum + norm ** 2, 0))
  // A step must be long enough for float32 and short enough for the curvature. Which step is both depends
  // on the objective, so shorter ones are tried if a longer one disagrees.
  const epsilons = [4e-3, 1e-3, 2.5e-4, (3e-4 * Math.abs(value)) / scale].sort((x, y) => y - x)
  for (let pattern = 0; pattern < patterns; pattern++) {
    const signs = parts.map((_, i) => (uniform(11, pattern, i) < 0.5 ? -1 : 1))
    const valueAt = async (step: number): Promise<number> => {
      tf.tidy(() => {
        parts.forEach(({ weight, kept, along }, i) => {
          weight.assign(tf.add(kept, tf.mul(along, step * (signs[i] as number))))
        })
      })
      const found = await update()
      tf.dispose([...found.gradients.values()])
      return found.value
    }
    const difference = async (h: number): Promise<number> =>
      ((await valueAt(h)) - (await valueAt(-h))) / (2 * h)
    const wanted = parts.reduce((sum, { norm }, i) => sum + norm * (signs[i] as number), 0)
    let slope = Infinity
    const agrees = (found: number): boolean => {
      if (Math.abs(found - wanted) < Math.abs(slope - wanted)) slope = found
      return Math.abs(slope - wanted) < tolerance * scale
    }
    for (const epsilon of epsilons) {
      const half = await difference(epsilon / 2)
      if (agrees(half) || agrees((4 * half - (await difference(epsilon))) / 3)) break
    }
    for (const { weight, kept } of parts) weight.assign(kept)
    const message = `pattern ${pattern}: slope ${slope}, gradients say ${wanted} of ${scale}`
    expect(Math.abs(slope - wanted), message).toBeLessThan(tolerance * scale)
  }
}
