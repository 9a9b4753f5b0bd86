import { beforeAll, describe, expect, it } from 'vitest'
import { loadBackend, type Backend } from '../../src/energy/tfjs/backend.js'
import { TfjsEngine } from '../../src/energy/tfjs/engine.js'
import { landscapeOf } from '../../src/model/config.js'
import { answerSeed } from '../../src/refine/candidates.js'
import { batchOfExamples, type Example } from '../../src/train/data/training-batch.js'
import { evaluateBatches, scoreBatches } from '../../src/train/evaluation/evaluate.js'
import { modelOf } from '../support/models.js'
import { networkOf } from './differences.js'

let backend: Backend
beforeAll(async () => {
  backend = await loadBackend('wasm', 1)
})

const examples: Example[] = [
  { context: [1, 2, 3], answer: [4, 5, 6, 7], clamped: [-1, 5, -1, -1], facts: { givens: 1 } },
  { context: [9], answer: [8, 7, 6, 5], clamped: [-1, -1, -1, -1], facts: { givens: 0 } },
  { context: [3, 1], answer: [1, 1, 2, 10], clamped: [1, 1, 2, -1], facts: { givens: 3 } },
]
const budgets = [4, 1, 2]

describe.each([
  'latent residual amortized, K 4',
  'latent residual exact, noise',
  'latent residual, draft',
])('%s', (label) => {
  const model = modelOf(label)
  const options = { budgets, seed: 5, candidates: 3, noise: 0.7, noiseSteps: 1 } as const

  it('has the energies that serving has, for each candidate', async () => {
    const network = networkOf(backend.tf, model)
    const batch = batchOfExamples(model.config, examples)
    const found = await scoreBatches(network, [batch], { ...options, keep: 'best' })
    const capacity = { slots: 9, contexts: 3, pages: 16, pageSize: 8 }
    const engine = new TfjsEngine(model, backend, capacity, 1)
    const answers = examples.flatMap(({ context, clamped }, contextId) => {
      engine.observe([{ contextId, tokens: context, pages: [contextId] }])
      const seed = answerSeed(5, contextId)
      return [0, 1, 2].map((candidate) => {
        engine.begin([{ slot: 3 * contextId + candidate, contextId, seed, candidate, clamped }])
        return 3 * contextId + candidate
      })
    })
    const best: number[][] = []
    for (const step of [0, 1, 2, 3]) {
      const results = await engine.descend(
        answers.map((slot) => ({
          slot,
          landscape: landscapeOf(model.config, step),
          noise: step === 0 ? 0.7 : 0,
          step,
        })),
      )
      best.push(results.map((result) => result.best))
    }
    expect(found.map(({ facts }) => facts)).toEqual([
      { blanks: 3, givens: 1 },
      { blanks: 4, givens: 0 },
      { blanks: 1, givens: 3 },
    ])
    found.forEach(({ scores }, row) => {
      expect(scores).toHaveLength(3)
      ;[1, 2, 4].forEach((steps, budget) => {
        scores[budget]?.forEach((score, candidate) => {
          const served = best[steps - 1]?.[3 * row + candidate] as number
          expect(Math.abs(score.energy - served), `${steps} steps`).toBeLessThan(
            1e-4 * Math.abs(served),
          )
          const { doubt } = model.config.energy
          expect((score.disagreement ?? 0) + doubt * (score.doubt ?? 0)).toBeCloseTo(
            score.energy,
            4,
          )
        })
      })
    })
    const first = found[0]?.scores[0]?.map(({ energy }) => energy)
    expect(new Set(first).size).toBe(3)
    engine.close()
  })

  it('does not depend on the size of batches', async () => {
    const network = networkOf(backend.tf, model)
    const batches = (size: number) =>
      Array.from({ length: Math.ceil(3 / size) }, (_, i) =>
        batchOfExamples(model.config, examples.slice(i * size, (i + 1) * size)),
      )
    const energies = async (size: number) => {
      const scored = await scoreBatches(network, batches(size), { ...options, keep: 'last' })
      return scored.flatMap(({ scores }) => scores.flat().map(({ energy }) => energy))
    }
    const whole = await energies(3)
    expect(whole).toHaveLength(27)
    for (const size of [1, 2])
      (await energies(size)).forEach((energy, i) => {
        expect(energy).toBeCloseTo(whole[i] as number, 4)
      })
  })

  it('keeps no tensor', async () => {
    const network = networkOf(backend.tf, model)
    const batch = batchOfExamples(model.config, examples)
    await evaluateBatches(network, [batch], { ...options, keep: 'best' })
    const before = backend.tf.memory().numTensors
    await evaluateBatches(network, [batch, batch], { ...options, keep: 'best' })
    expect(backend.tf.memory().numTensors).toBe(before)
  })
})

it('has no higher energy at a larger budget when the best answer is kept', async () => {
  const model = modelOf('latent residual amortized, K 4')
  const network = networkOf(backend.tf, model)
  const batch = batchOfExamples(model.config, examples)
  const options = { budgets: [1, 2, 3, 4, 8, 16], keep: 'best', seed: 1 } as const
  const scores = await evaluateBatches(network, [batch], options)
  const energies = scores.map(({ energy }) => energy)
  for (let i = 1; i < energies.length; i++)
    expect(energies[i]).toBeLessThanOrEqual(energies[i - 1] as number)
})
