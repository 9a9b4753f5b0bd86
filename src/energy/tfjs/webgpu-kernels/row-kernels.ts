/** Kernels in which a few threads compute a row together: norms, softmaxes and cross-entropies, and their gradients. */
import type { TensorInfo } from '@tensorflow/tfjs-core'
import {
  counts,
  groupsOfRows,
  kernelOf,
  lanesFor,
  ofRows,
  sizeOf,
  THREADS,
  type DeviceKernel,
} from './device-kernel.js'
import type { Compute } from './kernel-registry.js'
import type { Recorder } from './recorder.js'
import { normWeightGradient } from './sums.js'

type Named<Name extends string> = Readonly<Record<Name, TensorInfo>>

interface RowKernel {
  name: string
  inputs: readonly string[]
  outputs: readonly string[]
  uniforms: DeviceKernel['uniforms']
  body: string
}

/** Runs a kernel over rows of so many numbers. The first of its uniforms is the number of rows. */
function runRows(
  recorder: Recorder,
  { body, name, ...rest }: RowKernel,
  width: number,
  inputs: readonly TensorInfo[],
  outputs: readonly TensorInfo[],
  uniforms: readonly [number, ...number[]],
): void {
  const lanes = lanesFor(width)
  const kernel = kernelOf(`${name}, ${lanes} lanes`, (whole): DeviceKernel => {
    const { begin, declarations } = ofRows(lanes)
    return { ...rest, name: whole, threads: THREADS, declarations, body: `${begin}${body}` }
  })
  recorder.run(kernel, inputs, outputs, uniforms, groupsOfRows(uniforms[0], lanes))
}

/** y = x r w with r = 1 / sqrt(mean(x^2) + eps), which is the second result. */
const norm: Compute = (recorder, inputs, attributes) => {
  const { w, x } = inputs as Named<'x' | 'w'>
  const width = sizeOf(w.shape)
  const rows = sizeOf(x.shape) / width
  const outputs = [recorder.output(x.shape), recorder.output([rows])]
  const kernel: RowKernel = {
    name: 'norm',
    inputs: ['x', 'w'],
    outputs: ['y', 'inverse'],
    uniforms: [...counts('rows', 'width'), { name: 'eps', type: 'float32' }],
    body: `
  let start = row * uniforms.width;
  var squares = 0.0;
  if (alive) {
    for (var i = lane; i < uniforms.width; i += LANES) { squares += x[start + i] * x[start + i]; }
  }
  let mean = total(squares, thread) / f32(uniforms.width);
  let r = inverseSqrt(mean + uniforms.eps);
  if (alive) {
    for (var i = lane; i < uniforms.width; i += LANES) { y[start + i] = x[start + i] * r * w[i]; }
    if (lane == 0u) { inverse[row] = r; }
  }`,
  }
  runRows(recorder, kernel, width, [x, w], outputs, [rows, width, attributes['eps'] as number])
  return outputs
}

/** dx = (dy w - n mean(dy w n)) r with n = x r; dw = sum(dy n). */
const normGradient: Compute = (recorder, inputs) => {
  const { dy, r, w, x } = inputs as Named<'dy' | 'x' | 'w' | 'r'>
  const width = sizeOf(w.shape)
  const rows = sizeOf(x.shape) / width
  const dx = recorder.output(x.shape)
  const kernel: RowKernel = {
    name: 'norm gradient',
    inputs: ['dy', 'x', 'w', 'inverse'],
    outputs: ['dx'],
    uniforms: counts('rows', 'width'),
    body: `
  let start = row * uniforms.width;
  let r = inverse[row];
  var along = 0.0;
  if (alive) {
    for (var i = lane; i < uniforms.width; i += LANES) {
      along += dy[start + i] * w[i] * x[start + i] * r;
    }
  }
  let mean = total(along, thread) / f32(uniforms.width);
  if (alive) {
    for (var i = lane; i < uniforms.width; i += LANES) {
      dx[start + i] = (dy[start + i] * w[i] - x[start + i] * r * mean) * r;
    }
  }`,
  }
  runRows(recorder, kernel, width, [dy, x, w, r], [dx], [rows, width])
  return [dx, normWeightGradient(recorder, { dy, x, r }, w.shape)]
}

