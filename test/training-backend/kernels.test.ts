/** Every kernel of the native backend against the CPU backend of TensorFlow.js, over random shapes. */
import { afterAll, describe, expect, it } from 'vitest'
import type { Tensor } from '../../src/energy/tfjs/backend.js'
import { Profile } from '../../src/energy/tfjs/profile.js'
import type { Draws } from './draws.js'
import { backends, expectSame, inherited, tf } from './support.js'

afterAll(() => tf.setBackend(backends.native))

type Case = readonly [name: string, compute: (d: Draws) => Tensor | Tensor[], tolerance?: number]
const seeds = [1, 2, 3, 4, 5, 6]

/** Each case with several seeds, and so with several shapes. */
const all = (title: string, cases: readonly Case[]): void => {
  describe(title, () => {
    for (const [name, compute, tolerance] of cases)
      it(name, async () => {
        for (const seed of seeds) await expectSame(seed, compute, tolerance)
      })
  })
}

type Unary = (x: Tensor) => Tensor
const anywhere: Record<string, Unary> = {
  abs: (x) => tf.abs(x),
  neg: (x) => tf.neg(x),
  square: (x) => tf.square(x),
  relu: (x) => tf.relu(x),
  step: (x) => tf.step(x, 0.25),
  sign: (x) => tf.sign(x),
  reciprocal: (x) => tf.reciprocal(x),
  clipByValue: (x) => tf.clipByValue(x, -0.5, 0.75),
  floor: (x) => tf.floor(x),
  ceil: (x) => tf.ceil(x),
  sqrt: (x) => tf.sqrt(x),
  exp: (x) => tf.exp(x),
  log: (x) => tf.log(x),
  sigmoid: (x) => tf.sigmoid(x),
  tanh: (x) => tf.tanh(x),
  elu: (x) => tf.elu(x),
  expm1: (x) => tf.expm1(x),
}
const ofNormals: Record<string, Unary> = {
  softplus: (x) => tf.softplus(x),
  erf: (x) => tf.erf(x),
  sin: (x) => tf.sin(x),
  cos: (x) => tf.cos(x),
  round: (x) => tf.round(x),
}
const ofPositives: Record<string, Unary> = {
  log1p: (x) => tf.log1p(x),
  rsqrt: (x) => tf.rsqrt(x),
}
const casesOf = (functions: Record<string, Unary>, data: (d: Draws) => Tensor): Case[] =>
  Object.entries(functions).map(([name, f]) => [name, (d) => f(data(d))])

all('one operand', [
  ...casesOf(anywhere, (d) => d.odd(d.shape(2, 40))),
  ...casesOf(ofNormals, (d) => d.normal(d.shape(3, 9))),
  ...casesOf(ofPositives, (d) => d.positive(d.shape(2, 40))),
  ['over more than one piece', (d) => tf.exp(d.normal([3, 17001]))],
  ['empty', (d) => tf.exp(d.normal([0, 3]))],
])

type Binary = (a: Tensor, b: Tensor) => Tensor
const ofReals: Record<string, Binary> = {
  add: (a, b) => tf.add(a, b),
  sub: (a, b) => tf.sub(a, b),
  mul: (a, b) => tf.mul(a, b),
  div: (a, b) => tf.div(a, b),
  maximum: (a, b) => tf.maximum(a, b),
  minimum: (a, b) => tf.minimum(a, b),
  squaredDifference: (a, b) => tf.squaredDifference(a, b),
  equal: (a, b) => tf.equal(a, b),
  notEqual: (a, b) => tf.notEqual(a, b),
  less: (a, b) => tf.less(a, b),
  lessEqual: (a, b) => tf.lessEqual(a, b),
  greater: (a, b) => tf.greater(a, b),
  greaterEqual: (a, b) => tf.greaterEqual(a, b),
}
for (const [name, f] of Object.entries(ofReals))
  all(`two operands: ${name}`, [
    ['of one shape', (d) => ((s) => f(d.odd(s), d.odd(s)))(d.shape(3))],
    ['broadcast', (d) => ((s) => f(d.odd(s[0]), d.odd(s[1])))(d.pair(4))],
    ['with a scalar', (d) => f(d.odd(d.shape(2, 60)), d.odd([]))],
    ['along long runs', (d) => f(d.normal([5, 1, 9000]), d.normal([1, 3, 1]))],
    ['empty', (d) => f(d.normal([0, 4]), d.normal([1, 4]))],
    [
      'of integers',
      (d) =>
        ((s) =>
          name === 'div'
            ? f(d.normal(s[0]), d.normal(s[1]))
            : f(d.integers(s[0], 5), d.integers(s[1], 5)))(d.pair(3)),
    ],
  ])

