/** A kernel of this backend is a function of the backend, its inputs and its attributes. */
import type * as TfCore from '@tensorflow/tfjs-core'
import type { TensorInfo } from '@tensorflow/tfjs-core'
import type { NativeBackend } from '../addon-backend.js'

export type Tf = typeof TfCore
export type Inputs = Readonly<Record<string, TensorInfo>>
export type Attributes = Readonly<Record<string, unknown>>

/** Returns null for inputs that only the CPU backend's kernel of this name can compute. */
export type Kernel = (
  backend: NativeBackend,
  inputs: Inputs,
  attributes: Attributes,
) => TensorInfo | TensorInfo[] | null

export type Kernels = Readonly<Record<string, Kernel>>

export function input(inputs: Inputs, name: string): TensorInfo {
  const found = inputs[name]
  if (!found) throw new Error(`a kernel was called without its input ${name}`)
  return found
}
