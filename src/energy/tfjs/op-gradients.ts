/**
 * The gradients of the ops that Basin's models and objectives are made of. `@tensorflow/tfjs-core` comes
 * without any; those that it has are ES modules that Node cannot load. An op that is missing here has no
 * gradient: TensorFlow.js throws its name where one is asked for.
 *
 * A gradient is written in ops that have gradients themselves, and of inputs where it can be, so that second
 * derivatives are right. That of softmax and of log-softmax takes the saved output, which TensorFlow.js does
 * not differentiate: only the first derivative of these two is right.
 */
import type * as TfCore from '@tensorflow/tfjs-core'
import type { GradConfig, NamedAttrMap, Tensor, Tensor1D } from '@tensorflow/tfjs-core'

type Tf = typeof TfCore

type Slopes = Record<string, () => Tensor>

/** Of an op with one output. `dy`: the derivative with respect to that output. */
interface Gradient {
  kernelName: string
  /** The inputs that `slopes` is given, in this order. */
  of?: string[]
  /** It is given the output too, after the inputs. */
  ofOutput?: true
  slopes: (dy: Tensor, saved: readonly Tensor[], attributes: NamedAttrMap) => Slopes
}

const asConfig = ({ kernelName, of, ofOutput, slopes }: Gradient): GradConfig => ({
  kernelName,
  ...(of && { inputsToSave: of }),
  ...(ofOutput && { outputsToSave: [true] }),
  gradFunc: (dy, saved, attributes) => slopes(dy as Tensor, saved, attributes),
})

/** Sums over the axes along which an operand of `shape` was repeated. */
function summedTo(tf: Tf, shape: number[], dy: Tensor): Tensor {
  const axes = tf.broadcast_util.getReductionAxes(shape, dy.shape)
  return tf.reshape(axes.length > 0 ? tf.sum(dy, axes) : dy, shape)
}

/** Operands a and b, repeated to a common shape; `da` and `db` are of that shape. */
function ofTwo(
  tf: Tf,
  kernelName: string,
  da: (dy: Tensor, a: Tensor, b: Tensor) => Tensor,
  db: (dy: Tensor, a: Tensor, b: Tensor) => Tensor,
): GradConfig {
  return asConfig({
    kernelName,
    of: ['a', 'b'],
    slopes: (dy, saved) => {
      const [a, b] = saved as [Tensor, Tensor]
      return {
        a: () => summedTo(tf, a.shape, da(dy, a, b)),
        b: () => summedTo(tf, b.shape, db(dy, a, b)),
      }
    },
  })
}

/** An op on each number of x. */
const ofEach = (kernelName: string, dx: (dy: Tensor, x: Tensor) => Tensor): GradConfig =>
  asConfig({
    kernelName,
    of: ['x'],
    slopes: (dy, saved) => {
      const [x] = saved as [Tensor]
      return { x: () => dx(dy, x) }
    },
  })

/** An op whose result has the numbers of its input in another shape. */
const ofShape = (tf: Tf, kernelName: string, input: string): GradConfig =>
  asConfig({
    kernelName,
    of: [input],
    slopes: (dy, saved) => ({ [input]: () => tf.reshape(dy, (saved[0] as Tensor).shape) }),
  })

const arithmetic = (tf: Tf): GradConfig[] => [
  ofTwo(
    tf,
    'Add',
    (dy) => dy,
    (dy) => dy,
  ),
  ofTwo(
    tf,
    'Sub',
    (dy) => dy,
    (dy) => tf.neg(dy),
  ),
  ofTwo(
    tf,
    'Multiply',
    (dy, _, b) => tf.mul(dy, b),
    (dy, a) => tf.mul(dy, a),
  ),
  ofTwo(
    tf,
    'RealDiv',
    (dy, _, b) => tf.div(dy, b),
    (dy, a, b) => tf.neg(tf.div(tf.mul(dy, a), tf.square(b))),
  ),
  ofTwo(
    tf,
    'Maximum',
    (dy, a, b) => tf.mul(dy, tf.sub(1, tf.step(tf.sub(b, a)))),
    (dy, a, b) => tf.mul(dy, tf.step(tf.sub(b, a))),
  ),
  ofTwo(
    tf,
    'Pow',
    (dy, a, b) => tf.mul(dy, tf.mul(b, tf.pow(a, tf.sub(b, 1)))),
    (dy, a, b) => tf.mul(dy, tf.mul(tf.pow(a, b), tf.log(a))),
  ),
  {
    kernelName: 'AddN',
    saveAllInputs: true,
    gradFunc: (dy, saved) => byPosition(saved.map(() => () => tf.clone(dy as Tensor))),
  },
]

