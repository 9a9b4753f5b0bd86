/**
 * Finds a TensorFlow.js to compute with: the backend of Basin's own addon (native/) where that is built,
 * else TensorFlow where the user has installed it, else the wasm backend. TensorFlow's GPU
 * package is tried first, where it is installed. Nothing here knows a model.
 */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type * as TfWasm from '@tensorflow/tfjs-backend-wasm'
import type * as TfWebgpu from '@tensorflow/tfjs-backend-webgpu'
import type * as TfCore from '@tensorflow/tfjs-core'
import { BasinError } from '../../errors.js'
import { notInstalled } from '../../optional-package.js'
import { findTraining } from './addon-backend/find.js'
import { registerGradients } from './op-gradients.js'

export type Tf = typeof TfCore
export type Tensor = TfCore.Tensor

export const backendChoices = ['auto', 'native', 'wasm', 'webgpu', 'node', 'node-gpu'] as const
export type BackendChoice = (typeof backendChoices)[number]

export interface Backend {
  tf: Tf
  /** `native`, `wasm`, `webgpu` or `tensorflow`. */
  name: string
  reason: string
  /** Calls of kernels that the native backend takes from the CPU backend, by name. */
  inherited?: ReadonlyMap<string, number>
  /** What the WebGPU backend has given its device to compute so far. */
  dispatches?: () => number
}

const require = createRequire(import.meta.url)
const optional = {
  'node-gpu': '@tensorflow/tfjs-node-gpu',
  node: '@tensorflow/tfjs-node',
  webgpu: '@tensorflow/tfjs-backend-webgpu',
} as const

function installed(name: string): boolean {
  try {
    require.resolve(name)
    return true
  } catch {
    return false
  }
}

/** Throws `backend_missing` where the package is not installed, or does not load. */
function loadOptional(choice: keyof typeof optional): unknown {
  const name = optional[choice]
  try {
    return require(name)
  } catch (cause) {
    const [flaw = ''] = (cause as Error).message.split('\n')
    const reason = notInstalled(name, cause) ?? `the package ${name} does not load: ${flaw}`
    throw new BasinError('backend_missing', { engine: `tfjs:${choice}`, reason }, { cause })
  }
}

/**
 * The ES modules of these packages do not load in Node; their CommonJS entries do. The package
 * `@tensorflow/tfjs` holds this one and the gradients, and weighs 240 MB more.
 */
function loadCore(): Tf {
  const tf = require('@tensorflow/tfjs-core') as Tf
  registerGradients(tf)
  return tf
}

async function loadWasm(threads: number): Promise<Tf> {
  const tf = loadCore()
  const wasm = require('@tensorflow/tfjs-backend-wasm') as typeof TfWasm
  wasm.setWasmPaths(
    `${dirname(require.resolve('@tensorflow/tfjs-backend-wasm/package.json'))}${join('/', 'dist', '/')}`,
  )
  wasm.setThreadsCount(threads)
  tf.enableProdMode()
  registerSegmentSum(tf)
  if (!(await tf.setBackend('wasm')))
    throw new BasinError('backend_missing', {
      engine: 'tfjs:wasm',
      reason: 'WebAssembly could not be initialised',
    })
  return tf
}

/** The methods of the wasm backend that the kernel below needs. */
interface WasmHeap {
  readSync(id: object): ArrayLike<number>
  makeOutput(shape: number[], dtype: 'float32'): TfCore.TensorInfo
  typedArrayFromHeap(tensor: TfCore.TensorInfo): Float32Array
}

/** Sums rows of x by their id: the gradient of a gather, which the wasm backend of 4.22 lacks. */
function registerSegmentSum(tf: Tf): void {
  tf.registerKernel({
    kernelName: 'UnsortedSegmentSum',
    backendName: 'wasm',
    kernelFunc: ({ inputs, backend, attrs }) => {
      const { x, segmentIds } = inputs as unknown as Record<'x' | 'segmentIds', TfCore.TensorInfo>
      const { numSegments } = attrs as unknown as { numSegments: number }
      const heap = backend as unknown as WasmHeap
      const rows = heap.readSync(x.dataId)
      const ids = heap.readSync(segmentIds.dataId)
      const width = rows.length / ids.length
      const sums = new Float32Array(numSegments * width)
      for (let row = 0; row < ids.length; row++) {
        const at = (ids[row] as number) * width
        for (let i = 0; i < width; i++)
          sums[at + i] = (sums[at + i] as number) + (rows[row * width + i] as number)
      }
      const out = heap.makeOutput(
        [numSegments, ...x.shape.slice(segmentIds.shape.length)],
        'float32',
      )
      heap.typedArrayFromHeap(out).set(sums)
      return out
    },
  })
}

const missing = (engine: string, reason: string): BasinError =>
  new BasinError('backend_missing', { engine, reason })

/** Throws `backend_missing` when a backend that was asked for by name cannot be had. */
export async function loadBackend(choice: BackendChoice, threads: number): Promise<Backend> {
  if (choice === 'native') {
    const found = findTraining()
    if ('missing' in found) throw missing('tfjs:native', found.missing)
    return { ...(await loadNative(found, threads)), reason: 'asked for' }
  }
  if (choice === 'wasm') return { tf: await loadWasm(threads), name: 'wasm', reason: 'asked for' }
  if (choice === 'webgpu') return loadWebgpu()
  if (choice !== 'auto') return loadTensorFlow(choice)
  const found = findTraining()
  if ('training' in found)
    return { ...(await loadNative(found, threads)), reason: 'its addon is built' }
  const without = `no native backend: ${found.missing}`
  const other = (['node-gpu', 'node'] as const).find((name) => installed(optional[name]))
  if (other) {
    const backend = await loadTensorFlow(other)
    return { ...backend, reason: `${without}; ${backend.reason}` }
  }
  const reason = `${without}; neither ${optional['node-gpu']} nor ${optional.node} is installed`
  return { tf: await loadWasm(threads), name: 'wasm', reason }
}

async function loadNative(
  { training }: Extract<ReturnType<typeof findTraining>, { training: unknown }>,
  threads: number,
): Promise<Omit<Backend, 'reason'>> {
  const tf = loadCore()
  tf.enableProdMode()
  const { openNative } = await import('./addon-backend/open-addon-backend.js')
  const { inherited } = await openNative(tf, training, threads)
  return { tf, name: 'native', inherited }
}

/** Never chosen by itself: what is faster depends on the GPU and on the rows of an update. */
async function loadWebgpu(): Promise<Backend> {
  const tf = loadCore()
  tf.enableProdMode()
  const { openWebgpu } = await import('./webgpu-backend.js')
  const { adapter, recorder } = await openWebgpu(
    tf,
    () => loadOptional('webgpu') as typeof TfWebgpu,
  )
  return {
    tf,
    name: 'webgpu',
    reason: `asked for, on ${adapter.name}`,
    dispatches: () => recorder.dispatches,
  }
}

async function loadTensorFlow(choice: 'node' | 'node-gpu'): Promise<Backend> {
  const tf = loadOptional(choice) as Tf
  await tf.ready()
  tf.enableProdMode()
  return { tf, name: tf.getBackend(), reason: `${optional[choice]} is installed` }
}
