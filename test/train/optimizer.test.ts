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
