/**
 * ONNX Runtime for Node. It is no dependency of Basin's: the first benchmark that needs it installs it into a folder
 * under build/, without its install scripts, which would look for a GPU and download libraries for it.
 */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const RUNTIME_PACKAGE = 'onnxruntime-node@1.30.0'

export interface Tensor {
  readonly data: Float32Array
}

export type Tensors = Readonly<Record<string, Tensor>>

export interface Session {
  /** Fills the tensors of `results`. */
  run(inputs: Tensors, results: Tensors): Promise<Tensors>
  release(): Promise<void>
}

export interface OnnxRuntime {
  Tensor: new (type: 'float32', data: Float32Array, dims: readonly number[]) => Tensor
  InferenceSession: {
    create(
      model: Uint8Array,
      options: {
        intraOpNumThreads: number
        interOpNumThreads: number
        graphOptimizationLevel: 'all'
        executionMode: 'sequential'
        /** 3: errors only. */
        logSeverityLevel: 0 | 1 | 2 | 3 | 4
      },
    ): Promise<Session>
  }
}

export function loadOnnxRuntime(): OnnxRuntime {
  const folder = fileURLToPath(new URL('../../onnxruntime', import.meta.url))
  if (!existsSync(join(folder, 'node_modules', 'onnxruntime-node'))) {
    console.error(`installing ${RUNTIME_PACKAGE} into ${folder}`)
    const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-save', '--prefix', folder]
    execFileSync('npm', ['install', ...flags, RUNTIME_PACKAGE], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
  }
  const require = createRequire(join(folder, 'package.json'))
  return require('onnxruntime-node') as OnnxRuntime
}
