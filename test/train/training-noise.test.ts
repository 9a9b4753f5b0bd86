import { describe, expect, it } from 'vitest'
import { normals } from '../../src/refine/random.js'
import { trainingNoise } from '../../src/train/objectives/start.js'

/** The state of a 9x9 board, 128 wide. */
const ROW = 81 * 128

const same = (a: Float32Array, b: Float32Array): boolean =>
  a.length === b.length && a.every((x, i) => x === b[i])

describe('the noise of an update', () => {
  it('is that of its seed while it is short', () => {
    expect(same(trainingNoise(5, 4 * ROW), normals(5, 0, 0, 4 * ROW))).toBe(true)
  })

  it('is normal, the same for the same seed, and another for each row, when it is long', () => {
    const rows = 40
    const noise = trainingNoise(5, rows * ROW)
    expect(noise).toHaveLength(rows * ROW)
    expect(same(noise, trainingNoise(5, rows * ROW))).toBe(true)
    expect(same(noise, trainingNoise(6, rows * ROW))).toBe(false)
    const mean = noise.reduce((sum, x) => sum + x, 0) / noise.length
    const square = noise.reduce((sum, x) => sum + x * x, 0) / noise.length
    expect(Math.abs(mean)).toBeLessThan(0.01)
    expect(Math.abs(square - 1)).toBeLessThan(0.01)
    const row = (i: number): Float32Array => noise.subarray(i * ROW, (i + 1) * ROW)
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < i; j++) {
        const [a, b] = [row(i), row(j)]
        const product = a.reduce((sum, x, k) => sum + x * (b[k] as number), 0) / ROW
        // The mean of so many products of independent numbers has a deviation of 0.01.
        expect(Math.abs(product)).toBeLessThan(0.06)
      }
  })

  it('fills sizes that no copy ends at', () => {
    const noise = trainingNoise(9, 2 ** 19 + 12345)
    expect(noise.every((x) => x !== 0 && Number.isFinite(x))).toBe(true)
  })
})
