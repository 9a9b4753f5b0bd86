/**
 * The numbers by which native/training/ knows its ops, and the calls themselves. The comment above the
 * function of an op in C++ lists the numbers of its command.
 */
import type { TrainerHandle, TrainingAddon } from '../../native/addon.js'

/** In the order of `enum class Op` in native/training/trainer.h. */
const ops = [
  'fill',
  'unary',
  'binary',
  'select',
  'cast',
  'copy',
  'matmul',
  'reduce',
  'argument',
  'addAll',
  'gather',
  'segmentSum',
  'flatIndex',
  'oneHot',
  'cumulate',
  'softmax',
  'logSoftmax',
  'softmaxGradient',
  'logSoftmaxGradient',
  'norm',
  'normGradient',
  'gate',
  'gateGradient',
  'rotate',
  'crossEntropy',
  'crossEntropyGradient',
  'gateDual',
  'gateDualGradient',
  'normDual',
  'normDualGradient',
  'jointSoftmax',
  'jointSoftmaxGradient',
] as const
export type Op = (typeof ops)[number]
const numberOf = Object.fromEntries(ops.map((op, i) => [op, i])) as Record<Op, number>

/** Kernels of TensorFlow.js in the order of `enum class Unary` in native/training/training_kernels.h. */
export const unaries = [
  'Neg',
  'Abs',
  'Square',
  'Sqrt',
  'Rsqrt',
  'Exp',
  'Log',
  'Sigmoid',
  'Tanh',
  'Relu',
  'Step',
  'Reciprocal',
  'Sign',
  'ClipByValue',
  'Floor',
  'Ceil',
  'Round',
  'Log1p',
  'Expm1',
  'Softplus',
  'Sin',
  'Cos',
  'Erf',
  'Elu',
] as const
/** y = p x + q, which TensorFlow.js has no kernel for. */
export const scaleBy = unaries.length

/** In the order of `enum class Binary`. */
export const binaries = [
  'Add',
  'Sub',
  'Multiply',
  'RealDiv',
  'Maximum',
  'Minimum',
  'SquaredDifference',
  'Pow',
  'Equal',
  'NotEqual',
  'Less',
  'LessEqual',
  'Greater',
  'GreaterEqual',
  'LogicalAnd',
  'LogicalOr',
] as const
export type BinaryName = (typeof binaries)[number]

export const reductions = { sum: 0, max: 1, min: 2 } as const
export const types = { float32: 0, int32: 1, bool: 2 } as const
export type NumberType = keyof typeof types

export class Calls {
  readonly threads: number
  private readonly handle: TrainerHandle
  private readonly command: Float64Array

  constructor(
    private readonly addon: TrainingAddon,
    threads: number,
  ) {
    this.threads = threads
    ;({ handle: this.handle, command: this.command } = addon.open(threads))
  }

  run(op: Op, numbers: readonly number[]): void {
    for (let i = 0; i < numbers.length; i++) this.command[i] = numbers[i] as number
    this.addon.run(this.handle, numberOf[op], numbers.length)
  }

  take(bytes: number): number {
    return this.addon.take(this.handle, bytes)
  }

  drop(block: number): void {
    this.addon.drop(this.handle, block)
  }

  view(block: number): ArrayBuffer {
    return this.addon.view(this.handle, block)
  }
}
