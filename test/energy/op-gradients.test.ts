/** The gradients of TensorFlow.js's ops against differences of their values: first ones, and second ones. */
import { beforeAll, describe, expect, it } from 'vitest'
import { loadBackend, type Tensor, type Tf } from '../../src/energy/tfjs/backend.js'
import { normals } from '../../src/refine/random.js'

let tf: Tf
beforeAll(async () => ({ tf } = await loadBackend('wasm', 1)))

type Op = (x: Tensor, y: Tensor) => Tensor | Tensor[]

/** x is [2, 3] and y is [3]; of both, numbers between 0.5 and 2.5 in magnitude, or positive ones. */
const ops: Record<string, { op: Op; positive?: true; firstOnly?: true }> = {
  Add: { op: (x, y) => tf.add(x, y) },
  Sub: { op: (x, y) => tf.sub(y, x) },
  Multiply: { op: (x, y) => tf.mul(x, y) },
  RealDiv: { op: (x, y) => tf.div(y, x) },
  Maximum: { op: (x, y) => tf.maximum(x, tf.mul(y, 2)) },
  Pow: { op: (x, y) => tf.pow(x, y), positive: true },
  AddN: { op: (x) => tf.addN([x, tf.square(x), x]) },
  Neg: { op: (x) => tf.neg(x) },
  Identity: { op: (x) => tf.clone(x) },
  Cast: { op: (x) => tf.cast(tf.square(x), 'float32') },
  ZerosLike: { op: (x) => tf.add(tf.zerosLike(x), x) },
  Step: { op: (x) => tf.mul(tf.step(x), x) },
  Abs: { op: (x) => tf.abs(x) },
  Sign: { op: (x) => tf.mul(tf.sign(x), x) },
  Relu: { op: (x) => tf.relu(x) },
  Square: { op: (x) => tf.square(x) },
  Sqrt: { op: (x) => tf.sqrt(x), positive: true },
  Rsqrt: { op: (x) => tf.rsqrt(x), positive: true },
  Exp: { op: (x) => tf.exp(x) },
  Log: { op: (x) => tf.log(x), positive: true },
  Softplus: { op: (x) => tf.softplus(x) },
  Sigmoid: { op: (x) => tf.sigmoid(x) },
  Sum: { op: (x) => [tf.sum(x, 1), tf.sum(x, [0, 1]), tf.sum(x, -2, true)] },
  Mean: { op: (x) => [tf.mean(x, 1), tf.mean(x), tf.mean(x, -2, true)] },
  ClipByValue: { op: (x) => tf.clipByValue(x, -1, 0.7) },
  Softmax: { op: (x) => tf.softmax(x), firstOnly: true },
  LogSoftmax: { op: (x) => tf.logSoftmax(x), firstOnly: true },
  BatchMatMul: {
    op: (x, y) => {
      const a = tf.add(x, y)
      return [
        tf.matMul(x, a, false, true),
        tf.matMul(x, a, true, false),
        tf.matMul(x, tf.transpose(a)),
        tf.matMul(x, tf.transpose(a), true, true),
      ]
    },
  },
  Reshape: { op: (x) => tf.reshape(x, [3, 2]) },
  ExpandDims: { op: (x) => tf.expandDims(x, 1) },
  Transpose: { op: (x) => tf.transpose(tf.reshape(x, [1, 2, 3]), [2, 0, 1]) },
  Slice: { op: (x) => tf.slice(x, [0, 1], [2, 1]) },
  PadV2: {
    op: (x) =>
      tf.pad(x, [
        [1, 0],
        [0, 2],
      ]),
  },
  Tile: { op: (x) => tf.tile(x, [3, 2]) },
  Concat: { op: (x, y) => tf.concat([x, tf.expandDims(y, 0), x], 0) },
  SplitV: { op: (x) => tf.split(x, [1, 2], 1) },
  Pack: { op: (x, y) => tf.stack([tf.sum(x, 0), y], 1) },
  Unpack: { op: (x) => tf.unstack(x, 1) },
  Select: { op: (x, y) => tf.where(tf.greater(tf.tensor1d([1, -1, 0]), 0), x, tf.add(x, y)) },
  GatherV2: {
    op: (x) =>
      tf.gather(
        x,
        tf.tensor2d(
          [
            [1, 1],
            [0, 1],
          ],
          [2, 2],
          'int32',
        ),
      ),
  },
  UnsortedSegmentSum: {
    op: (x) => tf.unsortedSegmentSum(x, tf.tensor1d([1, 1], 'int32'), 3),
  },
}