all('further operands', [
  ['pow', (d) => ((s) => tf.pow(d.positive(s[0]), d.normal(s[1])))(d.pair(3)), 1e-5],
  ['logicalAnd', (d) => ((s) => tf.logicalAnd(d.truths(s[0]), d.truths(s[1])))(d.pair(3))],
  ['logicalOr', (d) => ((s) => tf.logicalOr(d.truths(s[0]), d.truths(s[1])))(d.pair(3))],
  ['where', (d) => ((s) => tf.where(d.truths(s), d.odd(s), d.odd(s)))(d.shape(3))],
  ['addN', (d) => ((s) => tf.addN([d.odd(s), d.normal(s), d.normal(s)]))(d.shape(3))],
  ['cast to int32', (d) => tf.cast(tf.mul(d.normal(d.shape(2)), 10), 'int32')],
  ['cast to bool', (d) => tf.cast(d.integers(d.shape(2), 2), 'bool')],
  ['cast from bool', (d) => tf.cast(d.truths(d.shape(2)), 'float32')],
  ['fill', (d) => tf.fill(d.shape(3), 1.5)],
  ['onesLike', (d) => tf.onesLike(d.normal(d.shape(3)))],
  ['zerosLike of bool', (d) => tf.zerosLike(d.truths(d.shape(3)))],
])

const product = (
  d: Draws,
  [m, k, n]: number[],
  a: boolean,
  b: boolean,
  outer: [number[], number[]],
) => {
  const [left, right] = [a ? [k, m] : [m, k], b ? [n, k] : [k, n]] as [number[], number[]]
  return tf.matMul(d.normal([...outer[0], ...left]), d.normal([...outer[1], ...right]), a, b)
}
for (const a of [false, true])
  for (const b of [false, true])
    all(`matMul${a ? ', a transposed' : ''}${b ? ', b transposed' : ''}`, [
      ['small', (d) => product(d, d.shape(3, 50), a, b, [[], []]), 1e-5],
      ['deep', (d) => product(d, [13, 900 + d.whole(200), 33], a, b, [[], []]), 1e-4],
      ['wide', (d) => product(d, [5, 20, 700 + d.whole(50)], a, b, [[], []]), 1e-5],
      ['many', (d) => ((o) => product(d, d.shape(3, 40), a, b, [o, o]))(d.shape(2, 5)), 1e-5],
      ['many, large', (d) => product(d, [70, 130, 600], a, b, [[2], [2]]), 1e-4],
      ['one right of many', (d) => product(d, d.shape(3, 40), a, b, [[3], [1]]), 1e-5],
      ['one left of many', (d) => product(d, d.shape(3, 40), a, b, [[1], [3]]), 1e-5],
      ['of no columns', (d) => product(d, [4, 3, 0], a, b, [[], []])],
      ['of no depth', (d) => product(d, [4, 0, 5], a, b, [[], []])],
    ])

it('a sum of nothing is 0', async () => {
  await expectSame(1, (d) => tf.sum(d.normal([3, 0, 2]), 1))
})

it('matMul carries NaN and infinity on', async () => {
  for (const seed of seeds)
    await expectSame(
      seed,
      (d) => tf.matMul(tf.clipByValue(d.odd([7, 9]), -9, 9), d.normal([9, 21])),
      1e-5,
    )
})

