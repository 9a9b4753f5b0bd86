import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadBackend } from '../../src/energy/tfjs/backend.js'
import { openCheckpoint } from '../../src/model/checkpoint.js'
import type { ModelConfig } from '../../src/model/config.js'
import { readSafetensors, writeSafetensors } from '../../src/model/safetensors.js'
import { batchOfWindows, type Batch } from '../../src/train/data/training-batch.js'
import { Training, type TrainOptions, type UpdateReport } from '../../src/train/loop.js'
import { contrastive } from '../../src/train/objectives/contrastive.js'
import { equilibrium } from '../../src/train/objectives/equilibrium.js'
import type { Objective } from '../../src/train/objectives/objective.js'
import { optimize } from '../../src/train/objectives/optimize.js'
import { stageTwo } from '../../src/train/objectives/recipe.js'
import { positives } from '../../src/train/objectives/positives.js'
import { readState, trainingStateFile } from '../../src/train/training-state.js'
import { uniform } from '../../src/refine/random.js'
import { configOf } from '../support/models.js'
import { optimizerOf } from './differences.js'

const { tf } = await loadBackend('wasm', 1)
const replay = { size: 6, share: 0.5 }
const head = configOf({ energy: { kind: 'head', direction: 'exact' }, answer: { block: 1 } })
const residual = configOf({ answer: { block: 1 } })

/** Windows of a sequence that repeats four tokens, which a model can learn. */
const batchOf =
  (config: ModelConfig) =>
  (update: number): Batch => {
    const start = Math.floor(uniform(1, update, 0) * 4)
    const tokens = Array.from({ length: 18 }, (_, i) => (start + i) % 4)
    return batchOfWindows(config, Int32Array.from(tokens), 2)
  }

function options(out: string, config: ModelConfig, objective: Objective): TrainOptions {
  return {
    out,
    config,
    objective,
    optimizer: optimizerOf('adamw', 9),
    seed: 3,
    settings: { '--batch': 2 },
    alpha: 0.5,
    batch: batchOf(config),
    validation: [batchOf(config)(1000)],
    budgets: [1, 2],
    validateEvery: 100,
    saveEvery: 2,
    collapseAt: 0,
    onUpdate: () => undefined,
    onValidation: () => undefined,
    stop: () => false,
  }
}

const directory = () => mkdtempSync(join(tmpdir(), 'basin-loop-'))

/** The figures of an update's report that do not depend on time. */
const figures = ({ update, value, losses, gradientNorm }: UpdateReport) => ({
  update,
  value,
  losses,
  gradientNorm,
})

async function trainTo(last: number, given: TrainOptions): Promise<object[]> {
  const seen: object[] = []
  const training: Training = new Training(tf, {
    ...given,
    onUpdate: (report) => seen.push(figures(report)),
    stop: () => training.update >= last,
  })
  await training.run()
  return seen
}

/** The simplest objective, without replay or noise. */
const plain = () => equilibrium({ horizon: 0, lossSteps: 1, noise: 0, replay: null })

const objectives: [string, ModelConfig, () => Objective][] = [
  [
    'equilibrium, replayed',
    residual,
    () => equilibrium({ horizon: 2, lossSteps: 1, noise: 0.1, replay }),
  ],
  ['optimize, S2', head, () => optimize({ ...stageTwo, noise: 0.3, replay })],
  [
    'contrastive divergence',
    head,
    () =>
      contrastive({
        contrast: 'divergence',
        negatives: 1,
        corruption: 0,
        temperature: 1,
        margin: 1,
        steps: 2,
        noise: 0.1,
        replay,
        penalty: 0.1,
        readout: 1,
      }),
  ],
]

