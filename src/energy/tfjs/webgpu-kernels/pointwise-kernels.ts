/** Kernels in which each number is computed for itself: gates, rotations, casts and updates. */
import type { KernelFunc, TensorInfo } from '@tensorflow/tfjs-core'
import { counts, sizeOf, THREADS, type DeviceKernel } from './device-kernel.js'
import type { Compute } from './kernel-registry.js'
import type { Recorder } from './recorder.js'

const pointwise = (
  name: string,
  arrays: Pick<DeviceKernel, 'inputs' | 'outputs'>,
  uniforms: readonly string[],
  body: string,
): DeviceKernel => ({
  ...arrays,
  name,
  uniforms: counts('size', ...uniforms),
  threads: THREADS,
  declarations: `
fn sigmoid(x : f32) -> f32 {
  let e = exp(-abs(x));
  return select(e, 1.0, x >= 0.0) / (1.0 + e);
}`,
  body: `
  let i = group * ${THREADS}u + thread;
  if (i >= uniforms.size) { return; }${body}`,
})

/** silu(a) b */
const gateKernel = pointwise(
  'gate',
  { inputs: ['a', 'b'], outputs: ['y'] },
  [],
  `
  y[i] = a[i] * sigmoid(a[i]) * b[i];`,
)

const gate: Compute = (recorder, inputs) => {
  const { a, b } = inputs as Record<'a' | 'b', TensorInfo>
  const y = recorder.output(a.shape)
  const size = sizeOf(a.shape)
  recorder.run(gateKernel, [a, b], [y], [size], Math.ceil(size / THREADS))
  return y
}

const gateGradientKernel = pointwise(
  'gate gradient',
  { inputs: ['a', 'b', 'dy'], outputs: ['da', 'db'] },
  [],
  `
  let s = sigmoid(a[i]);
  let silu = a[i] * s;
  da[i] = dy[i] * b[i] * (s + silu - silu * s);
  db[i] = dy[i] * silu;`,
)

const gateGradient: Compute = (recorder, inputs) => {
  const { a, b, dy } = inputs as Record<'a' | 'b' | 'dy', TensorInfo>
  const outputs = [recorder.output(a.shape), recorder.output(b.shape)]
  const size = sizeOf(a.shape)
  recorder.run(gateGradientKernel, [a, b, dy], outputs, [size], Math.ceil(size / THREADS))
  return outputs
}

/**
 * x [B, N, H, d] as y [B, H, N, d], cos and sin [B or 1, N, 1, d]; a pair (a, b) turns into (a cos - b sin,
 * b cos + a sin). `back`: the transpose of that.
 */
const rotation = (back: boolean): DeviceKernel =>
  pointwise(
    back ? 'rotation back' : 'rotation',
    { inputs: ['x', 'cosines', 'sines'], outputs: ['y'] },
    ['heads', 'positions', 'd', 'angles'],
    `
  let c = i % uniforms.d;
  let line = i / uniforms.d;
  let row = line / (uniforms.heads * uniforms.positions);
  let ${back ? 'head' : 'position'} = line % uniforms.${back ? 'heads' : 'positions'};
  let ${back ? 'position' : 'head'} = line / uniforms.${back ? 'heads' : 'positions'} % uniforms.${back ? 'positions' : 'heads'};
  let source = (${
    back
      ? '(row * uniforms.heads + head) * uniforms.positions + position'
      : '(row * uniforms.positions + position) * uniforms.heads + head'
  }) * uniforms.d + c;
  let angle = (row * uniforms.positions + position) % uniforms.angles * uniforms.d + c;
  let odd = c % 2u == 1u;
  let partner = x[select(source + 1u, source - 1u, odd)];
  let turned = partner * ${back ? 'sines[select(angle + 1u, angle - 1u, odd)]' : 'sines[angle]'};
  y[i] = x[source] * cosines[angle] + select(${back ? 'turned, -turned' : '-turned, turned'}, odd);`,
  )

