/**
 * Ops that are one kernel in the native backend, or on WebGPU, and several on other backends. The composition,
 * beside each call, is the definition; test/training-backend and test/webgpu compare the two.
 */
import type { KernelConfig, TensorInfo } from '@tensorflow/tfjs-core'
import type { Tensor, Tf } from './backend.js'

export type FusedName =
  | 'BasinNorm'
  | 'BasinNormDual'
  | 'BasinGate'
  | 'BasinGateDual'
  | 'BasinRotate'
  | 'BasinRotateHeads'
  | 'BasinJointSoftmax'
  | 'BasinJointSoftmaxDual'
  | 'BasinCrossEntropy'
  | 'BasinAdamW'

/** Runs a kernel of the current backend, or gives null where it has none of that name. */
export function fusedAll(
  tf: Tf,
  name: FusedName,
  inputs: Readonly<Record<string, Tensor>>,
  attributes: Readonly<Record<string, number | boolean>> = {},
): Tensor[] | null {
  const known = tf.getKernel(name, tf.getBackend()) as KernelConfig | undefined
  if (!known) return null
  const out = tf.engine().runKernel(name, inputs as Record<string, TensorInfo> as never, attributes)
  return Array.isArray(out) ? out : [out]
}

/** The first result of such a kernel: the others are for its gradient. */
export const fused = (...call: Parameters<typeof fusedAll>): Tensor | null =>
  fusedAll(...call)?.[0] ?? null
