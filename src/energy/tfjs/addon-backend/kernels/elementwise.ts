/** Elementwise kernels: functions of one and two operands, comparisons, choices and casts. */
import type { DataType, TensorInfo } from '@tensorflow/tfjs-core'
import { sizeOf, typeOf, type NativeBackend } from '../addon-backend.js'
import { binaries, scaleBy, unaries, type BinaryName, type NumberType } from '../calls.js'
import { isNumberType } from '../storage.js'
import { input, type Kernel, type Kernels, type Tf } from './kernel.js'
import { stridedLoop, stridesOf } from './strides.js'

function applied(
  backend: NativeBackend,
  op: number,
  x: TensorInfo,
  p: number,
  q: number,
): TensorInfo | null {
  if (x.dtype !== 'float32') return null
  const out = backend.output(x.shape, 'float32')
  backend.run('unary', [op, backend.block(x), backend.block(out), sizeOf(x.shape), p, q])
  return out
}

/** x times a number, in a new tensor. */
export const scaled = (backend: NativeBackend, x: TensorInfo, factor: number): TensorInfo =>
  applied(backend, scaleBy, x, factor, 0) as TensorInfo

/** The parameters p and q of the functions that have them. */
function parameters(name: string, attributes: Readonly<Record<string, unknown>>): [number, number] {
  if (name === 'ClipByValue')
    return [attributes['clipValueMin'] as number, attributes['clipValueMax'] as number]
  return name === 'Step' ? [attributes['alpha'] as number, 0] : [0, 0]
}

const unary =
  (name: string, op: number): Kernel =>
  (backend, inputs, attributes) => {
    const [p, q] = parameters(name, attributes)
    return applied(backend, op, input(inputs, 'x'), p, q)
  }

/** Strides of a dense operand over the shape it is broadcast to. */
function broadcastStrides(shape: readonly number[], to: readonly number[]): number[] {
  const strides = stridesOf(shape)
  const missing = to.length - shape.length
  return to.map((_, i) =>
    i < missing || shape[i - missing] === 1 ? 0 : strides[i - missing],
  ) as number[]
}

const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((n, i) => n === b[i])

/** The type of an op's result for operands of a type; null where the addon does not compute it. */
function resultOf(name: BinaryName, dtype: DataType): NumberType | null {
  if (!isNumberType(dtype)) return null
  const op = binaries.indexOf(name)
  if (op >= binaries.indexOf('LogicalAnd')) return dtype === 'bool' ? 'bool' : null
  if (op >= binaries.indexOf('Equal')) return 'bool'
  if (dtype === 'bool') return null
  const ofRealsOnly = name === 'RealDiv' || name === 'Pow'
  return dtype === 'int32' && ofRealsOnly ? null : dtype
}

const binary =
  (tf: Tf, name: BinaryName): Kernel =>
  (backend, inputs) => {
    const [a, b] = [input(inputs, 'a'), input(inputs, 'b')]
    const dtype = a.dtype === b.dtype ? resultOf(name, a.dtype) : null
    if (dtype === null) return null
    const same = sameShape(a.shape, b.shape)
    const shape = same ? a.shape : tf.backend_util.assertAndGetBroadcastShape(a.shape, b.shape)
    const out = backend.output(shape, dtype)
    const n = sizeOf(shape)
    if (n === 0) return out
    const numbers = [
      binaries.indexOf(name),
      typeOf(a.dtype),
      backend.block(a),
      backend.block(b),
      backend.block(out),
    ]
    if (same) numbers.push(1, n, 1, 1)
    else
      numbers.push(
        ...stridedLoop(shape, broadcastStrides(a.shape, shape), broadcastStrides(b.shape, shape)),
      )
    backend.run('binary', numbers)
    return out
  }

const select: Kernel = (backend, inputs) => {
  const [condition, a, b] = [input(inputs, 'condition'), input(inputs, 't'), input(inputs, 'e')]
  if (condition.dtype !== 'bool' || a.dtype !== b.dtype) return null
  if (a.dtype !== 'float32' && a.dtype !== 'int32') return null
  if (!sameShape(condition.shape, a.shape)) return null
  const out = backend.output(a.shape, a.dtype)
  const blocks = [condition, a, b, out].map((t) => backend.block(t))
  backend.run('select', [...blocks, sizeOf(a.shape)])
  return out
}

const cast: Kernel = (backend, inputs, attributes) => {
  const x = input(inputs, 'x')
  const dtype = attributes['dtype'] as DataType
  if (!isNumberType(dtype) || !isNumberType(x.dtype)) return null
  if (dtype === x.dtype) return backend.alias(x, x.shape)
  const out = backend.output(x.shape, dtype)
  backend.run('cast', [
    typeOf(x.dtype),
    typeOf(dtype),
    backend.block(x),
    backend.block(out),
    sizeOf(x.shape),
  ])
  return out
}

function filled(
  backend: NativeBackend,
  shape: number[],
  dtype: DataType,
  value: number,
): TensorInfo | null {
  if (!isNumberType(dtype)) return null
  const out = backend.output(shape, dtype)
  backend.run('fill', [typeOf(dtype), backend.block(out), sizeOf(shape), value])
  return out
}

const fill: Kernel = (backend, _, attributes) => {
  const { shape, value, dtype } = attributes as {
    shape: number[]
    value: unknown
    dtype?: DataType
  }
  return typeof value === 'number' ? filled(backend, shape, dtype ?? 'float32', value) : null
}

const like =
  (value: number): Kernel =>
  (backend, inputs) => {
    const x = input(inputs, 'x')
    return filled(backend, x.shape, x.dtype, value)
  }

const addAll: Kernel = (backend, inputs) => {
  const all = Object.values(inputs)
  const [first] = all
  if (!first || all.some((t) => t.dtype !== 'float32' || !sameShape(t.shape, first.shape)))
    return null
  const out = backend.output(first.shape, 'float32')
  const blocks = all.map((t) => backend.block(t))
  backend.run('addAll', [all.length, ...blocks, backend.block(out), sizeOf(first.shape)])
  return out
}

export function elementwise(tf: Tf): Kernels {
  return {
    ...Object.fromEntries(unaries.map((name, op) => [name, unary(name, op)])),
    ...Object.fromEntries(binaries.map((name) => [name, binary(tf, name)])),
    Select: select,
    Cast: cast,
    Fill: fill,
    ZerosLike: like(0),
    OnesLike: like(1),
    AddN: addAll,
  }
}
