/**
 * Registers the backend with TensorFlow.js. It is imported only where it is used, because it also registers
 * the kernels of the CPU backend; TensorFlow's own packages do so too, and then warn of each.
 */
import { NativeBackend } from './addon-backend.js'
import { Calls } from './calls.js'
import { duals } from './kernels/dual.js'
import { elementwise } from './kernels/elementwise.js'
import { fused } from './kernels/fused-kernels.js'
import type { Attributes, Inputs, Kernel, Kernels, Tf } from './kernels/kernel.js'
import { indices } from './kernels/indices.js'
import { moves } from './kernels/moves.js'
import { products } from './kernels/products.js'
import { registerFusedGradients } from '../fused-gradients.js'
import type { TrainingAddon } from '../../native/addon.js'

/** The name by which TensorFlow.js knows the backend: one for each number of threads. */
const nameFor = (threads: number): string => (threads === 1 ? 'native' : `native:${threads}`)

const opened = new Map<string, NativeBackend>()

/** Registers a backend of so many threads, unless there is one already, and makes it the current one. */
export async function openNative(
  tf: Tf,
  training: TrainingAddon,
  threads: number,
): Promise<NativeBackend> {
  const name = nameFor(threads)
  let backend = opened.get(name)
  if (!backend) {
    registerFusedGradients(tf)
    const made = new NativeBackend(new Calls(training, threads))
    tf.registerBackend(name, () => made)
    registerKernels(tf, name)
    opened.set(name, made)
    backend = made
  }
  if (!(await tf.setBackend(name))) throw new Error(`TensorFlow.js refused its backend ${name}`)
  return backend
}

interface Call {
  inputs: Inputs
  backend: NativeBackend
  attrs: Attributes
}
type Compute = (call: Call) => ReturnType<Kernel>

/** Registers every kernel of the CPU backend, with ours in its place for the inputs that ours can compute. */
function registerKernels(tf: Tf, backendName: string): void {
  const ours: Kernels = {
    ...elementwise(tf),
    ...moves(tf),
    ...indices(tf),
    ...products(tf),
    ...fused(),
    ...duals,
  }
  const inherited = new Map(
    tf
      .getKernelsForBackend('cpu')
      .map(({ kernelName, kernelFunc }) => [kernelName, kernelFunc as unknown as Compute]),
  )
  const inherit = (name: string, call: Call): ReturnType<Kernel> => {
    const compute = inherited.get(name)
    if (!compute) throw new Error(`${name} is not defined for these types`)
    call.backend.countInherited(name)
    return compute(call)
  }
  for (const kernelName of new Set([...inherited.keys(), ...Object.keys(ours)])) {
    const kernel = ours[kernelName]
    const kernelFunc: Compute = kernel
      ? (call) => kernel(call.backend, call.inputs, call.attrs) ?? inherit(kernelName, call)
      : (call) => inherit(kernelName, call)
    tf.registerKernel({ kernelName, backendName, kernelFunc: kernelFunc as never })
  }
}
