/** Matrix products, sums and extremes, and the ops of whole rows. */
import type { TensorInfo } from '@tensorflow/tfjs-core'
import { sizeOf, type NativeBackend } from '../addon-backend.js'
import { reductions } from '../calls.js'
import { scaled } from './elementwise.js'
import { input, type Kernel, type Kernels, type Tf } from './kernel.js'
import { transposed } from './strides.js'

const matMul =
  (tf: Tf): Kernel =>
  (backend, inputs, attributes) => {
    const [a, b] = [input(inputs, 'a'), input(inputs, 'b')]
    if (a.dtype !== 'float32' || b.dtype !== 'float32') return null
    const { transposeA, transposeB } = attributes as { transposeA: boolean; transposeB: boolean }
    const [outerA, outerB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)]
    const [batchA, batchB] = [sizeOf(outerA), sizeOf(outerB)]
    const batch = Math.max(batchA, batchB)
    if ((batchA !== batch && batchA !== 1) || (batchB !== batch && batchB !== 1)) return null
    const outer = tf.backend_util.assertAndGetBroadcastShape(outerA, outerB)
    const at = (t: TensorInfo, fromEnd: number) => t.shape[t.shape.length - fromEnd] as number
    const [m, k] = transposeA ? [at(a, 1), at(a, 2)] : [at(a, 2), at(a, 1)]
    const [inner, n] = transposeB ? [at(b, 1), at(b, 2)] : [at(b, 2), at(b, 1)]
    if (k !== inner) throw new Error(`a product of [${a.shape.join()}] and [${b.shape.join()}]`)
    const out = backend.output([...outer, m, n], 'float32')
    if (sizeOf(out.shape) === 0) return out
    const blocks = [a, b, out].map((t) => backend.block(t))
    const transposes = [Number(transposeA), Number(transposeB)]
    const many = [Number(batchA > 1), Number(batchB > 1)]
    backend.run('matmul', [...blocks, batch, m, n, k, ...transposes, ...many])
    return out
  }

/** x as [outer, n, inner], where n is reduced; x is transposed first where the axes are not neighbours. */
function asOuterInner(
  backend: NativeBackend,
  x: TensorInfo,
  axes: readonly number[],
): { tensor: TensorInfo; outer: number; n: number; inner: number } {
  const reduced = new Set(axes)
  const long = x.shape.flatMap((n, i) => (n === 1 ? [] : [i]))
  const first = long.findIndex((i) => reduced.has(i))
  const last = long.findLastIndex((i) => reduced.has(i))
  const n = sizeOf(axes.map((i) => x.shape[i] as number))
  if (first === -1) return { tensor: x, outer: sizeOf(x.shape), n, inner: 1 }
  const size = (from: number, to: number) =>
    sizeOf(long.slice(from, to).map((i) => x.shape[i] as number))
  if (long.slice(first, last + 1).every((i) => reduced.has(i)))
    return { tensor: x, outer: size(0, first), n, inner: size(last + 1, long.length) }
  const kept = x.shape.map((_, i) => i).filter((i) => !reduced.has(i))
  const tensor = transposed(backend, x, [...kept, ...axes]) as TensorInfo
  return { tensor, outer: sizeOf(kept.map((i) => x.shape[i] as number)), n, inner: 1 }
}

function reduced(
  tf: Tf,
  backend: NativeBackend,
  x: TensorInfo,
  op: keyof typeof reductions,
  axis: number | number[],
  keepDims: boolean,
): { out: TensorInfo; n: number } | null {
  if (x.dtype !== 'float32') return null
  const axes = tf.util.parseAxisParam(axis, x.shape)
  const { tensor, outer, n, inner } = asOuterInner(backend, x, axes)
  const [short] = tf.backend_util.computeOutAndReduceShapes(x.shape, axes)
  const shape = keepDims ? tf.backend_util.expandShapeToKeepDim(short, axes) : short
  const out = backend.output(shape, 'float32')
  const blocks = [tensor, out].map((t) => backend.block(t))
  if (sizeOf(shape) > 0) backend.run('reduce', [reductions[op], ...blocks, outer, n, inner])
  if (tensor !== x) backend.disposeIntermediateTensorInfo(tensor)
  return { out, n }
}

