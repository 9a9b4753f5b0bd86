/** Loops over tensors with strides, by which slices, transpositions and broadcasts are all copied. */
import type { TensorInfo } from '@tensorflow/tfjs-core'
import { sizeOf, type NativeBackend } from '../addon-backend.js'
import { isNumberType, widthOf } from '../storage.js'

/** Distance of neighbours in each dimension of a dense tensor. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length)
  let step = 1
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step
    step *= shape[i] as number
  }
  return strides
}

/**
 * Rank, dimensions and the strides of both operands, as the addon reads them. Neighbouring dimensions
 * that both operands step through evenly are merged into one.
 */
export function stridedLoop(
  shape: readonly number[],
  first: readonly number[],
  second: readonly number[],
): number[] {
  const dims: number[] = []
  const a: number[] = []
  const b: number[] = []
  for (let i = 0; i < shape.length; i++) {
    const n = shape[i] as number
    if (n === 1) continue
    const [stepA, stepB] = [first[i] as number, second[i] as number]
    const last = dims.length - 1
    if (last >= 0 && a[last] === stepA * n && b[last] === stepB * n) {
      dims[last] = (dims[last] as number) * n
      a[last] = stepA
      b[last] = stepB
    } else {
      dims.push(n)
      a.push(stepA)
      b.push(stepB)
    }
  }
  return [dims.length, ...dims, ...a, ...b]
}

/** A view of a tensor: where it begins, and the distance of neighbours in each dimension. */
export interface View {
  tensor: TensorInfo
  offset: number
  strides: readonly number[]
}

/** Copies the elements of one view to another. */
export function copy(backend: NativeBackend, shape: readonly number[], from: View, to: View): void {
  const { dtype } = from.tensor
  if (!isNumberType(dtype) || sizeOf(shape) === 0) return
  backend.run('copy', [
    widthOf(dtype),
    backend.block(from.tensor),
    from.offset,
    backend.block(to.tensor),
    to.offset,
    ...stridedLoop(shape, from.strides, to.strides),
  ])
}

export const whole = (tensor: TensorInfo): View => ({
  tensor,
  offset: 0,
  strides: stridesOf(tensor.shape),
})

export function transposed(
  backend: NativeBackend,
  x: TensorInfo,
  order: readonly number[],
): TensorInfo | null {
  if (!isNumberType(x.dtype)) return null
  const shape = order.map((axis) => x.shape[axis] as number)
  const out = backend.output(shape, x.dtype)
  const strides = stridesOf(x.shape)
  copy(
    backend,
    shape,
    { tensor: x, offset: 0, strides: order.map((axis) => strides[axis] as number) },
    whole(out),
  )
  return out
}