/** Of y = softmax(x), (dy - sum(dy y)) y; of y = log softmax(x), dy - sum(dy) exp(y). */
const softmaxGradient =
  (name: string, summed: string, slope: string): Compute =>
  (recorder, inputs) => {
    const { dy, y } = inputs as Named<'dy' | 'y'>
    const width = y.shape.at(-1) ?? 1
    const rows = sizeOf(y.shape) / width
    const dx = recorder.output(y.shape)
    const kernel: RowKernel = {
      name,
      inputs: ['dy', 'y'],
      outputs: ['dx'],
      uniforms: counts('rows', 'width'),
      body: `
  let start = row * uniforms.width;
  var along = 0.0;
  if (alive) {
    for (var i = start + lane; i < start + uniforms.width; i += LANES) { along += ${summed}; }
  }
  let sum = total(along, thread);
  if (alive) {
    for (var i = start + lane; i < start + uniforms.width; i += LANES) { dx[i] = ${slope}; }
  }`,
    }
    runRows(recorder, kernel, width, [dy, y], [dx], [rows, width])
    return dx
  }

/** One softmax over scores of the context [B, H, N, T], plus a mask [B or 1, 1, N or 1, T], and own ones [B, H, N, K]. */
const jointSoftmax: Compute = (recorder, inputs) => {
  const { context, own } = inputs as Named<'context' | 'own'>
  const mask = inputs['mask']
  const [b, h, n, t] = context.shape as [number, number, number, number]
  const k = own.shape[3] as number
  const outputs = [recorder.output(context.shape), recorder.output(own.shape)]
  const [maskRows, , maskPositions] = (mask?.shape ?? [1, 1, 1]) as [number, number, number]
  const seen = mask ? 'context[far + i] + mask[masked + i]' : 'context[far + i]'
  const kernel: RowKernel = {
    name: mask ? 'joint softmax, masked' : 'joint softmax',
    inputs: mask ? ['context', 'own', 'mask'] : ['context', 'own'],
    outputs: ['contextWeights', 'ownWeights'],
    uniforms: counts('rows', 't', 'k', 'n', 'heads', 'maskRows', 'maskPositions'),
    body: `
  let far = row * uniforms.t;
  let near = row * uniforms.k;
  let answer = row / (uniforms.n * uniforms.heads) % uniforms.maskRows;
  let position = row % uniforms.n % uniforms.maskPositions;
  let masked = (answer * uniforms.maskPositions + position) * uniforms.t;
  var top = -3.4e38;
  if (alive) {
    for (var i = lane; i < uniforms.t; i += LANES) { top = max(top, ${seen}); }
    for (var i = lane; i < uniforms.k; i += LANES) { top = max(top, own[near + i]); }
  }
  top = largest(top, thread);
  var sum = 0.0;
  if (alive) {
    for (var i = lane; i < uniforms.t; i += LANES) { sum += exp(${seen} - top); }
    for (var i = lane; i < uniforms.k; i += LANES) { sum += exp(own[near + i] - top); }
  }
  let scale = 1.0 / total(sum, thread);
  if (alive) {
    for (var i = lane; i < uniforms.t; i += LANES) {
      contextWeights[far + i] = exp(${seen} - top) * scale;
    }
    for (var i = lane; i < uniforms.k; i += LANES) {
      ownWeights[near + i] = exp(own[near + i] - top) * scale;
    }
  }`,
  }
  const given = mask ? [context, own, mask] : [context, own]
  const sizes: [number, ...number[]] = [b * h * n, t, k, n, h, maskRows, maskPositions]
  runRows(recorder, kernel, t + k, given, outputs, sizes)
  return outputs
}

