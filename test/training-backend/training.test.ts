/** Training on the native backend: the fused ops, the golden gradients, every objective, resuming. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import type { Tensor } from '../../src/energy/tfjs/backend.js'
import { numbers, type Num } from '../../src/energy/tfjs/numbers.js'
import { Network } from '../../src/energy/tfjs/network.js'
import { Training, type UpdateReport } from '../../src/train/loop.js'
import { readState } from '../../src/train/training-state.js'
import { crossEntropy } from '../../src/train/loss.js'
import { configOf } from '../support/models.js'
import { batchFor } from '../train/differences.js'
import { expectGoldenUpdate, goldenUpdates } from '../train/golden-updates.js'
import { objectiveCases, trainedModel, type ObjectiveCase } from '../train/objective-cases.js'
import { backends, expectSame, inherited, tf, type Draws } from './support.js'

beforeEach(async () => {
  await tf.setBackend(backends.native)
})
afterAll(() => tf.setBackend(backends.native))

const weighed = (y: Tensor): Tensor =>
  tf.sum(
    tf.mul(
      y,
      tf.tensor(
        Array.from({ length: y.size }, (_, i) => Math.cos(i)),
        y.shape,
      ),
    ),
  )
/** The results of f, and the gradients of a weighted sum of them with respect to its arguments. */
const all = (f: (...x: [Tensor, Tensor, Tensor, Tensor]) => Tensor[], ...x: Tensor[]): Tensor[] => {
  const at = (given: Tensor[]) => f(...(given as [Tensor, Tensor, Tensor, Tensor]))
  return [...at(x), ...tf.grads((...given: Tensor[]) => tf.addN(at(given).map(weighed)))(x)]
}
const both = (f: (...x: Tensor[]) => Tensor, ...x: Tensor[]): Tensor[] =>
  all((...at) => [f(...at)], ...x)
const pair = ({ value, tangent }: Num): Tensor[] => [value, tangent as Tensor]

describe('an op of one kernel equals the ops it replaces, and so do its gradients', () => {
  const num = numbers(tf)
  const constants = (x: Tensor) => ({ value: x, tangent: null })
  const normed = (d: Draws, shape: number[]): Tensor[] => {
    const f = (value: Tensor, tangent: Tensor, w: Tensor) =>
      pair(num.rmsNorm({ value, tangent }, w, 1e-5))
    return all(f, d.normal(shape), d.normal(shape), d.normal([shape.at(-1) as number]))
  }
  const rotated = (d: Draws, rows: number): Tensor[] => {
    const config = configOf({ answer: { block: 1 } })
    const network = new Network(tf, config, new Map())
    const positions = Array.from({ length: rows }, () => [3, 0, 5].map(() => d.whole(8)))
    const { cos, sin } = network.rotary(positions)
    const rotate = (network as unknown as Rotates).rotate.bind(network)
    const x = d.normal([4, 3, config.heads, config.dim / config.heads])
    return both((t) => rotate(constants(t), { cos, sin }, 0.5).value, x)
  }
  interface Rotates {
    rotate: (
      x: ReturnType<typeof constants>,
      rotary: { cos: Tensor; sin: Tensor },
      factor: number,
    ) => { value: Tensor }
  }
  const ops: [string, (d: Draws) => Tensor[]][] = [
    [
      'norm',
      (d) =>
        both(
          (x, w) => num.rmsNorm(constants(x), w, 1e-5).value,
          d.normal([5, 7, 33]),
          d.normal([33]),
        ),
    ],
    [
      'norm of many rows',
      (d) =>
        both(
          (x, w) => num.rmsNorm(constants(x), w, 1e-5).value,
          d.normal([600, 64]),
          d.normal([64]),
        ),
    ],
    [
      'gate',
      (d) =>
        both(
          (a, b) => num.gate(constants(a), constants(b)).value,
          d.normal([6, 37]),
          d.normal([6, 37]),
        ),
    ],
    ['norm with a tangent', (d) => normed(d, [5, 7, 33])],
    ['norm with a tangent, many rows', (d) => normed(d, [600, 64])],
    [
      'gate with tangents',
      (d) => {
        const [b, tb] = [d.normal([6, 37]), d.normal([6, 37])]
        const f = (a: Tensor, ta: Tensor, b: Tensor, tb: Tensor) =>
          pair(num.gate({ value: a, tangent: ta }, { value: b, tangent: tb }))
        return all(f, d.normal([6, 37]), d.normal([6, 37]), b, tb)
      },
    ],
    [
      'softmax of two parts',
      (d) => {
        const f = (context: Tensor, own: Tensor) =>
          num.softmaxOfTwo(constants(context), null, constants(own)).map((p) => p.value)
        return all(f, d.normal([2, 3, 5, 17]), d.normal([2, 3, 5, 1]))
      },
    ],
    ...[
      [1, 1],
      [2, 1],
      [1, 5],
      [2, 5],
    ].map(([rows, positions]): [string, (d: Draws) => Tensor[]] => [
      `softmax of two parts with tangents, masked [${rows}, ${positions}]`,
      (d) => {
        const mask = tf.mul(
          tf.cast(d.truths([rows as number, 1, positions as number, 17]), 'float32'),
          -1e9,
        )
        const f = (far: Tensor, own: Tensor, tf_: Tensor, to: Tensor) =>
          num
            .softmaxOfTwo({ value: far, tangent: tf_ }, mask, { value: own, tangent: to })
            .flatMap(pair)
        return all(
          f,
          d.normal([2, 3, 5, 17]),
          d.normal([2, 3, 5, 4]),
          d.normal([2, 3, 5, 17]),
          d.normal([2, 3, 5, 4]),
        )
      },
    ]),
    ['rotation, one row for all', (d) => rotated(d, 1)],
    ['rotation, a row each', (d) => rotated(d, 4)],
    [
      'cross-entropy',
      (d) => {
        const [targets, weights] = [d.integers([4, 5], 19), d.positive([4, 5])]
        return both((z) => crossEntropy(tf, z, targets, weights, 7), d.normal([4, 5, 19]))
      },
    ],
  ]
  it.each(ops)('%s', async (_, compute) => {
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