/** The slopes of an op that takes a list of tensors. */
const byPosition = (slopes: readonly (() => Tensor)[]): Slopes =>
  Object.fromEntries(slopes.map((slope, i) => [String(i), slope]))

const elementwise = (tf: Tf): GradConfig[] => [
  ofEach('Neg', (dy) => tf.neg(dy)),
  ofEach('Identity', (dy) => tf.clone(dy)),
  ofEach('Cast', (dy) => tf.clone(dy)),
  ofEach('ZerosLike', (dy) => tf.zerosLike(dy)),
  ofEach('Step', (dy) => tf.zerosLike(dy)),
  ofEach('Abs', (dy, x) => tf.mul(dy, tf.sign(x))),
  ofEach('Sign', (dy) => tf.zerosLike(dy)),
  ofEach('Relu', (dy, x) => tf.mul(dy, tf.step(x))),
  ofEach('Square', (dy, x) => tf.mul(dy, tf.mul(x, 2))),
  ofEach('Sqrt', (dy, x) => tf.div(dy, tf.mul(tf.sqrt(x), 2))),
  ofEach('Rsqrt', (dy, x) => tf.mul(tf.mul(dy, -0.5), tf.div(tf.rsqrt(x), x))),
  ofEach('Exp', (dy, x) => tf.mul(dy, tf.exp(x))),
  ofEach('Log', (dy, x) => tf.div(dy, x)),
  ofEach('Softplus', (dy, x) => tf.mul(dy, tf.sigmoid(x))),
  clip(tf),
  ofEach('Sigmoid', (dy, x) => {
    const s = tf.sigmoid(x)
    return tf.mul(dy, tf.mul(s, tf.sub(1, s)))
  }),
]

/** `share`: the derivative of the result by each number, of which `summed` were summed. */
const sumOrMean = (tf: Tf, kernelName: string, share: (summed: number) => number): GradConfig =>
  asConfig({
    kernelName,
    of: ['x'],
    slopes: (dy, saved, { axis }) => {
      const { shape, size } = saved[0] as Tensor
      const axes = tf.util.parseAxisParam(axis as number | number[], shape)
      const kept = shape.map((length, i) => (axes.includes(i) ? 1 : length))
      const each = tf.fill(shape, share(size / dy.size))
      return { x: () => tf.mul(tf.reshape(dy, kept), each) }
    },
  })

/** Numbers that were clipped have no slope. Comparisons would have none: steps do. */
const clip = (tf: Tf): GradConfig =>
  asConfig({
    kernelName: 'ClipByValue',
    of: ['x'],
    slopes: (dy, saved, { clipValueMax, clipValueMin }) => {
      const [x] = saved as [Tensor]
      const below = tf.step(tf.sub(clipValueMin as number, x))
      const above = tf.step(tf.sub(x, clipValueMax as number))
      return { x: () => tf.mul(dy, tf.sub(1, tf.add(below, above))) }
    },
  })

/** Reductions, and ops along one axis. */
const alongAxes = (tf: Tf): GradConfig[] => [
  sumOrMean(tf, 'Sum', () => 1),
  sumOrMean(tf, 'Mean', (summed) => 1 / summed),
  asConfig({
    kernelName: 'Softmax',
    ofOutput: true,
    slopes: (dy, saved) => {
      const [y] = saved as [Tensor]
      const weighted = tf.mul(dy, y)
      return { logits: () => tf.sub(weighted, tf.mul(tf.sum(weighted, -1, true), y)) }
    },
  }),
  asConfig({
    kernelName: 'LogSoftmax',
    ofOutput: true,
    slopes: (dy, saved) => {
      const [y] = saved as [Tensor]
      return { logits: () => tf.sub(dy, tf.mul(tf.sum(dy, -1, true), tf.exp(y))) }
    },
  }),
]

const products = (tf: Tf): GradConfig[] => [
  asConfig({
    kernelName: 'BatchMatMul',
    of: ['a', 'b'],
    slopes: (dy, saved, { transposeA, transposeB }) => {
      const [a, b] = saved as [Tensor, Tensor]
      // With A = a or its transpose, and B likewise: dA = dy B', dB = A' dy.
      const [ta, tb] = [transposeA === true, transposeB === true]
      return {
        a: () => (ta ? tf.matMul(b, dy, tb, true) : tf.matMul(dy, b, false, !tb)),
        b: () => (tb ? tf.matMul(dy, a, true, ta) : tf.matMul(a, dy, !ta, false)),
      }
    },
  }),
]