const reduction =
  (tf: Tf, op: keyof typeof reductions, axisName: string): Kernel =>
  (backend, inputs, attributes) =>
    reduced(
      tf,
      backend,
      input(inputs, 'x'),
      op,
      attributes[axisName] as number[],
      attributes['keepDims'] as boolean,
    )?.out ?? null

const mean =
  (tf: Tf): Kernel =>
  (backend, inputs, attributes) => {
    const { axis, keepDims } = attributes as { axis: number[]; keepDims: boolean }
    const sum = reduced(tf, backend, input(inputs, 'x'), 'sum', axis, keepDims)
    if (!sum) return null
    const out = scaled(backend, sum.out, 1 / sum.n)
    backend.disposeIntermediateTensorInfo(sum.out)
    return out
  }

/** x with `axis` moved to the end, and the order of axes that does so. */
function withLast(backend: NativeBackend, x: TensorInfo, axis: number) {
  const others = x.shape.map((_, i) => i).filter((i) => i !== axis)
  const order = [...others, axis]
  const moved = axis !== x.shape.length - 1
  const tensor = moved ? (transposed(backend, x, order) as TensorInfo) : x
  const release = () => {
    if (moved) backend.disposeIntermediateTensorInfo(tensor)
  }
  return { tensor, order, moved, release }
}

/** The indices at which rows along `axis` are largest or smallest. */
const argument =
  (tf: Tf, op: 'max' | 'min'): Kernel =>
  (backend, inputs, attributes) => {
    const x = input(inputs, 'x')
    if (x.dtype !== 'float32') return null
    const axis = tf.util.parseAxisParam(attributes['axis'] as number, x.shape)[0] as number
    const { tensor, release } = withLast(backend, x, axis)
    const out = backend.output(tensor.shape.slice(0, -1), 'int32')
    backend.run('argument', [
      reductions[op],
      backend.block(tensor),
      backend.block(out),
      ...rowsOf(tensor),
    ])
    release()
    return out
  }

const rowsOf = (x: TensorInfo): [number, number] => {
  const width = x.shape.at(-1) ?? 1
  return [width === 0 ? 0 : sizeOf(x.shape) / width, width]
}

const softmax =
  (op: 'softmax' | 'logSoftmax', name: string): Kernel =>
  (backend, inputs) => {
    const logits = input(inputs, name)
    if (logits.dtype !== 'float32') return null
    const out = backend.output(logits.shape, 'float32')
    backend.run(op, [backend.block(logits), backend.block(out), ...rowsOf(logits)])
    return out
  }

const cumulate =
  (tf: Tf): Kernel =>
  (backend, inputs, attributes) => {
    const x = input(inputs, 'x')
    if (x.dtype !== 'float32') return null
    const { exclusive, reverse } = attributes as { exclusive: boolean; reverse: boolean }
    const axis = tf.util.parseAxisParam(attributes['axis'] as number, x.shape)[0] as number
    const { tensor, order, moved, release } = withLast(backend, x, axis)
    const out = backend.output(tensor.shape, 'float32')
    const blocks = [tensor, out].map((t) => backend.block(t))
    backend.run('cumulate', [...blocks, ...rowsOf(tensor), Number(exclusive), Number(reverse)])
    release()
    if (!moved) return out
    const back = transposed(
      backend,
      out,
      order.map((_, i) => order.indexOf(i)),
    )
    backend.disposeIntermediateTensorInfo(out)
    return back
  }

export function products(tf: Tf): Kernels {
  return {
    BatchMatMul: matMul(tf),
    Sum: reduction(tf, 'sum', 'axis'),
    Max: reduction(tf, 'max', 'reductionIndices'),
    Min: reduction(tf, 'min', 'axis'),
    Mean: mean(tf),
    ArgMax: argument(tf, 'max'),
    ArgMin: argument(tf, 'min'),
    Softmax: softmax('softmax', 'logits'),
    LogSoftmax: softmax('logSoftmax', 'logits'),
    Cumsum: cumulate(tf),
  }
}
