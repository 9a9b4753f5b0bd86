/** Ops that are one kernel on some backends, each with its results and its gradients. */
import type { Tensor, Tf } from '../../src/energy/tfjs/backend.js'
import { Network } from '../../src/energy/tfjs/network.js'
import { numbers, type Num } from '../../src/energy/tfjs/numbers.js'
import { crossEntropy } from '../../src/train/loss.js'
import { configOf } from '../support/models.js'
import type { Draws } from './draws.js'

interface Rotates {
  rotatedHeads: (
    x: { value: Tensor; tangent: null },
    angles: { cos: Tensor; sin: Tensor },
  ) => { value: Tensor }
}

/** By name; `compute` is given the draws of a case. */
export function fusedOps(tf: Tf): [name: string, compute: (d: Draws) => Tensor[]][] {
  const weighed = (y: Tensor): Tensor =>
    tf.sum(
      tf.mul(
        y,
        tf.tensor(
          Array.from({ length: y.size }, (_, i) => Math.cos(i)),
          y.shape,
        ),
      ),
    )
  /** The results of f, and the gradients of a weighted sum of them with respect to its arguments. */
  const all = (
    f: (...x: [Tensor, Tensor, Tensor, Tensor]) => Tensor[],
    ...x: Tensor[]
  ): Tensor[] => {
    const at = (given: Tensor[]) => f(...(given as [Tensor, Tensor, Tensor, Tensor]))
    return [...at(x), ...tf.grads((...given: Tensor[]) => tf.addN(at(given).map(weighed)))(x)]
  }
  const both = (f: (...x: Tensor[]) => Tensor, ...x: Tensor[]): Tensor[] =>
    all((...at) => [f(...at)], ...x)
  const pair = ({ value, tangent }: Num): Tensor[] => [value, tangent as Tensor]

  const num = numbers(tf)
  const constants = (x: Tensor) => ({ value: x, tangent: null })
  const normed = (d: Draws, shape: number[]): Tensor[] => {
    const f = (value: Tensor, tangent: Tensor, w: Tensor) =>
      pair(num.rmsNorm({ value, tangent }, w, 1e-5))
    return all(f, d.normal(shape), d.normal(shape), d.normal([shape.at(-1) as number]))
  }
  const rotated = (d: Draws, rows: number): Tensor[] => {
    const config = configOf({ answer: { block: 1 } })
    const network = new Network(tf, config, new Map())
    const positions = Array.from({ length: rows }, () => [3, 0, 5].map(() => d.whole(8)))
    const { queries } = network.rotary(positions)
    const rotate = (network as unknown as Rotates).rotatedHeads.bind(network)
    const x = d.normal([4, 3, config.heads, config.dim / config.heads])
    return both((t) => rotate(constants(t), queries).value, x)
  }
  return [
    [
      'norm',
      (d) =>
        both(
          (x, w) => num.rmsNorm(constants(x), w, 1e-5).value,
          d.normal([5, 7, 33]),
          d.normal([33]),
        ),
    ],
    [
      'norm of many rows',
      (d) =>
        both(
          (x, w) => num.rmsNorm(constants(x), w, 1e-5).value,
          d.normal([600, 64]),
          d.normal([64]),
        ),
    ],
    [
      'gate',
      (d) =>
        both(
          (a, b) => num.gate(constants(a), constants(b)).value,
          d.normal([6, 37]),
          d.normal([6, 37]),
        ),
    ],
    ['norm with a tangent', (d) => normed(d, [5, 7, 33])],
    ['norm with a tangent, many rows', (d) => normed(d, [600, 64])],
    [
      'gate with tangents',
      (d) => {
        const [b, tb] = [d.normal([6, 37]), d.normal([6, 37])]
        const f = (a: Tensor, ta: Tensor, b: Tensor, tb: Tensor) =>
          pair(num.gate({ value: a, tangent: ta }, { value: b, tangent: tb }))
        return all(f, d.normal([6, 37]), d.normal([6, 37]), b, tb)
      },
    ],
    [
      'softmax of two parts',
      (d) => {
        const f = (context: Tensor, own: Tensor) =>
          num.softmaxOfTwo(constants(context), null, constants(own)).map((p) => p.value)
        return all(f, d.normal([2, 3, 5, 17]), d.normal([2, 3, 5, 1]))
      },
    ],
    ...[
      [1, 1],
      [2, 1],
      [1, 5],
      [2, 5],
    ].map(([rows, positions]): [string, (d: Draws) => Tensor[]] => [
      `softmax of two parts with tangents, masked [${rows}, ${positions}]`,
      (d) => {
        const mask = tf.mul(
          tf.cast(d.truths([rows as number, 1, positions as number, 17]), 'float32'),
          -1e9,
        )
        const f = (far: Tensor, own: Tensor, tf_: Tensor, to: Tensor) =>
          num
            .softmaxOfTwo({ value: far, tangent: tf_ }, mask, { value: own, tangent: to })
            .flatMap(pair)
        return all(
          f,
          d.normal([2, 3, 5, 17]),
          d.normal([2, 3, 5, 4]),
          d.normal([2, 3, 5, 17]),
          d.normal([2, 3, 5, 4]),
        )
      },
    ]),
    ['rotation, one row for all', (d) => rotated(d, 1)],
    ['rotation, a row each', (d) => rotated(d, 4)],
    [
      'cross-entropy',
      (d) => {
        const [targets, weights] = [d.integers([4, 5], 19), d.positive([4, 5])]
        return both((z) => crossEntropy(tf, z, targets, weights, 7), d.normal([4, 5, 19]))
      },
    ],
  ]
}
