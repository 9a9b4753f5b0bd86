import { mkdtempSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { floatsToHalves, halfToFloat } from '../../src/model/half.js'
import { openCheckpoint, weightsFile, writeCheckpoint } from '../../src/model/checkpoint.js'
import { normals } from '../../src/refine/random.js'
import { modelOf } from '../support/models.js'

describe('float16', () => {
  it('converts to a number and back, for every finite value', () => {
    const all = Array.from({ length: 0x10000 }, (_, half) => half)
    const finite = all.filter((half) => Number.isFinite(halfToFloat(half)))
    expect(finite).toHaveLength(2 * 31 * 1024)
    const back = floatsToHalves(Float32Array.from(finite, halfToFloat)) ?? []
    expect([...back]).toEqual(finite)
  })

  it.each([1, 1e-3, 1e-6, 1e3])('is the nearest one of numbers around %d', (scale) => {
    const numbers = normals(5, 0, 0, 4096).map((x) => x * scale)
    floatsToHalves(numbers)?.forEach((half, i) => {
      const x = numbers[i] ?? NaN
      const found = Math.abs(halfToFloat(half) - x)
      const others = [half - 1, half + 1].map((other) => halfToFloat(other & 0xffff))
      for (const other of others.filter(Number.isFinite))
        expect(found).toBeLessThanOrEqual(Math.abs(other - x))
    })
  })

  it('rounds ties to even, carries into the exponent, and refuses numbers beyond its largest', () => {
    const tie = (x: number) => halfToFloat(floatsToHalves(Float32Array.of(x))?.[0] ?? NaN)
    expect(tie(1 + 1 / 2048)).toBe(1)
    expect(tie(1 + 3 / 2048)).toBe(1 + 1 / 512)
    expect(tie(2 - 1 / 4096)).toBe(2)
    expect(tie(-65504)).toBe(-65504)
    expect(tie(2 ** -25)).toBe(0)
    for (const large of [65505, -1e9, Infinity, NaN])
      expect(floatsToHalves(Float32Array.of(large))).toBeUndefined()
  })
})

it('writes a checkpoint of half the size, with each number rounded to float16', () => {
  const directory = mkdtempSync(join(tmpdir(), 'basin-half-'))
  const checkpoint = modelOf('latent residual amortized, K 4')
  const size = () => statSync(join(directory, weightsFile)).size
  writeCheckpoint(directory, checkpoint)
  const whole = size()
  writeCheckpoint(directory, checkpoint, 'F16')
  expect(size()).toBeLessThan(0.6 * whole)
  const { tensors } = openCheckpoint(directory)
  for (const [name, { data }] of checkpoint.tensors)
    expect(tensors.get(name)?.data).toEqual(
      Float32Array.from(floatsToHalves(data) ?? [], halfToFloat),
    )
})

it('refuses a number too large for float16 with the name of its tensor', () => {
  const { config, tensors } = modelOf('latent residual amortized, K 4')
  const large = new Map(tensors).set('alpha', { shape: [], data: Float32Array.of(7e4) })
  const directory = mkdtempSync(join(tmpdir(), 'basin-half-'))
  expect(() => {
    writeCheckpoint(directory, { config, tensors: large }, 'F16')
  }).toThrow(/alpha/)
})
