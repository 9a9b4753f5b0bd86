/**
 * Records dispatches on the WebGPU backend of TensorFlow.js: those of Basin's kernels, which may have several
 * results, and those of the backend's own programs, for which it takes the place of the backend's recording. An
 * update is thousands of dispatches, and what the CPU spends on each is what small models wait for; so uniforms
 * that were needed before are not written again, and one submission holds many dispatches.
 */
import type { TensorInfo } from '@tensorflow/tfjs-core'
import type { WebGPUBackend, WebGPUProgram } from '@tensorflow/tfjs-backend-webgpu'
import { sizeOf, sourceOf, type DeviceKernel } from './device-kernel.js'

/** Dispatches of a submission at most. */
const MOST_DISPATCHES = 128
/** Bytes of results of a submission at most: until it is submitted, tensors that were disposed of keep their memory. */
const MOST_BYTES = 2 ** 29
/** Uniforms kept at most; then all are given back to the backend. */
const MOST_UNIFORMS = 4096

type Uniform = readonly { type: string; data: readonly number[] }[]

/** What is used of the backend though it is declared private: as of @tensorflow/tfjs-backend-webgpu 4.22. */
interface Internals {
  commandEncoder: GPUCommandEncoder | null
  computePassEncoder: GPUComputePassEncoder | null
  commandQueueOwnedIds: WeakSet<object>
  uniformPendingDisposal: GPUBuffer[]
  makeUniforms: (uniform: Uniform) => GPUBufferBinding
  recordAndSubmit: (
    program: WebGPUProgram,
    output: TensorInfo,
    inputs: TensorInfo[],
    uniform?: Uniform,
  ) => void
  submitQueue: () => void
}

export class Recorder {
  private readonly internals: Internals
  private readonly compiled = new Map<string, GPUComputePipeline>()
  private readonly layouts = new WeakMap<GPUComputePipeline, GPUBindGroupLayout>()
  private readonly uniforms = new Map<string, GPUBufferBinding>()
  /** Of this device so far. */
  dispatches = 0
  /** Since the last submission. */
  private pending = 0
  private bytes = 0

  constructor(readonly backend: WebGPUBackend) {
    this.internals = backend as unknown as Internals
    this.recordPrograms()
    const submit = backend.submitQueue.bind(backend)
    backend.submitQueue = () => {
      this.pending = 0
      this.bytes = 0
      submit()
    }
  }

  /** A tensor of float32 without numbers, for a kernel to fill. */
  output(shape: readonly number[]): TensorInfo {
    return this.backend.makeTensorInfo([...shape], 'float32')
  }

  /** Runs a kernel in so many workgroups. `uniforms`: in the order in which the kernel declares them. */
  run(
    kernel: DeviceKernel,
    inputs: readonly TensorInfo[],
    outputs: readonly TensorInfo[],
    uniforms: readonly number[],
    groups: number,
  ): void {
    const { device, tensorMap } = this.backend
    inputs.forEach(({ dataId }, i) => {
      // What the device holds; a tensor may say otherwise.
      const real = tensorMap.get(dataId).dtype === 'float32'
      if (real === (kernel.inputs[i] as string).includes(': i32'))
        throw new Error(`${kernel.name} was given numbers of another type`)
    })
    let pipeline = this.compiled.get(kernel.name)
    if (!pipeline) {
      const module = device.createShaderModule({ code: sourceOf(kernel), label: kernel.name })
      pipeline = device.createComputePipeline({
        compute: { entryPoint: 'main', module },
        label: kernel.name,
        layout: 'auto',
      })
      this.compiled.set(kernel.name, pipeline)
    }
    const most = device.limits.maxComputeWorkgroupsPerDimension
    const lines = Math.ceil(groups / most)
    const uniform = kernel.uniforms.map(({ type }, i) => ({ type, data: [uniforms[i] as number] }))
    this.record(pipeline, [...inputs, ...outputs], uniform, [Math.ceil(groups / lines), lines, 1])
    this.count(outputs)
  }

  /** The backend's own programs bind their result first, and have shapes among their uniforms. */
  private recordPrograms(): void {
    const { internals } = this
    internals.recordAndSubmit = (program, output, inputs, own = []) => {
      const uniform: Uniform[number][] = [
        { type: 'float32', data: [NaN] },
        { type: 'float32', data: [Infinity] },
      ]
      for (const { shape } of [...inputs, output])
        uniform.push({ type: 'int32', data: shape }, { type: 'int32', data: stridesOf(shape) })
      if (program.size) {
        const size = sizeOf(program.outputShape) / (program.outputComponent ?? 1)
        uniform.push({ type: 'int32', data: [size] })
      }
      uniform.push(...own)
      const pipeline = program.pipeline as GPUComputePipeline
      this.record(pipeline, [output, ...inputs], uniform, program.dispatch)
      this.count([output])
    }
  }

  /** All tensors of the dispatch, and after them its uniforms, in the order of their bindings. */
  private record(
    pipeline: GPUComputePipeline,
    tensors: readonly TensorInfo[],
    uniform: Uniform,
    groups: readonly [number, number, number],
  ): void {
    const { backend, internals } = this
    const entries: GPUBindGroupEntry[] = tensors.map(({ dataId }, binding) => {
      backend.uploadToGPU(dataId)
      internals.commandQueueOwnedIds.add(dataId)
      const buffer = backend.tensorMap.get(dataId).resource as GPUBuffer
      return { binding, resource: { buffer } }
    })
    entries.push({ binding: tensors.length, resource: this.uniformOf(uniform) })
    const bound = backend.device.createBindGroup({ layout: this.layoutOf(pipeline), entries })
    backend.ensureCommandEncoderReady()
    const encoder = internals.commandEncoder as GPUCommandEncoder
    const pass = (internals.computePassEncoder ??= encoder.beginComputePass())
    pass.setPipeline(pipeline)
    pass.setBindGroup(0, bound)
    pass.dispatchWorkgroups(...groups)
  }

  /** Submits what is recorded when that is enough. */
  private count(results: readonly TensorInfo[]): void {
    this.dispatches++
    this.pending++
    for (const { shape } of results) this.bytes += 4 * sizeOf(shape)
    if (this.pending < MOST_DISPATCHES && this.bytes < MOST_BYTES) return
    this.backend.endComputePassEncoder()
    this.backend.submitQueue()
  }

  private layoutOf(pipeline: GPUComputePipeline): GPUBindGroupLayout {
    let layout = this.layouts.get(pipeline)
    if (!layout) {
      layout = pipeline.getBindGroupLayout(0)
      this.layouts.set(pipeline, layout)
    }
    return layout
  }

  private uniformOf(uniform: Uniform): GPUBufferBinding {
    const { internals, uniforms } = this
    let key = ''
    for (const { data, type } of uniform) key += `${type[0] as string}${data.join()};`
    let known = uniforms.get(key)
    if (!known) {
      if (uniforms.size === MOST_UNIFORMS) {
        for (const { buffer } of uniforms.values()) internals.uniformPendingDisposal.push(buffer)
        uniforms.clear()
      }
      known = internals.makeUniforms(uniform)
      // The backend would write others into it after this submission.
      internals.uniformPendingDisposal.pop()
      uniforms.set(key, known)
    }
    return known
  }
}

/** Distances of neighbours in each dimension but the last, as the backend's programs read them. */
function stridesOf(shape: readonly number[]): number[] {
  const strides: number[] = []
  for (let i = shape.length - 1, step = 1; i > 0; i--) strides.unshift((step *= shape[i] as number))
  return strides
}