type Reduction = (x: Tensor, axis?: number | number[], keep?: boolean) => Tensor
const reductions: Record<string, Reduction> = {
  sum: (x, axis, keep) => tf.sum(x, axis, keep),
  mean: (x, axis, keep) => tf.mean(x, axis, keep),
  max: (x, axis, keep) => tf.max(x, axis, keep),
  min: (x, axis, keep) => tf.min(x, axis, keep),
}
for (const [name, f] of Object.entries(reductions))
  all(`reductions: ${name}`, [
    ['of all', (d) => f(d.normal(d.shape(3))), 1e-5],
    ['of the last axis', (d) => f(d.strange(d.shape(3)), -1), 1e-5],
    ['of the first axis', (d) => f(d.strange(d.shape(3)), 0, true), 1e-5],
    ['of an inner axis', (d) => f(d.normal(d.shape(4)), 2), 1e-5],
    ['of axes apart', (d) => f(d.normal(d.shape(4)), [0, 2], true), 1e-5],
    ['of axes apart, ending', (d) => f(d.normal(d.shape(4)), [1, 3]), 1e-5],
    ['of many rows', (d) => f(d.normal([700, 130]), 0), 1e-4],
    ['of many numbers', (d) => f(d.normal([90000])), 1e-3],
    ['of many planes', (d) => f(d.normal([3, 2000, 40]), 1), 1e-4],
    ['into nothing', (d) => f(d.normal([3, 0, 2]), 0)],
  ])

all('rows', [
  ['softmax', (d) => tf.softmax(d.normal(d.shape(3, 40)))],
  [
    'softmax of masked scores',
    (d) => tf.softmax(tf.add(d.normal([3, 4]), tf.tensor1d([0, -1e9, 0, -1e9]))),
  ],
  ['logSoftmax', (d) => tf.logSoftmax(tf.mul(d.normal(d.shape(3, 40)), 5)), 1e-5],
  ['argMax', (d) => tf.argMax(d.normal(d.shape(3)), 2)],
  ['argMin', (d) => tf.argMin(d.normal(d.shape(3)), 2)],
  ['argMax along an inner axis', (d) => tf.argMax(d.normal(d.shape(3)), 1)],
  ['cumsum', (d) => tf.cumsum(d.normal(d.shape(3)), 2), 1e-5],
  ['cumsum, exclusive, reverse', (d) => tf.cumsum(d.normal(d.shape(2)), 1, true, true), 1e-5],
  ['cumsum along the first axis', (d) => tf.cumsum(d.normal(d.shape(2)), 0), 1e-5],
  [
    'gradients of softmax',
    (d) =>
      ((s) =>
        tf.grads((x: Tensor, w: Tensor) => tf.sum(tf.mul(tf.softmax(x), w)))([
          d.normal(s),
          d.normal(s),
        ]))(d.shape(3, 40)),
  ],
  [
    'gradients of logSoftmax',
    (d) =>
      ((s) =>
        tf.grads((x: Tensor, w: Tensor) => tf.sum(tf.mul(tf.logSoftmax(x), w)))([
          d.normal(s),
          d.normal(s),
        ]))(d.shape(3, 40)),
    1e-5,
  ],
])