describe('Training', () => {
  it.each(objectives)(
    'computes the same after a resume as without one: %s',
    async (_, config, make) => {
      const [whole, parts] = [directory(), directory()]
      const uninterrupted = await trainTo(9, options(whole, config, make()))
      const first = await trainTo(5, options(parts, config, make()))
      const second = await trainTo(9, options(parts, config, make()))
      expect(uninterrupted).toHaveLength(9)
      expect([...first, ...second]).toEqual(uninterrupted)
      const weights = (out: string) => [...openCheckpoint(out).tensors]
      expect(weights(parts)).toEqual(weights(whole))
      expect(readState(parts)?.tensors).toEqual(readState(whole)?.tensors)
    },
  )

  it('computes the same beside another training of its thread', async () => {
    const [alone, beside] = [directory(), directory()]
    const [one, other] = [objectives[0], objectives[2]] as [
      (typeof objectives)[number],
      (typeof objectives)[number],
    ]
    await trainTo(5, options(alone, one[1], one[2]()))
    await Promise.all([
      trainTo(5, options(beside, one[1], one[2]())),
      trainTo(5, options(directory(), other[1], other[2]())),
    ])
    expect(readState(beside)?.tensors).toEqual(readState(alone)?.tensors)
  })

  it('computes the same after a resume as without one: Muon', async () => {
    const [whole, parts] = [directory(), directory()]
    const make = () => equilibrium({ horizon: 1, lossSteps: 1, noise: 0, replay: null })
    const given = (out: string): TrainOptions => {
      const usual = options(out, residual, make())
      return { ...usual, optimizer: { ...usual.optimizer, optimizer: 'muon' } }
    }
    const uninterrupted = await trainTo(9, given(whole))
    expect([...(await trainTo(5, given(parts))), ...(await trainTo(9, given(parts)))]).toEqual(
      uninterrupted,
    )
    expect(readState(parts)?.tensors).toEqual(readState(whole)?.tensors)
  })

  it('keeps no tensor from update to update', async () => {
    for (const [, config, make] of objectives) {
      const counts: number[] = []
      const given = options(directory(), config, make())
      await new Training(tf, {
        ...given,
        onUpdate: () => counts.push(tf.memory().numTensors),
      }).run()
      expect(counts[8], make().name).toBe(counts[2])
    }
  })

  it('refuses to resume with other settings, and names the first that differs', async () => {
    const out = directory()
    const given = options(out, residual, plain())
    await trainTo(1, given)
    expect(() => new Training(tf, { ...given, seed: 4 })).toThrow(/started with --seed 3, not 4/)
    expect(() => new Training(tf, { ...given, settings: { '--batch': 4 } })).toThrow(
      /started with --batch 2, not 4/,
    )
    expect(new Training(tf, given).update).toBe(1)
  })

  it('counts time from 0 if a state has no time, and refuses a state without its update', async () => {
    const out = directory()
    const given = options(out, residual, plain())
    await trainTo(1, given)
    const path = join(out, trainingStateFile)
    const tensors = readState(out)?.tensors ?? new Map()
    writeSafetensors(path, tensors, { metadata: { update: '1' } })
    expect(new Training(tf, given)).toMatchObject({ update: 1, seconds: 0, cpuSeconds: 0 })
    writeSafetensors(path, tensors, { metadata: { update: 'soon' } })
    expect(() => new Training(tf, given)).toThrow(/update is no integer/)
  })

  it('keeps the last state if writing the next one fails', async () => {
    const out = directory()
    const given = options(out, residual, plain())
    await trainTo(2, given)
    const before = readFileSync(join(out, trainingStateFile))
    // The temporary file cannot be written because a directory has its name.
    mkdirSync(join(out, `${trainingStateFile}.new.tmp`))
    await expect(trainTo(4, given)).rejects.toThrow(/EISDIR/)
    expect(readFileSync(join(out, trainingStateFile))).toEqual(before)
    expect(readSafetensors(join(out, trainingStateFile)).metadata['update']).toBe('2')
  })

  it('refuses a damaged state', async () => {
    const out = directory()
    const given = options(out, residual, plain())
    await trainTo(1, given)
    const path = join(out, trainingStateFile)
    writeFileSync(path, readFileSync(path).subarray(0, 5000))
    expect(() => new Training(tf, given)).toThrow(/state\.safetensors/)
  })

  it('ends a run whose energy collapses, with a message', async () => {
    const given = options(directory(), head, positives({ readout: 1 }))
    const collapsing: TrainOptions = {
      ...given,
      optimizer: { ...given.optimizer, updates: 300 },
      validateEvery: 20,
      collapseAt: 0.1,
    }
    await expect(new Training(tf, collapsing).run()).rejects.toThrow(
      /The energy collapsed at update \d+: the spread of energies/,
    )
  })
})
