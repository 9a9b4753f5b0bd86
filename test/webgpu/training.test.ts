/** Training, and the definition, on the WebGPU backend of TensorFlow.js, on whatever adapter there is. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { loadBackend, type Tf } from '../../src/energy/tfjs/backend.js'
import { TfjsEngine } from '../../src/energy/tfjs/engine.js'
import { readTensors } from '../../src/energy/tfjs/read-tensors.js'
import type { Checkpoint } from '../../src/model/checkpoint.js'
import { uniform } from '../../src/refine/random.js'
import { Training, type UpdateReport } from '../../src/train/loop.js'
import { equilibrium } from '../../src/train/objectives/equilibrium.js'
import { readState } from '../../src/train/training-state.js'
import { computeUpdate } from '../../src/train/update.js'
import { engineContract } from '../energy/contract.js'
import { normError, relativeError } from '../support/golden.js'
import { configOf, modelOf } from '../support/models.js'
import { batchFor, optimizerOf, networkOf } from '../train/differences.js'
import { expectGoldenUpdate, goldenUpdates } from '../train/golden-updates.js'
import { objectiveCases, trainedModel, type ObjectiveCase } from '../train/objective-cases.js'
import { describeWebgpu, everything } from './support.js'

// A software adapter shares the cores with the tests of other files.
vi.setConfig({ testTimeout: 300_000 })

/** Software adapters compile slowly: by default, one objective along each way to its gradients. */
const chosenObjectives = objectiveCases.filter(
  ([name]) => everything || name.startsWith('equilibrium') || name === 'optimize s2',
)

interface Computed {
  value: number
  gradients: Map<string, Float32Array>
}

describeWebgpu('training on webgpu', () => {
  let tf: Tf
  beforeAll(async () => {
    await loadBackend('wasm', 1)
    const backend = await loadBackend('webgpu', 1)
    expect(backend).toMatchObject({
      name: 'webgpu',
      reason: expect.stringMatching(/^asked for, on ./) as string,
    })
    ;({ tf } = backend)
  }, 300_000)

  describe('has the losses and gradients of the published implementation', () => {
    it.each(goldenUpdates)('%s', async (name, options) => {
      await expectGoldenUpdate(tf, name, options, 1e-4)
    })
  })

  async function updateOn(
    backend: string,
    label: string,
    objective: ObjectiveCase[2],
  ): Promise<Computed> {
    await tf.setBackend(backend)
    const model = trainedModel(label)
    let draws = 0
    const draw = () => uniform(3, 0, draws++)
    const update = await computeUpdate(networkOf(tf, model), objective(tf), batchFor(model), draw)
    const names = [...update.gradients.keys()]
    const numbers = await readTensors(tf, () => [...update.gradients.values()])
    const { value } = update
    return { value, gradients: new Map(names.map((n, i) => [n, numbers[i] as Float32Array])) }
  }

  describe('has the gradients that the wasm backend has', () => {
    it.each(chosenObjectives)('%s', async (_, label, objective) => {
      const wanted = await updateOn('wasm', label, objective)
      const found = await updateOn('webgpu', label, objective)
      expect(Math.abs(found.value - wanted.value)).toBeLessThan(1e-4 * Math.abs(wanted.value))
      expect([...found.gradients.keys()]).toEqual([...wanted.gradients.keys()])
      const largest = Math.max(...[...wanted.gradients.values()].map((g) => Math.hypot(...g)))
      for (const [tensor, numbers] of wanted.gradients) {
        // Of a gradient that is nothing but rounding, rounding is what differs.
        if (Math.hypot(...numbers) < 1e-5 * largest) continue
        expect(normError(found.gradients.get(tensor) ?? [], numbers), tensor).toBeLessThan(1e-4)
      }
    })
  })

  const capacity = { slots: 16, contexts: 16, pages: 64, pageSize: 16 }
  const engineOn = async (backend: 'wasm' | 'webgpu', checkpoint: Checkpoint) =>
    new TfjsEngine(checkpoint, await loadBackend(backend, 1), capacity, 1)

  it('the engine has the energies and logits that it has on the wasm backend', async () => {
    const traces: number[][] = []
    for (const backend of ['wasm', 'webgpu'] as const) {
      const engine = await engineOn(backend, modelOf('latent residual exact, noise'))
      engine.observe([{ contextId: 0, tokens: [1, 2, 3], pages: [0] }])
      engine.begin([{ slot: 0, contextId: 0, seed: 1, candidate: 0 }])
      const trace: number[] = []
      for (let step = 0; step < 3; step++) {
        const row = { slot: 0, landscape: 0, noise: 0.1, step }
        const [result] = await engine.descend([row])
        trace.push(result?.energy ?? NaN, result?.gradientNorm ?? NaN)
      }
      const [read] = await engine.read([{ slot: 0, which: 'best', top: 'all' }])
      const saved = await engine.save(0)
      engine.restore(1, 0, saved)
      expect(await engine.save(1)).toEqual(saved)
      traces.push([...trace, ...(read?.logits ?? [])])
      engine.close()
    }
    expect(relativeError(traces[1] ?? [], traces[0] ?? [])).toBeLessThan(1e-4)
  })
  if (everything) engineContract('tfjs on webgpu', (checkpoint) => engineOn('webgpu', checkpoint))

  describe('a run', () => {
    const config = configOf({})
    const updates = everything ? 100 : 8
    const directory = () => mkdtempSync(join(tmpdir(), 'basin-webgpu-training-'))

    async function trainTo(
      last: number,
      out: string,
    ): Promise<{ reports: UpdateReport[]; memory: number[] }> {
      await tf.setBackend('webgpu')
      const reports: UpdateReport[] = []
      const memory: number[] = []
      const training: Training = new Training(tf, {
        out,
        config,
        objective: equilibrium({
          horizon: 2,
          lossSteps: 2,
          noise: 0.1,
          trim: 0.2,
          replay: { size: 5, share: 1 },
          replayUnsolved: true,
        }),
        optimizer: optimizerOf('muon', updates),
        seed: 3,
        settings: {},
        alpha: 1,
        batch: () => batchFor({ config, tensors: new Map() }, 1),
        validation: [batchFor({ config, tensors: new Map() }, 1000)],
        budgets: [1, 2],
        validateEvery: 1000,
        saveEvery: 1000,
        average: 0.9,
        collapseAt: 0,
        onUpdate: (report) => {
          reports.push(report)
          memory.push((tf.memory() as { numBytesInGPU?: number }).numBytesInGPU ?? NaN)
        },
        onValidation: () => undefined,
        stop: () => training.update >= last,
      })
      await training.run()
      training.dispose()
      return { reports, memory }
    }

    it('lowers the loss, holds no more memory from update to update, and goes on after a stop as if there had been none', async () => {
      const [whole, parts] = [directory(), directory()]
      const { memory, reports } = await trainTo(updates, whole)
      const [first, last] = [reports[0]?.losses.at(-1), reports.at(-1)?.losses.at(-1)]
      expect(last).toBeLessThan(first as number)
      // The buffer of the objective is full after three updates.
      expect(new Set(memory.slice(4)).size).toBe(1)
      await trainTo(3, parts)
      await trainTo(updates, parts)
      expect(readState(parts)?.tensors).toEqual(readState(whole)?.tensors)
    })
  })
})
