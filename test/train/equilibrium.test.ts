import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import type { Tensor, Tf } from '../../src/energy/tfjs/backend.js'
import { openCheckpoint } from '../../src/model/checkpoint.js'
import { rowOf, type Batch } from '../../src/train/data/training-batch.js'
import { uniform } from '../../src/refine/random.js'
import { Training, type TrainOptions } from '../../src/train/loop.js'
import { equilibrium, type EquilibriumOptions } from '../../src/train/objectives/equilibrium.js'
import { inputsOf, observeBatch, type Objective } from '../../src/train/objectives/objective.js'
import { computeUpdate } from '../../src/train/update.js'
import { startNoise, towards } from '../../src/train/objectives/start-noise.js'
import { readState } from '../../src/train/training-state.js'
import { configOf, modelOf } from '../support/models.js'
import { backend, batchFor, expectSlopes, networkOf, optimizerOf } from './differences.js'

let tf: Tf
beforeAll(async () => {
  ;({ tf } = await backend())
})

const plain: EquilibriumOptions = { horizon: 0, lossSteps: 1, noise: 0, replay: null }
const model = modelOf('latent residual amortized, K 4')
const drawsFrom = (seed: number) => {
  let draws = 0
  return () => uniform(seed, 0, draws++)
}
const config = configOf({})
/** Nine updates in a directory. */
const runOf = (out: string, objective: Objective): TrainOptions => ({
  out,
  config,
  objective,
  optimizer: optimizerOf('muon', 9),
  seed: 3,
  settings: {},
  alpha: 1,
  batch: (update) => batchFor({ config, tensors: new Map() }, update),
  validation: [batchFor({ config, tensors: new Map() }, 1000)],
  budgets: [1, 2],
  validateEvery: 100,
  saveEvery: 2,
  average: 0.9,
  collapseAt: 0,
  onUpdate: () => undefined,
  onValidation: () => undefined,
  stop: () => false,
})
const numbersOf = (t: Tensor | undefined): number[] => [...(t?.dataSync() ?? [])]

describe('the gradients of equilibrium', () => {
  const cases: [string, Partial<EquilibriumOptions>][] = [
    ['through damped steps', { damping: 0.3 }],
    ['through steps with noise', { pathNoise: 0.4 }],
    ['with a row left out', { trim: 0.4 }],
    ['through both', { damping: 0.2, pathNoise: 0.2, noise: 1, leastNoise: 0.5, still: 0.5 }],
  ]
  it.each(cases)('%s are those of differences', async (_, options) => {
    const network = networkOf(tf, model)
    await expectSlopes(network, batchFor(model), () =>
      equilibrium({ ...plain, lossSteps: 3, through: true, ...options }),
    )
  })
})

describe('noise at the start', () => {
  const network = () => networkOf(tf, model)
  const batch = batchFor(model)

  it('has a deviation of its own in every row, and none in still rows', () => {
    const given = network()
    const inputs = inputsOf(given, batch)
    const of = (still: number) =>
      startNoise(given, inputs, { noise: 2, leastNoise: 1, still }, drawsFrom(1))
    const deviations = (t: Tensor) => numbersOf(tf.sqrt(tf.mean(tf.square(t), [1, 2])))
    const each = deviations(of(0))
    expect(new Set(each.map((x) => x.toFixed(2))).size).toBe(batch.rows)
    for (const deviation of each) {
      expect(deviation).toBeGreaterThan(0.7)
      expect(deviation).toBeLessThan(2.4)
    }
    expect(deviations(of(1))).toEqual([0, 0, 0])
  })

  it('leans to where the read-out tells the truth from the rest', () => {
    const given = network()
    const inputs = inputsOf(given, batch)
    const options = { noise: 1, leastNoise: 1, still: 0 }
    const without = startNoise(given, inputs, { ...options, lean: 1e-9 }, () => 0.5)
    const lean = tf.mul(
      tf.sub(
        startNoise(given, inputs, { ...options, lean: 6 }, () => 0.5),
        without,
      ),
      1 / 3,
    )
    expect(numbersOf(tf.max(tf.abs(tf.sub(lean, towards(given, inputs.targets)))))[0]).toBeLessThan(
      1e-5,
    )
    numbersOf(tf.norm(lean, 'euclidean', 2)).forEach((length) => expect(length).toBeCloseTo(1, 4))
    const right = tf.sum(tf.mul(given.readout(lean), tf.oneHot(inputs.targets, 11)), 2)
    const others = tf.mean(given.readout(lean), 2)
    expect(numbersOf(tf.min(tf.sub(right, others)))[0]).toBeGreaterThan(0)
  })
})

describe('the best of several descents', () => {
  it('has no more loss than the first of them, and less where they differ', async () => {
    const lossOf = async (bestOf: number): Promise<number> => {
      const network = networkOf(tf, model)
      const objective = equilibrium({ ...plain, horizon: 0, noise: 2, bestOf })
      // Rows are taken one by one from the best descent, so the mean falls with their number.
      return (await computeUpdate(network, objective, batchFor(model), drawsFrom(2))).value
    }
    const [two, eight] = [await lossOf(2), await lossOf(8)]
    expect(eight).toBeLessThan(two)
  })
})

