import { describe, expect, it } from 'vitest'
import type { StepResult } from '../../src/energy/engine.js'
import { withRefiner } from '../../src/energy/open-engine.js'
import { loadBackend } from '../../src/energy/tfjs/backend.js'
import { TfjsEngine } from '../../src/energy/tfjs/engine.js'
import type { Checkpoint } from '../../src/model/checkpoint.js'
import { modelOf } from '../support/models.js'

const backend = await loadBackend('wasm', 1)
const capacity = { slots: 1, contexts: 1, pages: 8, pageSize: 16 }

/** Energies before and after a short step from zeros, and the norm of the first direction. */
async function descent(checkpoint: Checkpoint): Promise<{ energies: number[]; norm: number }> {
  const engine = new TfjsEngine(checkpoint, { ...backend, reason: 'test' }, capacity, 1)
  const { block } = engine.model.answer
  const start = new Float32Array(block * engine.model.dim)
  engine.observe([{ contextId: 0, tokens: [1, 2, 3], pages: [0] }])
  engine.begin([{ slot: 0, contextId: 0, seed: 1, candidate: 0, start }])
  const steps: StepResult[][] = []
  for (const step of [0, 1])
    steps.push(await engine.descend([{ slot: 0, landscape: 0, noise: 0, step, stepSize: 0.01 }]))
  engine.close()
  return {
    energies: steps.map(([result]) => result?.parts?.disagreement as number),
    norm: steps[0]?.[0]?.gradientNorm as number,
  }
}

describe('--refiner', () => {
  it('changes the direction of descent of a residual energy, not the energy', async () => {
    const model = modelOf('latent residual amortized, K 4')
    const own = await descent(model)
    const exact = await descent(withRefiner(model, 'exact'))
    expect(exact.energies[0]).toBeCloseTo(own.energies[0] as number, 6)
    expect(Math.abs(exact.norm / own.norm - 1)).toBeGreaterThan(0.01)
    // A short step along the exact direction lowers disagreement, which it is the gradient of.
    expect(exact.energies[1] as number).toBeLessThan(exact.energies[0] as number)
  })

  it('returns the checkpoint itself where it has that direction already', () => {
    const model = modelOf('latent residual exact, noise')
    expect(withRefiner(model, 'model')).toBe(model)
    expect(withRefiner(model, 'exact')).toBe(model)
    expect(withRefiner(model, 'amortized').config.energy.direction).toBe('amortized')
  })

  it('is refused where a model has only one direction', () => {
    for (const label of ['latent potential', 'vocab head'])
      expect(() => withRefiner(modelOf(label), 'amortized')).toThrow(/exact direction only/)
    expect(() =>
      withRefiner(modelOf('latent residual, K 1, draft from the context'), 'exact'),
    ).toThrow(/amortized direction only/)
    const model = modelOf('latent residual exact, noise')
    const control = { ...model, config: { ...model.config, feed_forward: true } }
    expect(withRefiner(control, 'model')).toBe(control)
    expect(() => withRefiner(control, 'exact')).toThrow(/does not descend/)
  })
})
