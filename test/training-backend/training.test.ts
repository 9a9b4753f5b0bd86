/** Training on the native backend: the fused ops, the golden gradients, every objective, resuming. */
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import type { Tensor } from '../../src/energy/tfjs/backend.js'
import { numbers, type Num } from '../../src/energy/tfjs/numbers.js'
import { Network } from '../../src/energy/tfjs/network.js'
import { batchOfWindows } from '../../src/train/data/training-batch.js'
import { initialWeights } from '../../src/train/initial-weights.js'
import { Training, type UpdateReport } from '../../src/train/loop.js'
import { amortized } from '../../src/train/objectives/amortized.js'
import { contrastive } from '../../src/train/objectives/contrastive.js'
import { equilibrium } from '../../src/train/objectives/equilibrium.js'
import { feedForward } from '../../src/train/objectives/feed-forward.js'
import { inputsOf, type Objective } from '../../src/train/objectives/objective.js'
import { optimize } from '../../src/train/objectives/optimize.js'
import { stageOne, stageTwo } from '../../src/train/objectives/recipe.js'
import { positives } from '../../src/train/objectives/positives.js'
import { regularized } from '../../src/train/objectives/regularized.js'
import { readState } from '../../src/train/training-state.js'
import { crossEntropy } from '../../src/train/loss.js'
import { golden, goldenGradients, normError } from '../support/golden.js'
import { configOf, modelOf } from '../support/models.js'
import { batchFor, networkOf } from '../train/differences.js'
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
  it.each([
    ['train_s1_time_embed', {}],
    ['train_s2_through_steps', { through: true, learnAlpha: false }],
    ['train_contrastive', { contrast: 0.5 }],
  ])('%s', (name, options) => {
    const { config, tensors, expected } = golden(name)
    const data = JSON.parse(
      readFileSync(new URL(`../golden/${name}/expected.json`, import.meta.url), 'utf8'),
    ) as { tokens: number[][]; initial_logits: number[][][] }
    const network = networkOf(tf, { config, tensors })
    const batch = batchOfWindows(config, Int32Array.from(data.tokens.flat()), data.tokens.length)
    batch.start = Float32Array.from(data.initial_logits.flat(2))
    batch.moving = Float32Array.from(batch.targets, (token) => (token === 0 ? 0 : 1))
    const objective = optimize({ ...stageOne, steps: config.steps, ...options })
    const { value, gradients } = objective.update(network, inputsOf(network, batch), () => 0.5)
    expect(Math.abs(value / (expected.loss ?? NaN) - 1)).toBeLessThan(1e-4)
    let compared = 0
    for (const [tensor, wanted] of goldenGradients(name)) {
      if (tensor === 'langevin_dynamics_noise_std') continue
      const actual = gradients.get(tensor)
      expect(normError((actual as Tensor).dataSync(), wanted), tensor).toBeLessThan(1e-3)
      compared++
    }
    expect(compared).toBeGreaterThan(10)
  })
})

const contrast = {
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
const objectives: [string, string, () => Objective][] = [
  [
    'equilibrium',
    residual,
    () => equilibrium({ horizon: 3, lossSteps: 2, noise: 0.1, replay: null }),
  ],
  ['optimize s1', potential, () => optimize({ ...stageOne, steps: 2 })],
  [
    'optimize s2',
    potential,
    () => optimize({ ...stageTwo, steps: 2, truncate: false, noise: 0.1, replay: null }),
  ],
  ['infonce', potential, () => contrastive({ ...contrast, contrast: 'infonce' })],
  ['hinge', potential, () => contrastive({ ...contrast, contrast: 'hinge' })],
  ['divergence', potential, () => contrastive({ ...contrast, contrast: 'divergence' })],
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
    () => amortized({ teacher: networkOf(tf, modelOf(potential)), horizon: 2, own: 0 }),
  ],
  ['feed-forward', 'control', () => feedForward],
]

interface Run {
  values: number[]
  training: Training
  out: string
}

/** Runs this many updates, in a new directory unless one is given. */
async function run(
  label: string,
  objective: () => Objective,
  updates: number,
  out = mkdtempSync(join(tmpdir(), 'basin-native-training-')),
): Promise<Run> {
  const model =
    label === 'control'
      ? (() => {
          const config = configOf({ answer: { block: 4 }, feed_forward: true })
          return { config, tensors: initialWeights(config, 42, 0.5) }
        })()
      : modelOf(label)
  const reports: UpdateReport[] = []
  const training = new Training(tf, {
    out,
    config: model.config,
    objective: objective(),
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
  it.each(objectives)(
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
    const [, label, objective] = objectives[0] as (typeof objectives)[number]
    const whole = await run(label, objective, 8)
    const { out, values } = await run(label, objective, 3)
    await tf.setBackend(backends.two)
    const rest = await run(label, objective, 5, out)
    expect([...values, ...rest.values]).toEqual(whole.values)
    expect(readState(out)?.tensors).toEqual(readState(whole.out)?.tensors)
  })
})