const tensorsOf = (positive: boolean): [Tensor, Tensor] => {
  const numbers = Array.from(normals(11, 0, 0, 9), (z) => {
    const magnitude = 0.5 + Math.min(2, Math.abs(z))
    return positive || z > 0 ? magnitude : -magnitude
  })
  return [tf.tensor(numbers.slice(0, 6), [2, 3]), tf.tensor(numbers.slice(6), [3])]
}

/** A number that depends on every output, by weights of its own and not linearly. */
function scalarOf(op: Op, x: Tensor, y: Tensor): Tensor {
  const outputs = [op(x, y)].flat()
  return tf.addN(
    outputs.map((out, i) => {
      const weights = Array.from({ length: out.size }, (_, j) => Math.sin(1 + i + 2 * j))
      const flat = tf.reshape(out, [out.size])
      return tf.sum(tf.mul(tf.add(flat, tf.square(flat)), tf.tensor1d(weights)))
    }),
  )
}

type Scalar = (x: Tensor, y: Tensor) => Tensor

/** The slope of `f` at x and y along `dx` and `dy`, by its gradients. */
function slopeByGradient(f: Scalar, x: Tensor, y: Tensor, [dx, dy]: [Tensor, Tensor]): Tensor {
  const [gx, gy] = tf.grads((...given: Tensor[]) => f(given[0] as Tensor, given[1] as Tensor))([
    x,
    y,
  ]) as [Tensor, Tensor]
  return tf.add(tf.sum(tf.mul(gx, dx)), tf.sum(tf.mul(gy, dy)))
}

/** The same by a central difference; its truncation is of fourth order. */
function slopeByDifference(f: Scalar, x: Tensor, y: Tensor, [dx, dy]: [Tensor, Tensor]): number {
  const at = (h: number) =>
    f(tf.add(x, tf.mul(dx, h)), tf.add(y, tf.mul(dy, h))).dataSync()[0] as number
  const central = (h: number) => (at(h) - at(-h)) / (2 * h)
  const h = 0.04
  return (4 * central(h / 2) - central(h)) / 3
}

function expectSlopes(f: Scalar, positive: boolean): void {
  const [x, y] = tensorsOf(positive)
  for (const seed of [1, 2, 3]) {
    const numbers = normals(seed, 1, 0, 9).map((z) => z / 4)
    const along: [Tensor, Tensor] = [
      tf.tensor(numbers.slice(0, 6), [2, 3]),
      tf.tensor(numbers.slice(6), [3]),
    ]
    const slope = slopeByGradient(f, x, y, along).dataSync()[0] as number
    const difference = slopeByDifference(f, x, y, along)
    expect(Math.abs(slope - difference)).toBeLessThan(0.005 * Math.max(1, Math.abs(difference)))
  }
}

describe('the gradients of ops', () => {
  for (const [name, { op, positive = false }] of Object.entries(ops))
    it(`is the slope of ${name}`, () => {
      tf.tidy(() => {
        // A term in x and y: every op is asked for both gradients.
        expectSlopes(
          (x, y) => tf.add(scalarOf(op, x, y), tf.mul(tf.sum(tf.mul(x, y)), 0.5)),
          positive,
        )
      })
    })
})

describe('the gradients of gradients', () => {
  for (const [name, { op, positive = false, firstOnly }] of Object.entries(ops)) {
    if (firstOnly) continue
    it(`is the slope of the slope of ${name}`, () => {
      tf.tidy(() => {
        const [px, py] = tensorsOf(false)
        const first: Scalar = (x, y) =>
          slopeByGradient(
            (a, b) => tf.add(scalarOf(op, a, b), tf.sum(tf.mul(tf.square(a), tf.square(b)))),
            x,
            y,
            [tf.div(px, 4), tf.div(py, 4)],
          )
        expectSlopes(first, positive)
      })
    })
  }
})

it('names an op that has no gradient', () => {
  expect(() => tf.grad((x: Tensor) => tf.erf(x))(tf.tensor1d([1]))).toThrow(/Erf/)
})
