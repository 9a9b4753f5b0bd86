/**
 * Registers the backend with TensorFlow.js. To be imported only where it is used: it brings the kernels of
 * the CPU backend along, which TensorFlow's own packages register too, with a warning for each.
 */
import { NativeBackend } from './backend.js'
import { Calls } from './calls.js'
import { duals, registerDualGradients } from './kernels/dual.js'
import { elementwise } from './kernels/elementwise.js'
import { fused, registerGradients } from './kernels/fused.js'
import type { Attributes, Inputs, Kernel, Kernels, Tf } from './kernels/kernel.js'
import { indices } from './kernels/indices.js'
import { moves } from './kernels/moves.js'
import { products } from './kernels/products.js'
import type { TrainingAddon } from './surface.js'

/** The name by which TensorFlow.js knows the backend: one for each number of threads. */
const nameFor = (threads: number): string => (threads === 1 ? 'native' : `native:${threads}`)

const opened = new Map<string, NativeBackend>()

/** Registers the backend with so many threads, once, and makes it the current one. */
export async function openNative(
  tf: Tf,
  training: TrainingAddon,
  threads: number,
): Promise<NativeBackend> {
  const name = nameFor(threads)
  let backend = opened.get(name)
  if (!backend) {
    if (opened.size === 0) {
      registerGradients(tf)
      registerDualGradients(tf)
    }
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

/** Every kernel of the CPU backend; ours in its place where there is one, for the inputs it knows. */
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
