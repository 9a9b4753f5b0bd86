/**
 * Where the machine multiplies pairs of bf16 numbers, `--weights bf16` rounds the inputs of products too. What
 * comes out must differ from products of the same weights in float32 by no more than such rounding explains:
 * bf16 has eight bits. Two steps are compared, since later ones of a steep model amplify any difference.
 */
import { describe, expect, it } from 'vitest'
import type { NativeOptions } from '../../src/energy/native/options.js'
import { capacity, descendRows, watched } from '../energy/same-bits.js'
import { modelOf, variants } from '../support/models.js'
import { openNative } from './support.js'

const TOLERANCE = 0.03
/** Numbers of two steps: see `descendRows`. */
const COMPARED = 10

const open = (label: string, kernels: NativeOptions['kernels']) =>
  openNative(modelOf(label), { capacity, weights: 'bf16', kernels: kernels ?? 'auto' })

const first = open(variants[0]?.label ?? '', 'auto')
const paired = first.info.backend.includes('avx512bf16')
first.close()

describe.skipIf(!paired)('bf16 products in pairs (skipped where the machine has none)', () => {
  it.each(variants.map(({ label }) => label))('are near those in float32: %s', async (label) => {
    const inPairs = await descendRows(open(label, 'auto'), watched)
    const widened = await descendRows(open(label, 'avx512'), watched)
    for (const [row, { numbers }] of inPairs) {
      const expected = widened.get(row)?.numbers ?? []
      expect(numbers).not.toEqual(expected)
      numbers.slice(0, COMPARED).forEach((number, i) => {
        const other = expected[i] as number
        if (!Number.isFinite(other)) expect(number).toBe(other)
        else
          expect(Math.abs(number - other)).toBeLessThanOrEqual(
            TOLERANCE * Math.max(1, Math.abs(other)),
          )
      })
    }
  })
})
