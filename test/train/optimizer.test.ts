import { describe, expect, it } from 'vitest'
import type { Tensor } from '../../src/energy/tfjs/backend.js'
import { loadBackend } from '../../src/energy/tfjs/backend.js'
import { Optimizer, orthogonalised, type OptimizerOptions } from '../../src/train/optimizer.js'
import { normals } from '../../src/refine/random.js'

const { tf } = await loadBackend('wasm', 1)

const options: OptimizerOptions = {
  optimizer: 'muon',
  learningRate: 0.1,
  beta1: 0.9,
  beta2: 0.95,
  weightDecay: 0,
  clip: 1e9,
  warmup: 0,
  updates: 1e9,
  alphaMultiplier: 1,
  muonStep: 0.2,
}

const matrix = (rows: number, columns: number): Tensor =>
  tf.tensor(normals(1, 0, 0, rows * columns), [rows, columns])

/** Largest absolute element of X^T X - I (or X X^T - I for a wide X). */
function distanceFromOrthogonal(x: Tensor): number {
  const tall = x.shape[0] > (x.shape[1] as number)
  const gram = tf.matMul(x, x, tall, !tall)
  return tf.max(tf.abs(tf.sub(gram, tf.eye(gram.shape[0])))).dataSync()[0] as number
}

describe('orthogonalised', () => {
  it.each([
    [8, 8],
    [24, 8],
    [8, 24],
  ])('brings the singular values of [%i, %i] near 1', (rows, columns) => {
    const x = matrix(rows, columns)
    const result = orthogonalised(tf, x)
    expect(result.shape).toEqual([rows, columns])
    expect(distanceFromOrthogonal(result)).toBeLessThan(0.55)
    expect(distanceFromOrthogonal(tf.div(x, tf.norm(x)))).toBeGreaterThan(0.6)
  })

  it('does not depend on the scale of its argument', () => {
    const [a, b] = [matrix(6, 9), tf.mul(matrix(6, 9), 1000)].map((m) => orthogonalised(tf, m))
    const apart = tf.max(tf.abs(tf.sub(a as Tensor, b as Tensor))).dataSync()[0]
    expect(apart).toBeLessThan(1e-4)
  })
})

describe('parameters of one shape', () => {
  const shapes = new Map([
    ['transformer.layers.0.attention.wq.weight', [12, 20]],
    ['transformer.layers.0.attention.wk.weight', [12, 20]],
    ['transformer.layers.1.attention.wq.weight', [12, 20]],
    ['transformer.layers.0.feed_forward.w2.weight', [20, 12]],
    ['transformer.layers.0.ffn_norm.weight', [20]],
    ['transformer.layers.1.ffn_norm.weight', [20]],
    ['answer.query.weight', [12, 20]],
    ['alpha', [1]],
  ])
  const numbersOf = (place: number, shape: number[], seed: number): Tensor =>
    tf.tensor(normals(seed, place, 0, tf.util.sizeFromShape(shape)), shape)

  /** The weights after two updates of those that `named` picks. */
  const after = (named: (name: string) => boolean): Map<string, Float32Array> => {
    const chosen = [...shapes].map(([name, shape], place) => ({ name, shape, place }))
    const parameters = new Map(
      chosen.map(({ name, shape, place }) => [name, tf.variable(numbersOf(place, shape, 3))]),
    )
    const optimizer = new Optimizer(tf, { ...options, weightDecay: 0.01, clip: 1 })
    for (const update of [0, 1]) {
      const gradients = chosen
        .filter(({ name }) => named(name))
        .map(({ name, shape, place }) => [name, numbersOf(place, shape, 4 + update)] as const)
      optimizer.apply(parameters, new Map(gradients), 2, update)
    }
    return new Map([...parameters].map(([name, t]) => [name, t.dataSync() as Float32Array]))
  }

  it.each([...shapes.keys()])('move together as %s moves alone', (name) => {
    const together = after(() => true).get(name) as Float32Array
    const alone = after((other) => other === name).get(name) as Float32Array
    const unmoved = after(() => false).get(name) as Float32Array
    const apart = (a: Float32Array, b: Float32Array): number =>
      Math.max(...a.map((x, i) => Math.abs(x - (b[i] as number))))
    expect(apart(together, alone)).toBeLessThan(1e-6)
    expect(apart(together, unmoved)).toBeGreaterThan(0.01)
  })
})

describe('Muon', () => {
  const gradient = () => matrix(12, 20)
  const stepOf = (optimizer: 'adamw' | 'muon', name: string): Tensor => {
    const parameter = tf.variable(tf.zeros([12, 20]))
    new Optimizer(tf, { ...options, optimizer }).apply(
      new Map([[name, parameter]]),
      new Map([[name, gradient()]]),
      1,
      0,
    )
    return parameter
  }
  const rms = (t: Tensor): number => Math.sqrt(tf.mean(tf.square(t)).dataSync()[0] as number)

  it('moves matrices of the layers by orthogonal steps of 0.2 times the learning rate', () => {
    const step = stepOf('muon', 'transformer.layers.0.attention.wq.weight')
    expect(distanceFromOrthogonal(tf.div(step, 0.1 * 0.2 * Math.sqrt(20)))).toBeLessThan(0.55)
    expect(rms(step) / 0.1).toBeGreaterThan(0.14)
    expect(rms(step) / 0.1).toBeLessThan(0.26)
  })

  it('leaves embeddings and read-outs to AdamW', async () => {
    for (const name of ['embeddings.weight', 'answer.readout.weight', 'answer.query.weight'])
      expect(await stepOf('muon', name).data()).toEqual(await stepOf('adamw', name).data())
  })
})
