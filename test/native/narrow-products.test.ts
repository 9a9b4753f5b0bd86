/**
 * Where the machine multiplies pairs of bf16 numbers or fours of int8 numbers, `--weights bf16` and `int8` round the
 * inputs of products too. What comes out must differ from products of the same weights in float32 by no more than such
 * rounding explains: bf16 has eight bits, int8 seven and a sign, with one scale for a row. Two steps are compared, since
 * later ones of a steep model amplify any difference.
 */
import { describe, expect, it } from 'vitest'
import type { NativeOptions } from '../../src/energy/native/options.js'
import { capacity, descendRows, watched } from '../energy/same-bits.js'
import { modelOf, variants } from '../support/models.js'
import { openNative } from './support.js'

/** Numbers of two steps: see `descendRows`. */
const COMPARED = 10

interface Products extends Pick<NativeOptions, 'weights'> {
  kernels: NonNullable<NativeOptions['kernels']>
  /** As the engine names them. */
  backend: string
  tolerance: number
}

const products: Products[] = [
  { weights: 'bf16', kernels: 'auto', backend: 'avx512bf16', tolerance: 0.03 },
  { weights: 'int8', kernels: 'auto', backend: 'avx512vnni', tolerance: 0.1 },
  { weights: 'int8', kernels: 'avx2', backend: 'avx2vnni', tolerance: 0.1 },
]

const open = (label: string, weights: Products['weights'], kernels: Products['kernels']) =>
  openNative(modelOf(label), { capacity, weights, kernels })

function has({ weights, kernels, backend }: Products): boolean {
  const engine = open(variants[0]?.label ?? '', weights, kernels)
  engine.close()
  return engine.info.backend.startsWith(backend)
}

describe.each(products)(
  '$weights products of $backend (skipped where the machine has none)',
  (given) => {
    const { weights, kernels, tolerance } = given
    it.skipIf(!has(given)).each(variants.map(({ label }) => label))(
      'are near those in float32: %s',
      async (label) => {
        const narrow = await descendRows(open(label, weights, kernels), watched)
        // This set widens the weights of both formats.
        const widened = await descendRows(open(label, weights, 'baseline'), watched)
        for (const [row, { numbers }] of narrow) {
          const expected = widened.get(row)?.numbers ?? []
          expect(numbers).not.toEqual(expected)
          numbers.slice(0, COMPARED).forEach((number, i) => {
            const other = expected[i] as number
            if (!Number.isFinite(other)) expect(number).toBe(other)
            else
              expect(Math.abs(number - other)).toBeLessThanOrEqual(
                tolerance * Math.max(1, Math.abs(other)),
              )
          })
        }
      },
    )
  },
)