describe('a trimmed loss', () => {
  it('is that of the rows of least loss', async () => {
    const batch = batchFor(model)
    const valueOf = async (rows: Batch, trim: number): Promise<number> => {
      const network = networkOf(tf, model)
      const objective = equilibrium({ ...plain, lossSteps: 2, through: true, trim })
      return (await computeUpdate(network, objective, rows, drawsFrom(1))).value
    }
    const rows = [0, 1, 2].map((row) => rowOf(batch, row))
    const nats = await Promise.all(rows.map((row) => valueOf(row, 0)))
    const counts = rows.map(({ moving }) => moving.reduce((sum, x) => sum + x, 0))
    const worst = nats.indexOf(Math.max(...nats))
    const others = [0, 1, 2].filter((row) => row !== worst)
    const sum = (of: (row: number) => number): number => others.reduce((s, row) => s + of(row), 0)
    const wanted =
      sum((row) => (nats[row] as number) * (counts[row] as number)) /
      sum((row) => counts[row] as number)
    expect(await valueOf(batch, 0.4)).toBeCloseTo(wanted, 4)
    expect(await valueOf(batch, 0)).toBeGreaterThan(wanted)
  })
})

describe('what the loss counts', () => {
  const whole = batchFor(model)
  // One blank in the first row, three in the others.
  const batch = {
    ...whole,
    moving: whole.moving.map((moves, i) => (i === 1 || i === 2 ? 0 : moves)),
  }
  const valueOf = async (rows: Batch, options: Partial<EquilibriumOptions>): Promise<number> => {
    const objective = equilibrium({ ...plain, ...options })
    return (await computeUpdate(networkOf(tf, model), objective, rows, drawsFrom(1))).value
  }

  it('is every blank, or by answer the mean of the answers', async () => {
    const rows = [0, 1, 2].map((row) => rowOf(batch, row))
    const nats = await Promise.all(rows.map((row) => valueOf(row, {})))
    const [first = NaN, second = NaN, third = NaN] = nats
    expect(await valueOf(batch, { byAnswer: true })).toBeCloseTo((first + second + third) / 3, 4)
    expect(await valueOf(batch, {})).toBeCloseTo((first + 3 * second + 3 * third) / 7, 4)
  })

  it('is besides each observed token after those before it, padding left out', async () => {
    const network = networkOf(tf, model)
    const inputs = inputsOf(network, batch)
    const { hidden } = observeBatch(network, inputs, 0)
    const logProbs = tf.logSoftmax(network.readout(network.causalOpinion(hidden)))
    const numbers = numbersOf(logProbs)
    const { vocab_size: vocab } = model.config
    const nats = batch.visible.flatMap(([seen = 0], row) =>
      Array.from({ length: seen - 1 }, (_, at) => {
        const token = batch.observed[row * batch.length + at + 1] as number
        return -(numbers[(row * batch.length + at) * vocab + token] as number)
      }),
    )
    const wanted = nats.reduce((sum, x) => sum + x, 0) / nats.length
    const added = (await valueOf(batch, { contextLoss: 0.5 })) - (await valueOf(batch, {}))
    expect(nats).toHaveLength(3)
    expect(added).toBeCloseTo(0.5 * wanted, 4)
  })
})

describe("true answers against the model's own", () => {
  it('have the lower energy where they are trained to', async () => {
    const shareAfter = async (ownAnswers: number): Promise<number> => {
      const separated: number[] = []
      const out = mkdtempSync(join(tmpdir(), 'basin-own-'))
      const training = new Training(tf, {
        ...runOf(out, equilibrium({ ...plain, ownAnswers })),
        optimizer: optimizerOf('adamw', 30),
        batch: () => batchFor(model),
        onUpdate: ({ measures }) => separated.push(measures['separated'] as number),
      })
      await training.run()
      return separated.slice(10).reduce((sum, x) => sum + x, 0) / 20
    }
    expect(await shareAfter(1)).toBeGreaterThan((await shareAfter(1e-9)) + 0.2)
  })
})

describe('equilibrium refuses', () => {
  it.each([
    { name: 'damping', options: { damping: 0.1 } },
    { name: 'noise on the path', options: { pathNoise: 0.1 } },
    { name: 'the best of several starts', options: { bestOf: 2 } },
  ])('along the exact direction $name', ({ options }) => {
    const { config } = modelOf('latent residual exact, noise')
    expect(() => {
      equilibrium({ ...plain, ...options }).check(config)
    }).toThrow(/amortized direction/)
  })
})

describe('a run with an average, noise of all kinds and a buffer of what is unsolved', () => {
  const objective = () =>
    equilibrium({
      horizon: 2,
      lossSteps: 2,
      through: true,
      noise: 1,
      leastNoise: 0.2,
      still: 0.3,
      lean: 0.5,
      damping: 0.1,
      pathNoise: 0.1,
      bestOf: 2,
      trim: 0.2,
      replay: { size: 5, share: 1 },
      replayUnsolved: true,
    })
  const directory = () => mkdtempSync(join(tmpdir(), 'basin-equilibrium-'))
  async function trainTo(last: number, out: string): Promise<void> {
    const training: Training = new Training(tf, {
      ...runOf(out, objective()),
      stop: () => training.update >= last,
    })
    await training.run()
  }

  it('goes on after a stop as if there had been none, and writes the average as the model', async () => {
    const [whole, parts] = [directory(), directory()]
    await trainTo(9, whole)
    await trainTo(4, parts)
    await trainTo(9, parts)
    const state = readState(whole)?.tensors
    expect(readState(parts)?.tensors).toEqual(state)
    expect(openCheckpoint(parts).tensors).toEqual(openCheckpoint(whole).tensors)
    for (const [name, { data }] of openCheckpoint(whole).tensors) {
      expect(data).toEqual(state?.get(`average/${name}`)?.data)
      if (name.includes('wq')) expect(data).not.toEqual(state?.get(name)?.data)
    }
  })
})
