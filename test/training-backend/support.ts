/** Runs the same ops on the native backend and on the CPU backend of TensorFlow.js, and compares the results. */
import { expect } from 'vitest'
import { loadBackend, type Tensor } from '../../src/energy/tfjs/backend.js'
import { Draws, expectNear } from './draws.js'

export const { tf, inherited } = await loadBackend('native', 1)
/** The same kernels on two threads. */
const twoThreads = (await loadBackend('native', 2)).tf.getBackend()
export const backends = { native: 'native', two: twoThreads, cpu: 'cpu' } as const

type Results = readonly { shape: number[]; dtype: string; data: ArrayLike<number> }[]

async function resultsOn(
  backend: string,
  seed: number,
  compute: (draws: Draws) => Tensor | Tensor[],
): Promise<Results> {
  await tf.setBackend(backend)
  tf.engine().startScope()
  const made = compute(new Draws(tf, seed))
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
  const wanted = await resultsOn(backends.cpu, seed, compute)
  const before = new Map(inherited)
  const actual = await resultsOn(backends.native, seed, compute)
  expect(new Map(inherited), 'kernels left to the CPU backend').toEqual(before)
  actual.forEach(({ shape, dtype, data }, i) => {
    const { shape: wantedShape, dtype: wantedType, data: wantedData } = wanted[i] as Results[number]
    expect({ shape, dtype }).toEqual({ shape: wantedShape, dtype: wantedType })
    expectNear(data, wantedData, tolerance)
  })
  expect(await resultsOn(backends.two, seed, compute)).toEqual(actual)
}
