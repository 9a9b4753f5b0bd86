import { beforeAll, expect, it } from 'vitest'
import { loadBackend, type Backend } from '../../src/energy/tfjs/backend.js'
import { TfjsEngine } from '../../src/energy/tfjs/engine.js'
import type { Checkpoint } from '../../src/model/checkpoint.js'
import {
  anchored,
  distancesFirst,
  initialWeights,
  withOpinion,
} from '../../src/train/initial-weights.js'
import { relativeError } from '../support/golden.js'
import { configOf, modelOf } from '../support/models.js'

let backend: Backend
beforeAll(async () => {
  backend = await loadBackend('wasm', 1)
})

const config = configOf({ answer: { block: 1, start: 'draft', draft: 'observed', anchor: true } })

/** The draft that an answer begins with, and the opinion: the state after a step of size 1. */
async function firstStep(
  checkpoint: Checkpoint,
): Promise<{ draft: Float32Array; opinion: Float32Array }> {
  const engine = new TfjsEngine(
    checkpoint,
    backend,
    { slots: 1, contexts: 1, pages: 4, pageSize: 16 },
    1,
  )
  engine.observe([{ contextId: 0, tokens: [5, 3, 8, 1], pages: [0] }])
  engine.begin([{ slot: 0, contextId: 0, seed: 1, candidate: 0 }])
  const point = async () =>
    (await engine.points([{ slot: 0, which: 'present' }]))[0] ?? new Float32Array(0)
  const draft = await point()
  await engine.descend([{ slot: 0, landscape: 0, noise: 0, step: 0, stepSize: 1 }])
  const opinion = await point()
  engine.close()
  return { draft, opinion }
}

it('an anchored model begins as a causal model: its opinion is the draft', async () => {
  const { draft, opinion } = await firstStep({ config, tensors: initialWeights(config, 42, 0.5) })
  expect(relativeError(opinion, draft)).toBeLessThan(1e-6)
})

it('anchoring a model keeps its draft and halves its opinion', async () => {
  const before = modelOf('latent residual, K 1, draft from the context')
  const then = await firstStep(before)
  const now = await firstStep({ config, tensors: anchored(before.tensors, config) })
  expect(now.draft).toEqual(then.draft)
  const mean = then.draft.map((x, i) => (x + (then.opinion[i] ?? NaN)) / 2)
  expect(relativeError(now.opinion, mean)).toBeLessThan(1e-5)
  expect(relativeError(then.opinion, then.draft)).toBeGreaterThan(0.1)
})

it('what a model without an energy reads out is the first opinion of one that begins with its weights', () => {
  const block = { ...config, answer: { ...config.answer, block: 8 } }
  const control = new Map(initialWeights(config, 42, 0.5))
  control.delete('answer.opinion.weight')
  const { data, shape } = withOpinion(control, block).get('answer.opinion.weight') ?? {}
  expect(shape).toEqual([block.dim, block.dim])
  const identity = Float32Array.from({ length: block.dim ** 2 }, (_, i) =>
    Number(i % (block.dim + 1) === 0),
  )
  expect(data).toEqual(identity)
})

it('weights that tell distances first give all inputs a direction in common', () => {
  const wide = configOf({ dim: 64, answer: { block: 8 } })
  const plain = initialWeights(wide, 7, 1)
  const changed = distancesFirst(plain, wide, 7)
  const dataOf = (tensors: Checkpoint['tensors'], name: string) =>
    tensors.get(name)?.data ?? new Float32Array(0)
  const row = (tensors: Checkpoint['tensors'], i: number) =>
    dataOf(tensors, 'embeddings.weight').subarray(i * wide.dim, (i + 1) * wide.dim)
  const cosine = (a: Float32Array, b: Float32Array) => {
    const dot = (x: Float32Array, y: Float32Array) =>
      x.reduce((sum, v, i) => sum + v * (y[i] ?? 0), 0)
    return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))
  }
  const cosines = (tensors: Checkpoint['tensors']) =>
    [1, 2, 3, 4, 5].map((i) => cosine(row(tensors, 0), row(tensors, i)))
  for (const value of cosines(plain)) expect(Math.abs(value)).toBeLessThan(0.4)
  for (const value of cosines(changed)) expect(value).toBeGreaterThan(0.2)
  expect(cosine(dataOf(changed, 'answer.blank.weight'), row(changed, 0))).toBeGreaterThan(0.2)
  const queries = dataOf(plain, 'answer.query.weight')
  expect(
    relativeError(
      dataOf(changed, 'answer.query.weight'),
      queries.map((x) => x / 10),
    ),
  ).toBeLessThan(1e-6)
  expect(changed.size).toBe(3)
})
