/** Kernels with indices: gathering, scattering and their gradients, one-hot. */
import type { DataType, TensorInfo } from '@tensorflow/tfjs-core'
import { sizeOf, typeOf, type NativeBackend } from '../addon-backend.js'
import { isNumberType, widthOf } from '../storage.js'
import { input, type Kernel, type Kernels, type Tf } from './kernel.js'
import { stridesOf } from './strides.js'

const gather =
  (tf: Tf): Kernel =>
  (backend, inputs, attributes) => {
    const [x, indices] = [input(inputs, 'x'), input(inputs, 'indices')]
    if (!isNumberType(x.dtype) || indices.dtype !== 'int32' || attributes['batchDims'] !== 0)
      return null
    const axis = tf.util.parseAxisParam(attributes['axis'] as number, x.shape)[0] as number
    const [before, after] = [x.shape.slice(0, axis), x.shape.slice(axis + 1)]
    const out = backend.output([...before, ...indices.shape, ...after], x.dtype)
    backend.run('gather', [
      widthOf(x.dtype),
      backend.block(x),
      backend.block(indices),
      backend.block(out),
      sizeOf(before),
      x.shape[axis] as number,
      sizeOf(after),
      sizeOf(indices.shape),
    ])
    return out
  }

/** Sums of rows [n, inner] of x by their id. */
function summedRows(
  backend: NativeBackend,
  x: TensorInfo,
  ids: TensorInfo,
  shape: number[],
  segments: number,
  strict: boolean,
): TensorInfo {
  const out = backend.output(shape, 'float32')
  const n = sizeOf(ids.shape)
  const inner = segments === 0 ? 0 : sizeOf(shape) / segments
  backend.run('segmentSum', [
    backend.block(x),
    backend.block(ids),
    backend.block(out),
    n,
    segments,
    inner,
    Number(strict),
  ])
  return out
}

const segmentSum: Kernel = (backend, inputs, attributes) => {
  const [x, ids] = [input(inputs, 'x'), input(inputs, 'segmentIds')]
  if (x.dtype !== 'float32' || ids.dtype !== 'int32') return null
  const segments = attributes['numSegments'] as number
  const shape = [segments, ...x.shape.slice(ids.shape.length)]
  return summedRows(backend, x, ids, shape, segments, false)
}

/** The flat index, among the first dimensions of `shape`, of each row of `indices`. */
function flatIndices(
  backend: NativeBackend,
  indices: TensorInfo,
  shape: readonly number[],
): TensorInfo {
  const depth = indices.shape.at(-1) as number
  const dims = shape.slice(0, depth)
  const n = depth === 0 ? 0 : sizeOf(indices.shape) / depth
  const out = backend.output([n], 'int32')
  const steps = stridesOf(dims)
  const pairs = dims.flatMap((dim, i) => [dim, steps[i] as number])
  backend.run('flatIndex', [backend.block(indices), backend.block(out), n, depth, ...pairs])
  return out
}

const scatter: Kernel = (backend, inputs, attributes) => {
  const [indices, updates] = [input(inputs, 'indices'), input(inputs, 'updates')]
  const shape = attributes['shape'] as number[]
  if (updates.dtype !== 'float32' || indices.dtype !== 'int32' || sizeOf(shape) === 0) return null
  const flat = flatIndices(backend, indices, shape)
  const segments = sizeOf(shape.slice(0, indices.shape.at(-1)))
  const out = summedRows(backend, updates, flat, shape, segments, true)
  backend.disposeIntermediateTensorInfo(flat)
  return out
}

const gatherNd: Kernel = (backend, inputs) => {
  const [x, indices] = [input(inputs, 'params'), input(inputs, 'indices')]
  if (!isNumberType(x.dtype) || indices.dtype !== 'int32' || sizeOf(x.shape) === 0) return null
  const depth = indices.shape.at(-1) as number
  const flat = flatIndices(backend, indices, x.shape)
  const inner = x.shape.slice(depth)
  const out = backend.output([...indices.shape.slice(0, -1), ...inner], x.dtype)
  const blocks = [x, flat, out].map((t) => backend.block(t))
  const axis = sizeOf(x.shape.slice(0, depth))
  backend.run('gather', [widthOf(x.dtype), ...blocks, 1, axis, sizeOf(inner), sizeOf(flat.shape)])
  backend.disposeIntermediateTensorInfo(flat)
  return out
}

const oneHot: Kernel = (backend, inputs, attributes) => {
  const indices = input(inputs, 'indices')
  const { depth, onValue, offValue, dtype } = attributes as {
    depth: number
    onValue: number
    offValue: number
    dtype: DataType
  }
  if (indices.dtype !== 'int32' || !isNumberType(dtype)) return null
  const out = backend.output([...indices.shape, depth], dtype)
  backend.run('oneHot', [
    typeOf(dtype),
    backend.block(indices),
    backend.block(out),
    sizeOf(indices.shape),
    depth,
    onValue,
    offValue,
  ])
  return out
}

export function indices(tf: Tf): Kernels {
  return {
    GatherV2: gather(tf),
    GatherNd: gatherNd,
    UnsortedSegmentSum: segmentSum,
    ScatterNd: scatter,
    OneHot: oneHot,
  }
}
