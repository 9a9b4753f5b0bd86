/** Training on the native backend: the fused ops, the golden gradients, every objective, resuming. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { Training, type UpdateReport } from '../../src/train/loop.js'
import { readState } from '../../src/train/training-state.js'
import { batchFor } from '../train/differences.js'
import { expectGoldenUpdate, goldenUpdates } from '../train/golden-updates.js'
import { objectiveCases, trainedModel, type ObjectiveCase } from '../train/objective-cases.js'
import { fusedOps } from './fused-ops.js'
import { backends, expectSame, inherited, tf } from './support.js'

beforeEach(async () => {
  await tf.setBackend(backends.native)
})
afterAll(() => tf.setBackend(backends.native))

describe('an op of one kernel equals the ops it replaces, and so do its gradients', () => {
  it.each(fusedOps(tf))('%s', async (_, compute) => {
    for (const seed of [1, 2, 3]) await expectSame(seed, compute, 2e-5)
  })
})

describe('the gradients of the published implementation', () => {
  it.each(goldenUpdates)('%s', async (name, options) => {
    await expectGoldenUpdate(tf, name, options, 1e-3)
  })
})

interface Run {
  values: number[]
  training: Training
  out: string
}

/** Runs this many updates, in a new directory unless one is given. */
async function run(
  label: string,
  objective: ObjectiveCase[2],
  updates: number,
  out = mkdtempSync(join(tmpdir(), 'basin-native-training-')),
): Promise<Run> {
  const model = trainedModel(label)
  const reports: UpdateReport[] = []
  const training = new Training(tf, {
    out,
    config: model.config,
    objective: objective(tf),
    optimizer: {
      optimizer: 'adamw',
      learningRate: 3e-3,
      beta1: 0.9,
      beta2: 0.95,
      warmup: 2,
      updates: 8,
      weightDecay: 0.01,
      clip: 1,
      alphaMultiplier: 3,
      muonStep: 0.2,
    },
    seed: 1,
    settings: {},
    alpha: 0.5,
    batch: (update) => batchFor(model, update + 1),
    validation: [],
    budgets: [1],
    validateEvery: 1000,
    saveEvery: 1000,
    collapseAt: 0,
    onUpdate: (report) => reports.push(report),
    onValidation: () => undefined,
    stop: () => reports.length >= updates,
  })
  await training.run()
  return {
    values: reports.flatMap(({ value, gradientNorm }) => [value, gradientNorm]),
    training,
    out,
  }
}

describe('runs', () => {
  it.each(objectiveCases)(
    '%s has the losses it has on the CPU backend',
    async (_, label, objective) => {
      const before = new Map(inherited)
      const { values } = await run(label, objective, 8)
      expect(new Map(inherited), 'kernels left to the CPU backend').toEqual(before)
      await tf.setBackend(backends.cpu)
      const { values: wanted } = await run(label, objective, 8)
      expect(values).toHaveLength(16)
      values.forEach((value, i) => {
        const near = wanted[i] as number
        expect(Math.abs(value - near), `${i}: ${value}, not ${near}`).toBeLessThan(
          2e-3 * Math.max(0.1, Math.abs(near)),
        )
      })
    },
  )

  it('gives the same run after a stop and resume as without, on any number of threads', async () => {
    const [, label, objective] = objectiveCases[0] as ObjectiveCase
    const whole = await run(label, objective, 8)
    const { out, values } = await run(label, objective, 3)
    await tf.setBackend(backends.two)
    const rest = await run(label, objective, 5, out)
    expect([...values, ...rest.values]).toEqual(whole.values)
    expect(readState(out)?.tensors).toEqual(readState(whole.out)?.tensors)
  })
})
