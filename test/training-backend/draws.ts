/** Random tensors that are the same on every backend, and the comparison of what backends make of them. */
import { expect } from 'vitest'
import type { Tensor, Tf } from '../../src/energy/tfjs/backend.js'
import { normals, uniform } from '../../src/refine/random.js'

/** Random tensors: a test case draws the same numbers on every backend. `drawn`: those of the backends before. */
export class Draws {
  private at = 0
  constructor(
    readonly tf: Tf,
    private readonly seed: number,
    private readonly drawn = new Map<string, Float32Array>(),
  ) {}

  whole(below: number): number {
    return Math.floor(uniform(this.seed, 1, this.at++) * below)
  }

  shape(rank: number, most = 9): number[] {
    return Array.from({ length: rank }, () => 1 + this.whole(most))
  }

  normal(shape: number[]): Tensor {
    const size = shape.reduce((a, b) => a * b, 1)
    const draw = this.at++
    const key = `${draw} ${size}`
    const data = this.drawn.get(key) ?? normals(this.seed, draw, 0, size)
    this.drawn.set(key, data)
    // A backend may keep and reuse the memory that it is given.
    return this.tf.tensor(data.slice(), shape)
  }

  positive(shape: number[]): Tensor {
    return this.tf.add(this.tf.abs(this.normal(shape)), 0.01)
  }

  integers(shape: number[], below: number): Tensor {
    const size = shape.reduce((a, b) => a * b, 1)
    return this.tf.tensor(
      Int32Array.from({ length: size }, () => this.whole(below)),
      shape,
      'int32',
    )
  }

  truths(shape: number[]): Tensor {
    return this.tf.less(this.normal(shape), 0.2)
  }

  /** Normal, with NaN, infinities, zeros and extreme magnitudes among them. */
  odd(shape: number[]): Tensor {
    return this.mixed(shape, [NaN, Infinity, -Infinity, 0, -0, 1e-40, 1e30, -1e30])
  }

  /** Normal with NaN, infinities and zeros among them, and no extreme magnitudes that sums would depend on. */
  strange(shape: number[]): Tensor {
    return this.mixed(shape, [NaN, Infinity, -Infinity, 0])
  }

  private mixed(shape: number[], strange: readonly number[]): Tensor {
    const data = this.normal(shape).dataSync().slice()
    data.forEach((_, i) => {
      if (this.whole(9) === 0) data[i] = strange[this.whole(strange.length)] as number
    })
    return this.tf.tensor(data, shape)
  }

  /** Two shapes that broadcast to one shape. */
  pair(rank: number, most = 9): [number[], number[]] {
    const full = this.shape(rank, most)
    const thin = () => full.map((n) => (this.whole(3) === 0 ? 1 : n))
    const [a, b] = [thin(), thin()]
    return [a, b.slice(this.whole(rank + 1))]
  }
}

/** Expects equal numbers, up to `tolerance` times the wanted magnitude, or times one if that is larger. */
export function expectNear(
  actual: ArrayLike<number>,
  wanted: ArrayLike<number>,
  tolerance: number,
): void {
  expect(actual.length).toBe(wanted.length)
  for (let i = 0; i < actual.length; i++) {
    const [a, w] = [actual[i] as number, wanted[i] as number]
    if (Object.is(a, w) || a === w) continue
    const far = Math.abs(a - w) / Math.max(1, Math.abs(w))
    if (!(far <= tolerance)) expect.fail(`element ${i} is ${a}, not ${w}`)
  }
}
