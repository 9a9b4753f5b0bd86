/** What the device computes by itself beside the code of the host that says what it should be. */
import { expect, it } from 'vitest'
import { normals } from '../../src/refine/random.js'
import { drawAmong } from '../../src/refine/sampling.js'
import { initialWeights } from '../../src/train/initial-weights.js'
import { configOf } from '../support/models.js'
import { describeWebgpu, openWebgpu } from './support.js'

const wide = configOf({
  dim: 36,
  heads: 3,
  vocab_size: 3001,
  answer: { block: 5, start: 'noise' },
})
const checkpoint = { config: wide, tensors: initialWeights(wide, 3, 0.5) }

describeWebgpu('kernels', () => {
  it('start from the noise of their seed and candidate, of all 64 bits', async () => {
    const engine = await openWebgpu(checkpoint)
    const size = wide.answer.block * wide.dim
    const seeds = [0, 1, 2 ** 32 - 1, 2 ** 40 + 12345, Number.MAX_SAFE_INTEGER]
    engine.begin(seeds.map((seed, slot) => ({ slot, contextId: 0, seed, candidate: slot })))
    const points = await engine.points(
      seeds.map((_, slot) => ({ slot, which: 'present' as const })),
    )
    seeds.forEach((seed, slot) => {
      const wanted = normals(seed, slot, -1, size)
      points[slot]?.forEach((x, i) =>
        expect(Math.abs(x - (wanted[i] as number))).toBeLessThan(1e-5),
      )
    })
    await engine.close()
  })

  it('draw the tokens that the weights of a temperature say, of all and of a clamped position', async () => {
    const engine = await openWebgpu(checkpoint)
    const clamped = [-1, 17, -1, -1, -1]
    engine.begin([{ slot: 0, contextId: 0, seed: 5, candidate: 0, clamped }])
    await engine.descend([{ slot: 0, landscape: 0, noise: 0, step: 0 }])
    const row = { slot: 0, which: 'last', top: 'all', temperature: 0.8 } as const
    const [whole] = await engine.read([row])
    const weights = Array.from({ length: 5 }, (_, i) =>
      (whole?.weights ?? new Float32Array(0)).subarray(i * 3001, (i + 1) * 3001),
    )
    for (let draw = 0; draw < 20; draw++) {
      // Away from the limit between two tokens by more than a float32 sum may err.
      const draws = weights.map((own, i) => {
        const token = (draw * 149 + i * 31) % 3001
        const sum = own.reduce((a, b) => a + b, 0)
        const before = own.subarray(0, token).reduce((a, b) => a + b, 0)
        return Math.min(Math.max((before + (own[token] as number) / 2) / sum, 1e-9), 1 - 1e-9)
      })
      const [drawn] = await engine.read([{ ...row, draws }])
      const wanted = weights.map((own, i) => drawAmong(own, draws[i] as number))
      expect([...(drawn?.tokens ?? [])]).toEqual(wanted)
    }
    await engine.close()
  })

  it('pick the likeliest tokens, ties to the lowest, as the host does from all logits', async () => {
    const tied = new Map(checkpoint.tensors)
    const readout = checkpoint.tensors.get('answer.readout.weight')
    if (!readout) throw new Error('no read-out')
    // Every token's row stands three times in a line.
    const data = readout.data.map(
      (_, i) => readout.data[3 * 36 * Math.floor(i / 108) + (i % 36)] as number,
    )
    tied.set('answer.readout.weight', { ...readout, data })
    const engine = await openWebgpu({ config: wide, tensors: tied })
    engine.begin([{ slot: 0, contextId: 0, seed: 5, candidate: 0, clamped: [-1, -1, 4, -1, -1] }])
    await engine.descend([{ slot: 0, landscape: 0, noise: 0, step: 0 }])
    // More than the device picks, so the host does it.
    const [few, many] = [
      ...(await engine.read([
        { slot: 0, which: 'last', top: 20 },
        { slot: 0, which: 'last', top: 100 },
      ])),
    ]
    for (let i = 0; i < 5; i++) {
      const wanted = many?.tokens.subarray(i * 100, i * 100 + 20) ?? []
      expect([...(few?.tokens.subarray(i * 20, i * 20 + 20) ?? [])]).toEqual([...wanted])
      for (let n = 0; n < 20; n++)
        expect(few?.logProbs[i * 20 + n]).toBeCloseTo(many?.logProbs[i * 100 + n] as number, 4)
    }
    await engine.close()
  })
})
