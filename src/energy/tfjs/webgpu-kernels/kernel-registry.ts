/** How TensorFlow.js finds the kernels of this folder. */
import type * as TfCore from '@tensorflow/tfjs-core'
import type { TensorInfo } from '@tensorflow/tfjs-core'
import type { Recorder } from './recorder.js'

export type Tf = typeof TfCore

/** Computes a kernel of TensorFlow.js. */
export type Compute = (
  recorder: Recorder,
  inputs: Readonly<Record<string, TensorInfo>>,
  attributes: Readonly<Record<string, unknown>>,
) => TensorInfo | TensorInfo[]

/** Registers kernels by the names that TensorFlow.js finds them by. */
export function registerKernels(
  tf: Tf,
  backendName: string,
  recorder: Recorder,
  kernels: Readonly<Record<string, Compute>>,
): void {
  for (const [kernelName, compute] of Object.entries(kernels))
    tf.registerKernel({
      kernelName,
      backendName,
      kernelFunc: ({ attrs, inputs }) => compute(recorder, inputs as never, attrs ?? {}),
    })
}
