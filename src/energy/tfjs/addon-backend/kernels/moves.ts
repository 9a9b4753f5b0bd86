/** Kernels that move numbers: other shapes, other orders, parts and joins. */
import type { TensorInfo } from '@tensorflow/tfjs-core'
import { sizeOf, typeOf, type NativeBackend } from '../addon-backend.js'
import { isNumberType } from '../storage.js'
import { input, type Kernel, type Kernels, type Tf } from './kernel.js'
import { copy, stridesOf, transposed, whole } from './strides.js'

const reshape: Kernel = (backend, inputs, attributes) => {
  const x = input(inputs, 'x')
  const size = sizeOf(x.shape)
  const wanted = attributes['shape'] as number[]
  const known = wanted.reduce((a, b) => (b === -1 ? a : a * b), 1)
  const shape = wanted.map((n) => (n === -1 ? size / known : n))
  if (sizeOf(shape) !== size || shape.some((n) => !Number.isInteger(n)))
    throw new Error(`a tensor of shape [${x.shape.join()}] has no shape [${wanted.join()}]`)
  return backend.alias(x, shape)
}

const expandDims: Kernel = (backend, inputs, attributes) => {
  const x = input(inputs, 'input')
  const dim = attributes['dim'] as number
  const shape = [...x.shape]
  shape.splice(dim < 0 ? x.shape.length + dim + 1 : dim, 0, 1)
  return backend.alias(x, shape)
}

const identity: Kernel = (backend, inputs) => {
  const x = input(inputs, 'x')
  return backend.alias(x, x.shape)
}

const transpose: Kernel = (backend, inputs, attributes) =>
  transposed(backend, input(inputs, 'x'), attributes['perm'] as number[])

/** The part of x that begins at `begin`, as a tensor of its own. */
function part(
  backend: NativeBackend,
  x: TensorInfo,
  begin: number[],
  size: number[],
): TensorInfo | null {
  if (!isNumberType(x.dtype)) return null
  const out = backend.output(size, x.dtype)
  const strides = stridesOf(x.shape)
  const offset = begin.reduce((sum, at, i) => sum + at * (strides[i] as number), 0)
  copy(backend, size, { tensor: x, offset, strides }, whole(out))
  return out
}

const slice =
  (tf: Tf): Kernel =>
  (backend, inputs, attributes) => {
    const x = input(inputs, 'x')
    const [begin, size] = tf.slice_util.parseSliceParams(
      x,
      attributes['begin'] as number[],
      attributes['size'] as number[],
    ) as [number[], number[]]
    tf.slice_util.assertParamsValid(x, begin, size)
    return part(backend, x, begin, size)
  }

const split =
  (tf: Tf): Kernel =>
  (backend, inputs, attributes) => {
    const x = input(inputs, 'x')
    if (!isNumberType(x.dtype)) return null
    const axis = tf.util.parseAxisParam(attributes['axis'] as number, x.shape)[0] as number
    const sizes = tf.backend_util.prepareSplitSize(
      x,
      attributes['numOrSizeSplits'] as number[],
      axis,
    )
    const begin = new Array<number>(x.shape.length).fill(0)
    return sizes.map((n) => {
      const size = x.shape.map((all, i) => (i === axis ? n : all))
      const out = part(backend, x, [...begin], size) as TensorInfo
      begin[axis] = (begin[axis] as number) + n
      return out
    })
  }

const concat =
  (tf: Tf): Kernel =>
  (backend, inputs, attributes) => {
    const all = Object.values(inputs)
    const [first] = all
    if (!first || !isNumberType(first.dtype) || all.some((t) => t.dtype !== first.dtype))
      return null
    const axis = tf.util.parseAxisParam(attributes['axis'] as number, first.shape)[0] as number
    const shapes = all.map((t) => t.shape)
    tf.backend_util.assertParamsConsistent(shapes, axis)
    const out = backend.output(tf.backend_util.computeOutShape(shapes, axis), first.dtype)
    const strides = stridesOf(out.shape)
    let at = 0
    for (const tensor of all) {
      const offset = at * (strides[axis] as number)
      copy(backend, tensor.shape, whole(tensor), { tensor: out, offset, strides })
      at += tensor.shape[axis] as number
    }
    return out
  }