const moves = (tf: Tf): GradConfig[] => [
  ofShape(tf, 'Reshape', 'x'),
  ofShape(tf, 'ExpandDims', 'input'),
  asConfig({
    kernelName: 'Transpose',
    slopes: (dy, _, { perm }) => {
      const order = perm as number[]
      return {
        x: () =>
          tf.transpose(
            dy,
            [...order.keys()].map((i) => order.indexOf(i)),
          ),
      }
    },
  }),
  asConfig({
    kernelName: 'Slice',
    of: ['x'],
    slopes: (dy, saved, { begin }) => {
      const { shape } = saved[0] as Tensor
      const starts = begin as number[]
      const around = shape.map((size, i): [number, number] => {
        const before = starts[i] ?? 0
        return [before, size - before - (dy.shape[i] as number)]
      })
      return { x: () => tf.pad(dy, around) }
    },
  }),
  asConfig({
    kernelName: 'PadV2',
    of: ['x'],
    slopes: (dy, saved, { paddings }) => {
      const begin = (paddings as unknown as [number, number][]).map(([before]) => before)
      return { x: () => tf.slice(dy, begin, (saved[0] as Tensor).shape) }
    },
  }),
  asConfig({
    kernelName: 'Tile',
    of: ['x'],
    slopes: (dy, saved, { reps }) => {
      const { shape } = saved[0] as Tensor
      // Each axis becomes two: which copy, and where in it.
      const copies = shape.flatMap((size, i) => [(reps as number[])[i] as number, size])
      const axes = shape.map((_, i) => 2 * i)
      return { x: () => tf.sum(tf.reshape(dy, copies), axes) }
    },
  }),
  {
    kernelName: 'Concat',
    saveAllInputs: true,
    gradFunc: (dy, saved, { axis }) => {
      const sizes = saved.map(({ shape }) => shape[axis as number] as number)
      const parts = tf.split(dy as Tensor, sizes, axis as number)
      return byPosition(parts.map((part) => () => part))
    },
  },
  {
    kernelName: 'SplitV',
    gradFunc: (dys, _, { axis }) => ({ x: () => tf.concat(dys as Tensor[], axis as number) }),
  },
  {
    kernelName: 'Pack',
    saveAllInputs: true,
    gradFunc: (dy, _, { axis }) =>
      byPosition(tf.unstack(dy as Tensor, axis as number).map((part) => () => part)),
  },
  {
    kernelName: 'Unpack',
    gradFunc: (dys, _, { axis }) => ({ value: () => tf.stack(dys as Tensor[], axis as number) }),
  },
  asConfig({
    kernelName: 'Select',
    of: ['condition'],
    slopes: (dy, saved) => {
      const [condition] = saved as [Tensor]
      const zeros = tf.zerosLike(dy)
      return {
        condition: () => tf.zeros(condition.shape),
        t: () => tf.where(condition, dy, zeros),
        e: () => tf.where(condition, zeros, dy),
      }
    },
  }),
]

const indices = (tf: Tf): GradConfig[] => [
  asConfig({
    kernelName: 'GatherV2',
    of: ['x', 'indices'],
    slopes: (dy, saved, { axis, batchDims }) => {
      const [x, ids] = saved as [Tensor, Tensor]
      if (axis !== 0 || batchDims !== 0)
        throw new Error('the gradient of a gather is defined along the first axis only')
      const rows = tf.reshape(dy, [ids.size, ...x.shape.slice(1)])
      const flat: Tensor1D = tf.reshape(ids, [ids.size])
      return {
        x: () => tf.unsortedSegmentSum(rows, flat, x.shape[0]),
        indices: () => tf.zeros(ids.shape),
      }
    },
  }),
  asConfig({
    kernelName: 'UnsortedSegmentSum',
    of: ['segmentIds'],
    slopes: (dy, saved) => ({ x: () => tf.gather(dy, saved[0] as Tensor) }),
  }),
]

const registered = new WeakSet<Tf>()

/** Once for each TensorFlow.js; its registry warns of a gradient that is registered again. */
export function registerGradients(tf: Tf): void {
  if (registered.has(tf)) return
  registered.add(tf)
  for (const part of [arithmetic, elementwise, alongAxes, products, moves, indices])
    for (const gradient of part(tf)) tf.registerGradient(gradient)
}