const jointSoftmaxGradient: Compute = (recorder, inputs) => {
  const { context, contextG, own, ownG } = inputs as Named<'context' | 'own' | 'contextG' | 'ownG'>
  const [t, k] = [context.shape[3] as number, own.shape[3] as number]
  const rows = sizeOf(context.shape.slice(0, 3))
  const outputs = [recorder.output(context.shape), recorder.output(own.shape)]
  const kernel: RowKernel = {
    name: 'joint softmax gradient',
    inputs: ['context', 'own', 'contextG', 'ownG'],
    outputs: ['contextSlope', 'ownSlope'],
    uniforms: counts('rows', 't', 'k'),
    body: `
  let far = row * uniforms.t;
  let near = row * uniforms.k;
  var along = 0.0;
  if (alive) {
    for (var i = far + lane; i < far + uniforms.t; i += LANES) { along += contextG[i] * context[i]; }
    for (var i = near + lane; i < near + uniforms.k; i += LANES) { along += ownG[i] * own[i]; }
  }
  let sum = total(along, thread);
  if (alive) {
    for (var i = far + lane; i < far + uniforms.t; i += LANES) {
      contextSlope[i] = (contextG[i] - sum) * context[i];
    }
    for (var i = near + lane; i < near + uniforms.k; i += LANES) {
      ownSlope[i] = (ownG[i] - sum) * own[i];
    }
  }`,
  }
  runRows(recorder, kernel, t + k, [context, own, contextG, ownG], outputs, [rows, t, k])
  return outputs
}

/** log softmax(logits) at the targets, and the logarithm of each row's sum of exponentials. */
const crossEntropy: Compute = (recorder, inputs) => {
  const { logits, targets } = inputs as Named<'logits' | 'targets'>
  const rows = sizeOf(targets.shape)
  const width = logits.shape.at(-1) as number
  const outputs = [recorder.output(targets.shape), recorder.output(targets.shape)]
  const kernel: RowKernel = {
    name: 'cross-entropy',
    inputs: ['logits', 'targets: i32'],
    outputs: ['known', 'logSum'],
    uniforms: counts('rows', 'width'),
    body: `
  let start = row * uniforms.width;
  let end = start + uniforms.width;
  var top = -3.4e38;
  if (alive) {
    for (var i = start + lane; i < end; i += LANES) { top = max(top, logits[i]); }
  }
  top = largest(top, thread);
  var sum = 0.0;
  if (alive) {
    for (var i = start + lane; i < end; i += LANES) { sum += exp(logits[i] - top); }
  }
  let whole = top + log(total(sum, thread));
  if (alive && lane == 0u) {
    logSum[row] = whole;
    let token = u32(targets[row]);
    if (token < uniforms.width) { known[row] = logits[start + token] - whole; }
    else { known[row] = 0.0; }
  }`,
  }
  runRows(recorder, kernel, width, [logits, targets], outputs, [rows, width])
  return outputs
}

/** (softmax(logits) - onehot) scale */
const crossEntropyGradient: Compute = (recorder, inputs) => {
  const { logits, logSum, scale, targets } = inputs as Named<
    'logits' | 'targets' | 'logSum' | 'scale'
  >
  const width = logits.shape.at(-1) as number
  const slope = recorder.output(logits.shape)
  const size = sizeOf(logits.shape)
  const kernel: DeviceKernel = {
    name: 'cross-entropy gradient',
    inputs: ['logits', 'targets: i32', 'logSum', 'scale'],
    outputs: ['slope'],
    uniforms: counts('size', 'width'),
    threads: THREADS,
    body: `
  let i = group * ${THREADS}u + thread;
  if (i >= uniforms.size) { return; }
  let row = i / uniforms.width;
  let wanted = select(0.0, 1.0, i % uniforms.width == u32(targets[row]));
  slope[i] = (exp(logits[i] - logSum[row]) - wanted) * scale[row];`,
  }
  const given = [logits, targets, logSum, scale]
  recorder.run(kernel, given, [slope], [size, width], Math.ceil(size / THREADS))
  return slope
}

export const rowKernels: Readonly<Record<string, Compute>> = {
  BasinNorm: norm,
  BasinNormGradient: normGradient,
  BasinSoftmaxGradient: softmaxGradient('softmax gradient', 'dy[i] * y[i]', '(dy[i] - sum) * y[i]'),
  BasinLogSoftmaxGradient: softmaxGradient(
    'log softmax gradient',
    'dy[i]',
    'dy[i] - sum * exp(y[i])',
  ),
  BasinJointSoftmax: jointSoftmax,
  BasinJointSoftmaxGradient: jointSoftmaxGradient,
  BasinCrossEntropy: crossEntropy,
  BasinCrossEntropyGradient: crossEntropyGradient,
}