const pack: Kernel = (backend, inputs, attributes) => {
  const all = Object.values(inputs)
  const [first] = all
  if (!first || !isNumberType(first.dtype) || all.some((t) => t.dtype !== first.dtype)) return null
  const rank = first.shape.length + 1
  const axis = ((attributes['axis'] as number) + rank) % rank
  const shape = [...first.shape]
  shape.splice(axis, 0, all.length)
  const out = backend.output(shape, first.dtype)
  const strides = stridesOf(shape)
  const each = strides.filter((_, i) => i !== axis)
  all.forEach((tensor, i) => {
    const offset = i * (strides[axis] as number)
    copy(backend, tensor.shape, whole(tensor), { tensor: out, offset, strides: each })
  })
  return out
}

const unpack: Kernel = (backend, inputs, attributes) => {
  const value = input(inputs, 'value')
  const { dtype, shape } = value
  if (!isNumberType(dtype)) return null
  const axis = ((attributes['axis'] as number) + shape.length) % shape.length
  const strides = stridesOf(shape)
  const without = (list: readonly number[]) => list.filter((_, i) => i !== axis)
  return Array.from({ length: shape[axis] as number }, (_, i) => {
    const out = backend.output(without(shape), dtype)
    const from = {
      tensor: value,
      offset: i * (strides[axis] as number),
      strides: without(strides),
    }
    copy(backend, out.shape, from, whole(out))
    return out
  })
}

const pad: Kernel = (backend, inputs, attributes) => {
  const x = input(inputs, 'x')
  if (!isNumberType(x.dtype)) return null
  const paddings = attributes['paddings'] as [number, number][]
  const shape = x.shape.map((n, i) => n + (paddings[i]?.[0] ?? 0) + (paddings[i]?.[1] ?? 0))
  const out = backend.output(shape, x.dtype)
  const value = attributes['constantValue'] as number
  backend.run('fill', [typeOf(x.dtype), backend.block(out), sizeOf(shape), value])
  const strides = stridesOf(shape)
  const offset = strides.reduce((sum, step, i) => sum + step * (paddings[i]?.[0] ?? 0), 0)
  copy(backend, x.shape, whole(x), { tensor: out, offset, strides })
  return out
}

const tile: Kernel = (backend, inputs, attributes) => {
  const x = input(inputs, 'x')
  if (!isNumberType(x.dtype)) return null
  const reps = attributes['reps'] as number[]
  const out = backend.output(
    x.shape.map((n, i) => n * (reps[i] ?? 1)),
    x.dtype,
  )
  // Every dimension becomes two: its repetitions, over which x has stride 0, and its elements.
  const strides = stridesOf(x.shape)
  const far = stridesOf(out.shape)
  const shape = x.shape.flatMap((n, i) => [reps[i] ?? 1, n])
  const from = strides.flatMap((step) => [0, step])
  const to = far.flatMap((step, i) => [step * (x.shape[i] as number), step])
  copy(
    backend,
    shape,
    { tensor: x, offset: 0, strides: from },
    { tensor: out, offset: 0, strides: to },
  )
  return out
}

const reverse =
  (tf: Tf): Kernel =>
  (backend, inputs, attributes) => {
    const x = input(inputs, 'x')
    if (!isNumberType(x.dtype)) return null
    const axes = tf.util.parseAxisParam(attributes['dims'] as number[], x.shape)
    const out = backend.output(x.shape, x.dtype)
    const strides = stridesOf(x.shape)
    const offset = axes.reduce(
      (sum, axis) => sum + ((x.shape[axis] as number) - 1) * (strides[axis] as number),
      0,
    )
    const backwards = strides.map((step, i) => (axes.includes(i) ? -step : step))
    copy(backend, x.shape, { tensor: x, offset, strides: backwards }, whole(out))
    return out
  }

export function moves(tf: Tf): Kernels {
  return {
    Reshape: reshape,
    ExpandDims: expandDims,
    Identity: identity,
    Transpose: transpose,
    Slice: slice(tf),
    SplitV: split(tf),
    Concat: concat(tf),
    Pack: pack,
    Unpack: unpack,
    PadV2: pad,
    Tile: tile,
    Reverse: reverse(tf),
  }
}
