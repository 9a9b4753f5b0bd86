/**
 * Kernels of our own: each computes in one pass what other backends compose of several ops (../../fused.ts),
 * and there are two for the gradients of softmax. Their gradients (../../fused-gradients.ts) are kernels too.
 */
import type { TensorInfo } from '@tensorflow/tfjs-core'
import { sizeOf } from '../addon-backend.js'
import { input, type Kernel, type Kernels } from './kernel.js'

const gate: Kernel = (backend, inputs) => {
  const [a, b] = [input(inputs, 'a'), input(inputs, 'b')]
  const out = backend.output(a.shape, 'float32')
  const blocks = [a, b, out].map((t) => backend.block(t))
  backend.run('gate', [...blocks, sizeOf(a.shape)])
  return out
}

const gateGradient: Kernel = (backend, inputs) => {
  const [a, b, dy] = [input(inputs, 'a'), input(inputs, 'b'), input(inputs, 'dy')]
  const outs = [a, b].map((t) => backend.output(t.shape, 'float32'))
  const blocks = [a, b, dy, ...outs].map((t) => backend.block(t))
  backend.run('gateGradient', [...blocks, sizeOf(a.shape)])
  return outs
}

const norm: Kernel = (backend, inputs, attributes) => {
  const [x, w] = [input(inputs, 'x'), input(inputs, 'w')]
  const width = sizeOf(w.shape)
  const rows = sizeOf(x.shape) / width
  const out = backend.output(x.shape, 'float32')
  const r = backend.output([rows], 'float32')
  const blocks = [x, w, out, r].map((t) => backend.block(t))
  backend.run('norm', [...blocks, rows, width, attributes['eps'] as number])
  return [out, r]
}

const normGradient: Kernel = (backend, inputs) => {
  const given = ['dy', 'x', 'w', 'r'].map((name) => input(inputs, name))
  const [, x, w] = given as [TensorInfo, TensorInfo, TensorInfo]
  const width = sizeOf(w.shape)
  const outs = [backend.output(x.shape, 'float32'), backend.output(w.shape, 'float32')]
  const blocks = [...given, ...outs].map((t) => backend.block(t))
  backend.run('normGradient', [...blocks, sizeOf(x.shape) / width, width])
  return outs
}

const softmaxGradient =
  (op: 'softmaxGradient' | 'logSoftmaxGradient'): Kernel =>
  (backend, inputs) => {
    const [dy, y] = [input(inputs, 'dy'), input(inputs, 'y')]
    const width = y.shape.at(-1) ?? 1
    const out = backend.output(y.shape, 'float32')
    const blocks = [dy, y, out].map((t) => backend.block(t))
    backend.run(op, [...blocks, width === 0 ? 0 : sizeOf(y.shape) / width, width])
    return out
  }

/** x [B, N, H, d], cos and sin [B or 1, N, 1, d]. */
const rotate: Kernel = (backend, inputs, attributes) => {
  const [x, cos, sin] = [input(inputs, 'x'), input(inputs, 'cos'), input(inputs, 'sin')]
  const [b, n, h, d] = x.shape as [number, number, number, number]
  const out = backend.output(x.shape, 'float32')
  const blocks = [x, cos, sin, out].map((t) => backend.block(t))
  backend.run('rotate', [...blocks, b, cos.shape[0] as number, n, h, d, Number(attributes['back'])])
  return out
}

const crossEntropy: Kernel = (backend, inputs) => {
  const [logits, targets] = [input(inputs, 'logits'), input(inputs, 'targets')]
  const outs = [0, 1].map(() => backend.output(targets.shape, 'float32'))
  const blocks = [logits, targets, ...outs].map((t) => backend.block(t))
  backend.run('crossEntropy', [...blocks, sizeOf(targets.shape), logits.shape.at(-1) as number])
  return outs
}

const crossEntropyGradient: Kernel = (backend, inputs) => {
  const given = ['logits', 'targets', 'logSum', 'scale'].map((name) => input(inputs, name))
  const [logits, targets] = given as [TensorInfo, TensorInfo]
  const out = backend.output(logits.shape, 'float32')
  const blocks = [...given, out].map((t) => backend.block(t))
  backend.run('crossEntropyGradient', [
    ...blocks,
    sizeOf(targets.shape),
    logits.shape.at(-1) as number,
  ])
  return out
}

export function fused(): Kernels {
  return {
    BasinGate: gate,
    BasinGateGradient: gateGradient,
    BasinNorm: norm,
    BasinNormGradient: normGradient,
    BasinSoftmaxGradient: softmaxGradient('softmaxGradient'),
    BasinLogSoftmaxGradient: softmaxGradient('logSoftmaxGradient'),
    BasinRotate: rotate,
    BasinCrossEntropy: crossEntropy,
    BasinCrossEntropyGradient: crossEntropyGradient,
  }
}