const rotations = { there: rotation(false), back: rotation(true) }

const rotateHeads: Compute = (recorder, inputs, attributes) => {
  const { cos, sin, x } = inputs as Record<'x' | 'cos' | 'sin', TensorInfo>
  const [b, second, third, d] = x.shape as [number, number, number, number]
  const back = attributes['back'] === true
  const [heads, positions] = back ? [second, third] : [third, second]
  const y = recorder.output([b, third, second, d])
  const size = sizeOf(x.shape)
  // Equal rows may be given once: then angles begin again in each row.
  const angles = (cos.shape[0] as number) * positions
  const uniforms = [size, heads, positions, d, angles]
  const kernel = back ? rotations.back : rotations.there
  recorder.run(kernel, [x, cos, sin], [y], uniforms, Math.ceil(size / THREADS))
  return y
}

/** One step of AdamW with decoupled weight decay (../../../train/optimizer.ts). */
const adamKernel: DeviceKernel = {
  name: 'AdamW',
  inputs: ['parameter', 'gradient', 'first', 'second', 'settings'],
  outputs: ['nextParameter', 'nextFirst', 'nextSecond'],
  uniforms: [
    ...counts('size'),
    ...['beta1', 'beta2', 'epsilon', 'decay', 'rateTimes'].map((name) => ({
      name,
      type: 'float32' as const,
    })),
  ],
  threads: THREADS,
  body: `
  let i = group * ${THREADS}u + thread;
  if (i >= uniforms.size) { return; }
  let g = gradient[i] * settings[0];
  let rate = settings[1] * uniforms.rateTimes;
  let m = first[i] * uniforms.beta1 + g * (1.0 - uniforms.beta1);
  let v = second[i] * uniforms.beta2 + g * g * (1.0 - uniforms.beta2);
  let step = m / settings[2] / (sqrt(v / settings[3]) + uniforms.epsilon);
  nextFirst[i] = m;
  nextSecond[i] = v;
  nextParameter[i] = parameter[i] * (1.0 - rate * uniforms.decay) - step * rate;`,
}

/** `settings`: what gradients are multiplied by, the learning rate, and how far both running means have come. */
const adam: Compute = (recorder, inputs, attributes) => {
  const names = ['parameter', 'gradient', 'first', 'second', 'settings'] as const
  const given = names.map((name) => inputs[name] as TensorInfo)
  const { shape } = given[0] as TensorInfo
  const outputs = [0, 1, 2].map(() => recorder.output(shape))
  const size = sizeOf(shape)
  const constants = ['beta1', 'beta2', 'epsilon', 'decay', 'rateTimes'].map(
    (name) => attributes[name] as number,
  )
  recorder.run(adamKernel, given, outputs, [size, ...constants], Math.ceil(size / THREADS))
  return outputs
}

const castKernel = pointwise(
  'cast to float32',
  { inputs: ['x: i32'], outputs: ['y'] },
  [],
  `
  y[i] = f32(x[i]);`,
)

/** The backend's `own` kernel gives integers out as real numbers without changing them, which kernels of Basin's cannot read. */
export const cast =
  (recorder: Recorder) =>
  (own: KernelFunc): KernelFunc =>
  (call) => {
    const { x } = call.inputs as Record<'x', TensorInfo>
    const { dtype } = call.attrs as unknown as { dtype: string }
    const size = sizeOf(x.shape)
    const whole = x.dtype === 'int32' || x.dtype === 'bool'
    if (!whole || dtype !== 'float32' || size === 0) return own(call)
    const y = recorder.output(x.shape)
    recorder.run(castKernel, [x], [y], [size], Math.ceil(size / THREADS))
    return y
  }

export const pointwiseKernels: Readonly<Record<string, Compute>> = {
  BasinGate: gate,
  BasinGateGradient: gateGradient,
  BasinRotateHeads: rotateHeads,
  BasinAdamW: adam,
}
