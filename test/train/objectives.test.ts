import { beforeAll, describe, expect, it } from 'vitest'
import type { Tensor, Tf } from '../../src/energy/tfjs/backend.js'
import {
  batchOfExamples,
  joinBatches,
  rowOf,
  type Batch,
} from '../../src/train/data/training-batch.js'
import { evaluateBatches } from '../../src/train/evaluation/evaluate.js'
import { amortized } from '../../src/train/objectives/amortized.js'
import { contrastive, corruptTokens } from '../../src/train/objectives/contrastive.js'
import { equilibrium } from '../../src/train/objectives/equilibrium.js'
import { inputsOf, landscapesOf } from '../../src/train/objectives/objective.js'
import { computeUpdate } from '../../src/train/update.js'
import { optimize } from '../../src/train/objectives/optimize.js'
import { stageOne, type OptimizeOptions } from '../../src/train/objectives/recipe.js'
import { positives } from '../../src/train/objectives/positives.js'
import { regularized } from '../../src/train/objectives/regularized.js'
import { descend } from '../../src/energy/tfjs/descent.js'
import { ReplayBuffer } from '../../src/train/replay.js'
import { uniform } from '../../src/refine/random.js'
import { normError } from '../support/golden.js'
import { configOf, modelOf, variants } from '../support/models.js'
import { backend, batchFor, networkOf } from './differences.js'

let tf: Tf
beforeAll(async () => {
  ;({ tf } = await backend())
})

const drawsFrom = (seed: number) => {
  let draws = 0
  return () => uniform(seed, 0, draws++)
}

const head = { energy: { kind: 'head', direction: 'exact' } } as const
const contrast = {
  contrast: 'infonce',
  negatives: 2,
  corruption: 0.3,
  temperature: 1,
  margin: 1,
  steps: 1,
  noise: 0,
  replay: null,
  penalty: 0,
  readout: 1,
} as const
const limits = {
  variance: 1,
  covariance: 1,
  capacity: 'kl',
  capacityWeight: 1,
  readout: 1,
} as const

describe('objectives refuse', () => {
  const control = configOf({ feed_forward: true })
  const opening = { horizon: 1, lossSteps: 1, noise: 0, replay: null }

  it('a control, which has no energy', () => {
    for (const objective of [
      positives({ readout: 1 }),
      contrastive(contrast),
      regularized(limits),
      equilibrium(opening),
      optimize({ ...stageOne, steps: 1 }),
    ])
      expect(() => objective.check(control), objective.name).toThrow(/objective is not supported/)
  })

  it('energies that they cannot train', () => {
    expect(() => regularized(limits).check(configOf(head))).toThrow(/needs the residual energy/)
    expect(() => equilibrium(opening).check(configOf(head))).toThrow(/trains the residual energy/)
    expect(() => optimize({ ...stageOne, steps: 1 }).check(configOf({}))).toThrow(/true gradient/)
  })

  it('a teacher that does not fit', () => {
    const teacher = networkOf(tf, modelOf('latent potential'))
    const taught = amortized({ teacher, horizon: 1, own: 0 })
    expect(() => taught.check(configOf({}))).not.toThrow()
    expect(() => taught.check(configOf({ dim: 32 }))).toThrow(/dim and answer.block/)
    expect(() => taught.check(configOf({ vocab_size: 12 }))).toThrow(/vocabulary/)
    expect(() => taught.check(configOf(head))).toThrow(/amortized direction/)
    const vocab = networkOf(tf, modelOf('vocab head'))
    expect(() => amortized({ teacher: vocab, horizon: 1, own: 0 }).check(configOf({}))).toThrow(
      /latent space/,
    )
  })
})

describe('optimize, truncated', () => {
  it('has the gradient of its last step alone', async () => {
    const model = modelOf('latent potential')
    const network = networkOf(tf, model)
    const batch = batchFor(model)
    const options: OptimizeOptions = { ...stageOne, steps: 1, learnAlpha: false }
    const update = (given: Batch, more: Partial<OptimizeOptions>) =>
      computeUpdate(network, optimize({ ...options, ...more }), given, () => 0.5)
    const begun = new Float32Array(3 * 4 * 16).fill(0.1)
    const whole = await update(
      { ...batch, start: begun },
      { steps: 3, through: true, truncate: true },
    )
    const landscape = landscapesOf(network, inputsOf(network, batch))(0)
    const alpha = tf.maximum(network.weight('alpha'), 1e-4)
    let state: Tensor = tf.tensor(begun, [3, 4, 16])
    for (let step = 0; step < 2; step++)
      state = descend(network, landscape, state, { alpha, first: step === 0, noise: null }).next
    const last = await update({ ...batch, start: state.dataSync() as Float32Array }, {})
    expect(whole.losses).toHaveLength(1)
    expect(whole.value).toBeCloseTo(last.value, 5)
    for (const [name, wanted] of last.gradients) {
      const actual = whole.gradients.get(name)
      expect(normError(actual?.dataSync() ?? [], wanted.dataSync()), name).toBeLessThan(1e-4)
    }
  })
})

