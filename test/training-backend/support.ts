/** Runs the same ops on the native backend and on the CPU backend of TensorFlow.js, and compares the results. */
import { expect } from 'vitest'
import { loadBackend, type Tensor } from '../../src/energy/tfjs/backend.js'
import { Draws, expectNear } from './draws.js'

export const { tf, inherited } = await loadBackend('native', 1)
/** The same kernels on two threads. */
const twoThreads = (await loadBackend('native', 2)).tf.getBackend()
export const backends = { native: 'native', two: twoThreads, cpu: 'cpu' } as const

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
