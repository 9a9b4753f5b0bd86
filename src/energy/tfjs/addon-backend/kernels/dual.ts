/** Kernels of values together with a directional derivative (../../numbers.ts), and those of their gradients. */
import type { TensorInfo } from '@tensorflow/tfjs-core'
import { sizeOf, type NativeBackend } from '../addon-backend.js'
import { input, type Inputs, type Kernel, type Kernels } from './kernel.js'

const blocksOf = (backend: NativeBackend, tensors: readonly TensorInfo[]): number[] =>
  tensors.map((t) => backend.block(t))

/** -1 where there is no tensor. */
const optionalBlocks = (
  backend: NativeBackend,
  tensors: readonly (TensorInfo | undefined)[],
): number[] => tensors.map((t) => (t ? backend.block(t) : -1))

/** The inputs of these names, in order. */
const given = (inputs: Inputs, names: string): TensorInfo[] =>
  names.split(' ').map((name) => input(inputs, name))

const outputsLike = (backend: NativeBackend, tensors: readonly TensorInfo[]): TensorInfo[] =>
  tensors.map((t) => backend.output(t.shape, 'float32'))

const gate: Kernel = (backend, inputs) => {
  const [a, b, ta, tb] = given(inputs, 'a b ta tb') as [
    TensorInfo,
    TensorInfo,
    TensorInfo,
    TensorInfo,
  ]
  const outs = outputsLike(backend, [a, a])
  backend.run('gateDual', [sizeOf(a.shape), ...blocksOf(backend, [a, b, ta, tb, ...outs])])
  return outs
}

const gateGradient: Kernel = (backend, inputs) => {
  const all = given(inputs, 'a b ta tb g h')
  const outs = outputsLike(backend, all.slice(0, 4))
  const size = sizeOf((all[0] as TensorInfo).shape)
  backend.run('gateDualGradient', [size, ...blocksOf(backend, [...all, ...outs])])
  return outs
}

const norm: Kernel = (backend, inputs, attributes) => {
  const [x, t, w] = given(inputs, 'x t w') as [TensorInfo, TensorInfo, TensorInfo]
  const width = sizeOf(w.shape)
  const rows = sizeOf(x.shape) / width
  const outs = [...outputsLike(backend, [x, t]), backend.output([rows], 'float32')]
  const blocks = blocksOf(backend, [x, t, w, ...outs])
  backend.run('normDual', [rows, width, attributes['eps'] as number, ...blocks])
  return outs
}

const normGradient: Kernel = (backend, inputs) => {
  const all = given(inputs, 'x t w r g h')
  const [x, t, w] = all as [TensorInfo, TensorInfo, TensorInfo]
  const width = sizeOf(w.shape)
  const outs = outputsLike(backend, [x, t, w])
  const blocks = blocksOf(backend, [...all, ...outs])
  backend.run('normDualGradient', [sizeOf(x.shape) / width, width, ...blocks])
  return outs
}

/** B, H, N, T, K, and the sizes of the mask, which is [B or 1, 1, N or 1, T]. */
function scoresOf(context: TensorInfo, own: TensorInfo, mask: TensorInfo | undefined): number[] {
  const [b, h, n, t] = context.shape as [number, number, number, number]
  const [maskRows, , maskPositions] = (mask?.shape ?? [1, 1, 1]) as [number, number, number]
  return [b, h, n, t, own.shape[3] as number, maskRows, maskPositions]
}

const jointSoftmax: Kernel = (backend, inputs) => {
  const [context, own] = given(inputs, 'context own') as [TensorInfo, TensorInfo]
  const { mask, contextTangent, ownTangent } = inputs
  const outs = outputsLike(backend, contextTangent ? [context, own, context, own] : [context, own])
  const all = [
    context,
    mask,
    own,
    contextTangent,
    ownTangent,
    ...outs,
    ...(contextTangent ? [] : [undefined, undefined]),
  ]
  backend.run('jointSoftmax', [...scoresOf(context, own, mask), ...optionalBlocks(backend, all)])
  return outs
}

const jointSoftmaxGradient: Kernel = (backend, inputs) => {
  const [context, own] = given(inputs, 'context own') as [TensorInfo, TensorInfo]
  const { contextTangent, ownTangent, contextG, ownG, contextH, ownH } = inputs
  const outs = outputsLike(backend, contextTangent ? [context, own, context, own] : [context, own])
  const tangents = [contextTangent, ownTangent]
  const gradients = [contextG, ownG, contextH, ownH]
  const all = [context, own, ...tangents, ...gradients, outs[0], outs[1], outs[2], outs[3]]
  const scores = scoresOf(context, own, undefined)
  backend.run('jointSoftmaxGradient', [...scores, ...optionalBlocks(backend, all)])
  return outs
}

export const duals: Kernels = {
  BasinGateDual: gate,
  BasinGateDualGradient: gateGradient,
  BasinNormDual: norm,
  BasinNormDualGradient: normGradient,
  BasinJointSoftmax: jointSoftmax,
  BasinJointSoftmaxDual: jointSoftmax,
  BasinJointSoftmaxGradient: jointSoftmaxGradient,
}