describe('equilibrium along the exact direction', () => {
  const model = modelOf('latent residual exact, noise')
  const size = 3 * 4 * 16
  const batch = {
    ...batchFor(model),
    start: Float32Array.from({ length: size }, (_, i) => (i % 5) / 9),
  }
  const lossesOf = async (
    given: Batch,
    horizon: number,
    lossSteps: number,
    draw: number,
  ): Promise<readonly number[]> => {
    const network = networkOf(tf, model)
    const objective = equilibrium({ horizon, lossSteps, noise: 0, replay: null })
    return (await computeUpdate(network, objective, given, () => draw)).losses
  }

  it('meets the states that serving reaches', async () => {
    const network = networkOf(tf, model)
    const options = { budgets: [1, 2, 3], keep: 'last', seed: 1 } as const
    const scores = await evaluateBatches(network, [batch], options)
    const served = scores.map(({ nats }) => nats)
    const trained = await lossesOf(batch, 0, 3, 0)
    expect(trained).toHaveLength(3)
    trained.forEach((nats, i) => expect(nats).toBeCloseTo(served[i] as number, 4))
    // The states move. If they did not, the losses would agree for any direction.
    expect(Math.abs((served[0] as number) - (served[2] as number))).toBeGreaterThan(1e-3)
    // Two steps without a loss are followed by one with a loss.
    expect((await lossesOf(batch, 2, 1, 0.99))[0]).toBeCloseTo(served[2] as number, 4)
  })
})

describe('descents past the last landscape', () => {
  it.each(variants)('are evaluated and trained on: $label', async ({ label }) => {
    const model = modelOf(label)
    const network = networkOf(tf, model)
    const batch = batchFor(model)
    const [first, second] = await evaluateBatches(network, [batch], {
      budgets: [1, 5],
      keep: 'last',
      seed: 1,
    })
    expect(Number.isFinite(first?.nats)).toBe(true)
    expect(Number.isFinite(second?.nats)).toBe(true)
    const found = contrastive({ ...contrast, contrast: 'divergence', steps: 4, noise: 0.1 })
    const { value } = await computeUpdate(network, found, batch, drawsFrom(1))
    expect(Number.isFinite(value)).toBe(true)
  })

  it('are learned from teachers, at states of either model', async () => {
    const model = modelOf('latent residual amortized, K 4')
    const network = networkOf(tf, model)
    for (const label of ['latent potential', 'latent head, time_embed']) {
      const teacher = networkOf(tf, modelOf(label))
      for (const own of [0, 1]) {
        const taught = amortized({ teacher, horizon: 4, own })
        // The first draw is the number of steps before the state: four.
        const draws = [0.99, 0.5, 0.5]
        const draw = () => draws.shift() ?? 0.5
        const { value, measures } = await computeUpdate(network, taught, batchFor(model), draw)
        expect(Number.isFinite(value)).toBe(true)
        expect(Math.abs(measures['agreement'] ?? NaN)).toBeLessThanOrEqual(1)
      }
    }
  })
})

describe('wrong answers', () => {
  it('differ from the true one in a moving position at least, and in no clamped one', () => {
    const model = modelOf('latent residual amortized, K 4')
    const network = networkOf(tf, model)
    const inputs = inputsOf(network, batchFor(model))
    const { targets, moving } = inputs.batch
    const draw = drawsFrom(1)
    for (const probability of [0, 0.3, 1]) {
      const wrong = corruptTokens(network, inputs, probability, draw).dataSync()
      for (let answer = 0; answer < 3; answer++) {
        const places = [0, 1, 2, 3].map((i) => 4 * answer + i)
        const changed = places.filter((i) => wrong[i] !== targets[i])
        expect(changed.every((i) => moving[i] === 1)).toBe(true)
        if (probability === 0) expect(changed).toHaveLength(1)
        if (probability === 1) expect(changed).toEqual(places.filter((i) => moving[i] === 1))
      }
    }
  })
})

describe('ReplayBuffer', () => {
  const config = configOf({})
  const batch = (length: number, token: number) =>
    batchOfExamples(
      config,
      [0, 1].map((row) => ({
        context: new Array<number>(length + row).fill(token),
        answer: [1, 2, 3, token],
        clamped: [-1, 2, -1, -1],
      })),
    )
  const states = (value: number) => new Float32Array(2 * 4 * 16).fill(value)

  it('drops the oldest rows, and draws no row twice', () => {
    const buffer = new ReplayBuffer({ size: 5, share: 2 })
    for (let i = 0; i < 4; i++) buffer.add(batch(1, i), states(i))
    expect(buffer.length).toBe(5)
    const drawn = buffer.sample(2, drawsFrom(2))
    expect(drawn).toHaveLength(4)
    expect(new Set(drawn).size).toBe(4)
    const seen = buffer.sample(10, drawsFrom(3)).map(({ start }) => start[0])
    expect([...seen].sort()).toEqual([1, 2, 2, 3, 3])
  })

  it('is the same after saving and restoring', () => {
    const [buffer, other] = [1, 2].map(() => new ReplayBuffer({ size: 9, share: 1 })) as [
      ReplayBuffer,
      ReplayBuffer,
    ]
    buffer.add(batch(1, 7), states(0.5))
    buffer.add(batch(3, 8), states(-0.25))
    other.restore(buffer.save())
    expect(other.sample(4, drawsFrom(1))).toEqual(buffer.sample(4, drawsFrom(1)))
  })

  it('has rows that can be joined to a batch', () => {
    const [one, two] = [batch(1, 7), batch(3, 8)]
    const joined = joinBatches([one, rowOf(two, 1)])
    expect(joined.rows).toBe(3)
    expect(joined.length).toBe(4)
    expect(joined.visible.map((row) => row[0])).toEqual([1, 2, 4])
    expect([...joined.observed]).toEqual([7, 0, 0, 0, 7, 7, 0, 0, 8, 8, 8, 8])
    expect([...joined.targets.subarray(8)]).toEqual([1, 2, 3, 8])
    expect(rowOf(joined, 2).moving).toEqual(two.moving.slice(4))
  })
})