all('moves', [
  ['transpose', (d) => tf.transpose(d.normal(d.shape(4)), [0, 2, 1, 3])],
  ['transpose, last first', (d) => tf.transpose(d.normal(d.shape(3, 40)), [2, 0, 1])],
  ['transpose, reversed', (d) => tf.transpose(d.normal(d.shape(5, 5)))],
  ['transpose, wide', (d) => tf.transpose(d.normal([2, 130, 300]), [0, 2, 1])],
  ['transpose of int32', (d) => tf.transpose(d.integers(d.shape(3, 20), 9))],
  ['transpose of bool', (d) => tf.transpose(d.truths(d.shape(3, 20)))],
  ['slice', (d) => tf.slice(d.normal([9, 8, 7]), [2, 1, 3], [4, -1, 3])],
  ['slice of nothing', (d) => tf.slice(d.normal([9, 8]), [2, 1], [4, 0])],
  ['concat', (d) => ((s) => tf.concat([d.normal(s), d.normal(s), d.normal(s)], 1))(d.shape(3))],
  ['concat with empty', (d) => tf.concat([d.normal([3, 0]), d.normal([3, 2])], 1)],
  ['stack', (d) => ((s) => tf.stack([d.normal(s), d.normal(s)], 1))(d.shape(3))],
  ['unstack', (d) => tf.unstack(d.normal(d.shape(3)), 1)],
  ['split', (d) => tf.split(d.normal([4, 12, 3]), 3, 1)],
  ['split by sizes', (d) => tf.split(d.normal([4, 12]), [5, 4, 3], 1)],
  [
    'pad',
    (d) =>
      tf.pad(
        d.normal(d.shape(3)),
        [
          [1, 2],
          [0, 0],
          [3, 1],
        ],
        0.5,
      ),
  ],
  ['tile', (d) => tf.tile(d.normal(d.shape(3)), [2, 1, 3])],
  ['reverse', (d) => tf.reverse(d.normal(d.shape(3)), [0, 2])],
  ['reshape', (d) => tf.reshape(d.normal([4, 6]), [3, -1])],
  ['expandDims', (d) => tf.expandDims(d.normal([4, 6]), -1)],
  ['squeeze', (d) => tf.squeeze(d.normal([4, 1, 6]))],
  ['gather', (d) => tf.gather(d.normal([11, 5]), d.integers([3, 4], 11))],
  ['gather, inner axis', (d) => tf.gather(d.normal([3, 11, 5]), d.integers([4], 11), 1)],
  ['gather of int32', (d) => tf.gather(d.integers([11, 2], 99), d.integers([7], 11))],
  [
    'gatherND',
    (d) =>
      tf.gatherND(
        d.normal([5, 4, 3]),
        tf.concat([d.integers([6, 1], 5), d.integers([6, 1], 4)], 1),
      ),
  ],
  ['scatterND', (d) => tf.scatterND(d.integers([9, 1], 5), d.normal([9, 3]), [5, 3]), 1e-5],
  [
    'unsortedSegmentSum',
    (d) => tf.unsortedSegmentSum(d.normal([40, 7]), d.integers([40], 6) as never, 6),
    1e-5,
  ],
  [
    'unsortedSegmentSum, wide',
    (d) => tf.unsortedSegmentSum(d.normal([300, 150]), d.integers([300], 6) as never, 6),
    1e-5,
  ],
  [
    'gradient of gather',
    (d) =>
      tf.grad((x: Tensor) => tf.sum(tf.square(tf.gather(x, tf.tensor1d([1, 1, 0], 'int32')))))(
        d.normal([3, 4]),
      ),
  ],
  ['oneHot', (d) => tf.oneHot(d.integers([3, 4], 8), 7, 2, -1, 'float32')],
  ['oneHot of integers', (d) => tf.oneHot(d.integers([5], 8), 7)],
])

it('counts the kernels it leaves to the CPU backend, by name', async () => {
  await tf.setBackend(backends.native)
  const before = inherited?.get('TopK') ?? 0
  const { values } = tf.topk(tf.tensor1d([3, 1, 2]), 2)
  expect([...values.dataSync()]).toEqual([3, 2])
  expect(inherited?.get('TopK')).toBe(before + 1)
})

it('refuses an index out of range', async () => {
  await tf.setBackend(backends.native)
  expect(() => tf.gather(tf.zeros([3, 2]), tf.tensor1d([3], 'int32'))).toThrow(/from 0 to 2/)
})

it('leaves data that was read as it is when its tensor is disposed of', async () => {
  await tf.setBackend(backends.native)
  const x = tf.fill([100], 7)
  const data = x.dataSync()
  x.dispose()
  tf.fill([100], 8)
  expect(data.every((value) => value === 7)).toBe(true)
})

it('profiles kernels by name, with the calls left to the CPU backend', async () => {
  await tf.setBackend(backends.native)
  const before = inherited?.get('TopK') ?? 0
  const profile = new Profile({ tf, ...(inherited && { inherited }) })
  tf.matMul(tf.ones([30, 20]), tf.ones([20, 10]))
  tf.topk(tf.tensor1d([3, 1, 2]), 2)
  const calls = Object.fromEntries(profile.kernels().map((k) => [k.kernel, [k.calls, k.inherited]]))
  expect(calls).toMatchObject({ BatchMatMul: [1, 0], TopK: [1, before + 1] })
  expect(profile.kernels().every((k) => k.seconds <= profile.seconds)).toBe(true)
  expect(profile.table()).toMatch(/TopK .* 1 .* by the CPU backend/)
})
