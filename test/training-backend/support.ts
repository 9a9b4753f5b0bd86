/** Runs the same ops on the native backend and on the CPU backend of TensorFlow.js, and compares the results. */
import { expect } from 'vitest'
import { loadBackend, type Tensor, type Tf } from '../../src/energy/tfjs/backend.js'
import { normals, uniform } from '../../src/refine/random.js'

export const { tf, inherited } = await loadBackend('native', 1)
/** The same kernels on two threads. */
const twoThreads = (await loadBackend('native', 2)).tf.getBackend()
export const backends = { native: 'native', two: twoThreads, cpu: 'cpu' } as const

/** Random tensors: a test case draws the same numbers on every backend. `drawn`: those of the backends before. */
export class Draws {
  private at = 0
  constructor(
    readonly tf: Tf,
    private readonly seed: number,
    private readonly drawn: Map<string, Float32Array>,
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

type Numbers = Float32Array | Int32Array | Uint8Array
type Results = readonly { shape: number[]; dtype: string; data: Numbers }[]

async function resultsOn(
  backend: string,
  draws: Draws,
  compute: (draws: Draws) => Tensor | Tensor[],
): Promise<Results> {
  await tf.setBackend(backend)
  tf.engine().startScope()
  const made = compute(draws)
  const results = (Array.isArray(made) ? made : [made]).map((t) => ({
    shape: t.shape,
    dtype: t.dtype,
    data: t.dataSync(),
  }))
  tf.engine().endScope()
  return results
}

/** Expects equal numbers, up to `tolerance` times the wanted magnitude, or times one if that is larger. */
function expectNear(actual: ArrayLike<number>, wanted: ArrayLike<number>, tolerance: number): void {
  expect(actual.length).toBe(wanted.length)
  for (let i = 0; i < actual.length; i++) {
    const [a, w] = [actual[i] as number, wanted[i] as number]
    if (Object.is(a, w) || a === w) continue
    const far = Math.abs(a - w) / Math.max(1, Math.abs(w))
    if (!(far <= tolerance)) expect.fail(`element ${i} is ${a}, not ${w}`)
  }
}

/** Compares a case natively with the CPU backend, and bit for bit with two native threads. */
export async function expectSame(
  seed: number,
  compute: (draws: Draws) => Tensor | Tensor[],
  tolerance = 2e-6,
): Promise<void> {
  const drawn = new Map<string, Float32Array>()
  const on = (backend: string) => resultsOn(backend, new Draws(tf, seed, drawn), compute)
  const wanted = await on(backends.cpu)
  const before = new Map(inherited)
  const actual = await on(backends.native)
  expect(new Map(inherited), 'kernels left to the CPU backend').toEqual(before)
  actual.forEach(({ shape, dtype, data }, i) => {
    const { shape: wantedShape, dtype: wantedType, data: wantedData } = wanted[i] as Results[number]
    expect({ shape, dtype }).toEqual({ shape: wantedShape, dtype: wantedType })
    expectNear(data, wantedData, tolerance)
  })
  const two = await on(backends.two)
  expect(withBits(two)).toEqual(withBits(actual))
}

/** Results whose numbers are their bits, which compare in one go. */
const withBits = (results: Results) =>
  results.map(({ shape, dtype, data }) => ({
    shape,
    dtype,
    bits: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('latin1'),
  }))
