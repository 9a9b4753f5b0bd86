/**
 * The WebGPU backend of TensorFlow.js in Node, on the adapter that the package `webgpu` finds. Its own way to a
 * device is a browser's, so it is given one here, with all that the adapter allows. What the device refuses or
 * loses becomes an error of the table at the next read; the backend by itself would go on with zeros.
 */
import type * as TfCore from '@tensorflow/tfjs-core'
import type { KernelConfig, KernelFunc, TensorInfo } from '@tensorflow/tfjs-core'
import type * as TfWebgpu from '@tensorflow/tfjs-backend-webgpu'
import { BasinError } from '../../errors.js'
import { requestDevice, webgpuFailed, type Adapter } from '../webgpu/device.js'
import { nodeAdapter } from '../webgpu/node.js'
import { registerFusedGradients } from './fused-gradients.js'
import { registerKernels } from './webgpu-kernels/kernel-registry.js'
import { matMul } from './webgpu-kernels/matmul.js'
import { cast, pointwiseKernels } from './webgpu-kernels/pointwise-kernels.js'
import { Recorder } from './webgpu-kernels/recorder.js'
import { rowKernels } from './webgpu-kernels/row-kernels.js'
import { segmentKernels, sum } from './webgpu-kernels/sums.js'

type Tf = typeof TfCore
type WebGPUBackend = TfWebgpu.WebGPUBackend

const BACKEND = 'webgpu'

/** What the backend binds at once is bounded by the first of these, and the size of a tensor by the next two. */
const wantedLimits = [
  'maxStorageBuffersPerShaderStage',
  'maxStorageBufferBindingSize',
  'maxBufferSize',
  'maxComputeWorkgroupsPerDimension',
  'maxComputeWorkgroupStorageSize',
  'maxComputeWorkgroupSizeX',
  'maxComputeInvocationsPerWorkgroup',
] as const

interface Opened {
  adapter: Adapter
  recorder: Recorder
}

let opened: Promise<Opened> | undefined

/** Makes it the current backend; one device serves the process. Throws `backend_missing`. */
export async function openWebgpu(tf: Tf, load: () => typeof TfWebgpu): Promise<Opened> {
  opened ??= register(tf, load)
  const found = await opened
  await tf.setBackend(BACKEND)
  return found
}

async function register(tf: Tf, load: () => typeof TfWebgpu): Promise<Opened> {
  const engine = `tfjs:${BACKEND}`
  const adapter = await nodeAdapter()
  if ('missing' in adapter)
    throw new BasinError('backend_missing', { engine, reason: adapter.missing })
  const webgpu = load()
  const device = await requestDevice(adapter, engine, wantedLimits)
  const { globals } = await import('webgpu')
  // The backend knows buffers by their class, and the bits of their use by the names that browsers have.
  Object.assign(globalThis, globals)
  const backend = asInBrowser(() => new webgpu.WebGPUBackend(device, adapter.adapter.info))
  failOnFaults(backend)
  setFlags(tf, webgpu)
  tf.registerBackend(BACKEND, () => backend)
  replaceKernel(tf, 'AddN', addInGroups)
  const recorder = new Recorder(backend)
  replaceKernel(tf, 'Cast', cast(recorder))
  replaceKernel(tf, 'BatchMatMul', matMul(tf, recorder))
  replaceKernel(tf, 'Sum', sum(tf, recorder))
  tf.unregisterKernel('UnsortedSegmentSum', BACKEND)
  for (const kernels of [pointwiseKernels, rowKernels, segmentKernels])
    registerKernels(tf, BACKEND, recorder, kernels)
  registerFusedGradients(tf)
  return { adapter, recorder }
}

/** The backend can only be made where there is a `navigator.gpu`; other code must not see one in Node, so it is taken back. */
function asInBrowser<T>(make: () => T): T {
  const own = Object.getOwnPropertyDescriptor(globalThis, 'navigator')
  Object.defineProperty(globalThis, 'navigator', { configurable: true, value: { gpu: true } })
  try {
    return make()
  } finally {
    if (own) Object.defineProperty(globalThis, 'navigator', own)
    else Reflect.deleteProperty(globalThis, 'navigator')
  }
}

function failOnFaults(backend: WebGPUBackend): void {
  let fault: string | undefined
  backend.device.addEventListener('uncapturederror', ({ error }) => {
    fault ??= error.message
  })
  void backend.device.lost.then(({ message, reason }) => {
    fault ??= `the device was lost (${message || reason})`
  })
  const read = backend.read.bind(backend)
  backend.read = async (id) => {
    try {
      const values = await read(id)
      if (fault === undefined) return values
    } catch (cause) {
      throw webgpuFailed(fault ?? (cause as Error).message, cause)
    }
    throw webgpuFailed(fault)
  }
}

/** Flags that make results a function of the numbers alone, so that a resumed run goes on as if never stopped. */
function setFlags(tf: Tf, { webgpu_util }: typeof TfWebgpu): void {
  // Small tensors that were never on the device, as after a resume, would be computed with by the CPU.
  tf.env().set('WEBGPU_CPU_FORWARD', false)
  // Long products of few numbers would be split, and their parts added in the order in which they are done.
  tf.env().set('WEBGPU_MATMUL_PROGRAM_TYPE', webgpu_util.MatMulProgramType.MatMulPackedProgram)
}

/** What the kernel below needs of the backend. */
type Shaders = Pick<WebGPUBackend, 'device' | 'disposeData'>

function replaceKernel(tf: Tf, name: string, kernel: (own: KernelFunc) => KernelFunc): void {
  const own: KernelConfig = tf.getKernel(name, BACKEND)
  tf.unregisterKernel(name, BACKEND)
  tf.registerKernel({ ...own, kernelFunc: kernel(own.kernelFunc) })
}

/** A sum of more tensors than a shader can bind, in groups. */
const addInGroups =
  (own: KernelFunc): KernelFunc =>
  (call) => {
    const backend = call.backend as unknown as Shaders
    const most = backend.device.limits.maxStorageBuffersPerShaderStage - 1
    const sum = (terms: readonly TensorInfo[]): TensorInfo => {
      if (terms.length <= most) return own({ ...call, inputs: terms as never }) as TensorInfo
      const first = sum(terms.slice(0, most))
      const whole = sum([first, ...terms.slice(most)])
      backend.disposeData(first.dataId)
      return whole
    }
    return sum(call.inputs as unknown as TensorInfo[])
  }
