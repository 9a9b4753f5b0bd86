/** Basin's kernels for training on WebGPU against the ops that the wasm backend has in their place. */
import { beforeAll, describe, it, vi } from 'vitest'
import { loadBackend, type Tensor, type Tf } from '../../src/energy/tfjs/backend.js'
import { readTensors } from '../../src/energy/tfjs/read-tensors.js'
import { Optimizer } from '../../src/train/optimizer.js'
import { optimizerOf } from '../train/differences.js'
import { Draws, expectNear } from '../training-backend/draws.js'
import { fusedOps } from '../training-backend/fused-ops.js'
import { describeWebgpu, everything } from './support.js'

// A software adapter shares the cores with the tests of other files.
vi.setConfig({ testTimeout: 300_000 })

type Case = readonly [name: string, compute: (tf: Tf, d: Draws) => Tensor[], tolerance?: number]

const product =
  (a: number[], b: number[], transposeA: boolean, transposeB: boolean) =>
  (tf: Tf, d: Draws): Tensor[] => [tf.matMul(d.normal(a), d.normal(b), transposeA, transposeB)]

const products: Case[] = [
  ['a product', product([70, 37], [37, 90], false, false)],
  ['many products by transposes', product([66, 3, 70], [66, 90, 70], false, true)],
  ['narrow products of many by one', product([33, 130, 20], [1, 20, 31], false, false)],
  ['a deep product, in parts', product([1300, 33], [1300, 40], true, false), 1e-4],
  ['both transposed', product([2, 21, 5], [2, 7, 21], true, true)],
]
const sums: Case[] = [
  ['a sum over rows, in chunks', (tf, d) => [tf.sum(d.normal([700, 3, 17]), [0])]],
  ['a sum of all, in chunks', (tf, d) => [tf.sum(d.normal([90, 101]))]],
  ['a sum over the first two axes', (tf, d) => [tf.sum(d.normal([5, 6, 3]), [0, 1], true)]],
  [
    'whole numbers made real, in a product',
    (tf, d) => [tf.matMul(tf.cast(d.integers([3, 4], 9), 'float32'), d.normal([4, 2]))],
  ],
  [
    'a sum by segment, in chunks',
    (tf, d) => [tf.unsortedSegmentSum(d.normal([300, 2, 5]), d.integers([300], 7) as never, 8)],
  ],
]
/** Parameters of two groups after two updates of AdamW, and its state. */
const adamW: Case = [
  'AdamW',
  (tf, d) => {
    const names = ['transformer.norm.weight', 'answer.readout.weight', 'alpha']
    const parameters = new Map(
      names.map((name, i) => [name, tf.variable(d.normal(i === 1 ? [3, 30] : [1]))]),
    )
    const optimizer = new Optimizer(tf, optimizerOf('adamw', 9))
    for (const update of [0, 1]) {
      const gradients = [...parameters].map(([name, { shape }]) => [name, d.normal(shape)] as const)
      optimizer.apply(parameters, new Map(gradients), 3, update)
    }
    return [parameters, optimizer.first, optimizer.second].flatMap((all) => [...all.values()])
  },
]
/** What has a tangent too is composed on this backend. */
const isOneKernel = (name: string): boolean => everything || !name.includes('tangent')

describeWebgpu('kernels for training on webgpu', () => {
  let tf: Tf
  let ops: ReadonlyMap<string, (d: Draws) => Tensor[]>
  beforeAll(async () => {
    await loadBackend('wasm', 1)
    ;({ tf } = await loadBackend('webgpu', 1))
    ops = new Map(fusedOps(tf))
  }, 300_000)

  async function expectSame(compute: (d: Draws) => Tensor[], tolerance = 2e-5): Promise<void> {
    const results: Float32Array[][] = []
    for (const backend of ['wasm', 'webgpu', 'webgpu']) {
      await tf.setBackend(backend)
      results.push(await readTensors(tf, () => compute(new Draws(tf, 1))))
    }
    const [wanted, found, again] = results as [Float32Array[], Float32Array[], Float32Array[]]
    found.forEach((numbers, i) => {
      expectNear(numbers, wanted[i] as Float32Array, tolerance)
      expectNear(again[i] as Float32Array, numbers, 0)
    })
  }

  // The names are known before there is a backend.
  const names = fusedOps(undefined as never)
    .map(([name]) => name)
    .filter(isOneKernel)
  describe('an op of one kernel equals the ops it replaces, and so do its gradients', () => {
    it.each(names)('%s', (name) => expectSame(ops.get(name) as (d: Draws) => Tensor[]))
  })
  describe('products, sums and updates', () => {
    const cases = [...products, ...sums, adamW].map(([name, compute, tolerance]) => ({
      name,
      compute,
      tolerance,
    }))
    it.each(cases)('$name', ({ compute, tolerance }) =>
      expectSame((d) => compute(tf, d), tolerance),
    )
  })
})
