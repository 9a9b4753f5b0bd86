/**
 * Sums over rows. Many rows are cut into chunks, whose sums are added in turn, so that the GPU is busy with all of
 * them at once. Every sum has one order, which depends on sizes alone: training that is resumed goes on to the bit.
 */
import type { KernelFunc, TensorInfo } from '@tensorflow/tfjs-core'
import { counts, kernelOf, sizeOf, THREADS, type DeviceKernel } from './device-kernel.js'
import type { Compute, Tf } from './kernel-registry.js'
import type { Recorder } from './recorder.js'

const SUM_THREADS = 256
/** Rows of x that a thread adds before chunks are made, and chunks at most: they are added by one workgroup. */
const ROWS_OF_THREAD = 32
const MOST_CHUNKS = 256

/** What is added: an expression of `i`, the place of a number in its array, and of its `row`. */
interface Summand {
  name: string
  arrays: readonly string[]
  of: string
}

const itself: Summand = { name: 'x', arrays: ['x'], of: 'x[i]' }

function columnKernel(name: string, { arrays, of }: Summand, columns: number): DeviceKernel {
  const lanes = SUM_THREADS / columns
  return {
    name,
    inputs: arrays,
    outputs: ['sums'],
    uniforms: counts('rows', 'width', 'span', 'chunks'),
    threads: SUM_THREADS,
    declarations: `var<workgroup> parts : array<f32, ${SUM_THREADS}>;`,
    body: `
  let blocks = (uniforms.width + ${columns - 1}u) / ${columns}u;
  let chunk = group / blocks;
  if (chunk >= uniforms.chunks) { return; }
  let column = group % blocks * ${columns}u + thread % ${columns}u;
  let lane = thread / ${columns}u;
  let end = min((chunk + 1u) * uniforms.span, uniforms.rows);
  var sum = 0.0;
  if (column < uniforms.width) {
    for (var row = chunk * uniforms.span + lane; row < end; row += ${lanes}u) {
      let i = row * uniforms.width + column;
      sum += ${of};
    }
  }
  parts[thread] = sum;
  workgroupBarrier();
  for (var reach = ${lanes / 2}u; reach > 0u; reach /= 2u) {
    if (lane < reach) { parts[thread] += parts[thread + reach * ${columns}u]; }
    workgroupBarrier();
  }
  if (lane == 0u && column < uniforms.width) {
    sums[chunk * uniforms.width + column] = parts[thread];
  }`,
  }
}

/** Sums over the rows of arrays [rows, width], in a tensor of this shape. */
function columnSums(
  recorder: Recorder,
  summand: Summand,
  inputs: readonly TensorInfo[],
  [rows, width]: readonly [number, number],
  shape: readonly number[],
): TensorInfo {
  const columns = width > 16 ? 32 : width > 4 ? 16 : width > 1 ? 4 : 1
  const least = (SUM_THREADS / columns) * ROWS_OF_THREAD
  const span = Math.max(least, Math.ceil(rows / MOST_CHUNKS))
  const chunks = Math.max(1, Math.ceil(rows / span))
  const sums = recorder.output(chunks === 1 ? shape : [chunks, width])
  const kernel = kernelOf(`sums of ${summand.name} in ${columns} columns`, (name) =>
    columnKernel(name, summand, columns),
  )
  const groups = chunks * Math.ceil(width / columns)
  recorder.run(kernel, inputs, [sums], [rows, width, span, chunks], groups)
  if (chunks === 1) return sums
  const whole = columnSums(recorder, itself, [sums], [chunks, width], shape)
  recorder.backend.disposeData(sums.dataId)
  return whole
}

/** Sums over the first axis of x, which has as many numbers as [rows, ...shape]. */
export const sumOfRows = (
  recorder: Recorder,
  x: TensorInfo,
  shape: readonly number[],
): TensorInfo => {
  const width = sizeOf(shape)
  return columnSums(recorder, itself, [x], [sizeOf(x.shape) / width, width], shape)
}

/**
 * Sums over the first axes, as the gradients of what was repeated over rows are; others are left to the backend's
 * `own` kernel, which has a workgroup for each sum.
 */
export const sum =
  (tf: Tf, recorder: Recorder) =>
  (own: KernelFunc): KernelFunc =>
  (call) => {
    const { x } = call.inputs as Record<'x', TensorInfo>
    const { axis, keepDims } = call.attrs as unknown as {
      axis: number | number[]
      keepDims: boolean
    }
    const axes = tf.util.parseAxisParam(axis, x.shape)
    const first = axes.every((a) => a < axes.length)
    if (x.dtype !== 'float32' || !first || sizeOf(x.shape) === 0) return own(call)
    const [short] = tf.backend_util.computeOutAndReduceShapes(x.shape, axes)
    return sumOfRows(
      recorder,
      x,
      keepDims ? tf.backend_util.expandShapeToKeepDim(short, axes) : short,
    )
  }

/** sum(dy x r), where r has a number for each row. */
export function normWeightGradient(
  recorder: Recorder,
  { dy, r, x }: Readonly<Record<'dy' | 'x' | 'r', TensorInfo>>,
  shape: readonly number[],
): TensorInfo {
  const summand: Summand = {
    name: 'slopes of norms',
    arrays: ['dy', 'x', 'inverse'],
    of: 'dy[i] * x[i] * inverse[row]',
  }
  return columnSums(recorder, summand, [dy, x, r], [sizeOf(r.shape), sizeOf(shape)], shape)
}

/** Rows of a chunk at least, and numbers of all chunks at most. */
const ROWS_OF_CHUNK = 64
const MOST_PARTIAL = 2 ** 20

const segmentKernel: DeviceKernel = {
  name: 'sums by segment',
  inputs: ['x', 'segmentIds: i32'],
  outputs: ['sums'],
  uniforms: counts('size', 'rows', 'width', 'segments', 'span'),
  threads: THREADS,
  body: `
  let i = group * ${THREADS}u + thread;
  if (i >= uniforms.size) { return; }
  let column = i % uniforms.width;
  let segment = i32(i / uniforms.width % uniforms.segments);
  let chunk = i / (uniforms.width * uniforms.segments);
  let end = min((chunk + 1u) * uniforms.span, uniforms.rows);
  var sum = 0.0;
  for (var row = chunk * uniforms.span; row < end; row++) {
    if (segmentIds[row] == segment) { sum += x[row * uniforms.width + column]; }
  }
  sums[i] = sum;`,
}

/**
 * Sums rows of x by their id: the gradient of a gather. The backend's own kernel adds in the order in which threads
 * come, so that its last digits differ from run to run.
 */
const segmentSum: Compute = (recorder, inputs, attributes) => {
  const { segmentIds, x } = inputs as Record<'x' | 'segmentIds', TensorInfo>
  const segments = attributes['numSegments'] as number
  const rows = segmentIds.shape[0] as number
  const each = x.shape.slice(1)
  const width = sizeOf(each)
  const shape = [segments, ...each]
  const fitting = Math.floor(MOST_PARTIAL / (segments * width))
  const wanted = Math.max(1, Math.min(fitting, Math.ceil(rows / ROWS_OF_CHUNK)))
  const span = Math.ceil(rows / wanted)
  const chunks = Math.max(1, Math.ceil(rows / span))
  const sums = recorder.output(chunks === 1 ? shape : [chunks, segments * width])
  const size = sizeOf(sums.shape)
  const uniforms = [size, rows, width, segments, span]
  recorder.run(segmentKernel, [x, segmentIds], [sums], uniforms, Math.ceil(size / THREADS))
  if (chunks === 1) return sums
  const whole = sumOfRows(recorder, sums, shape)
  recorder.backend.disposeData(sums.dataId)
  return whole
}

export const segmentKernels: Readonly<Record<string, Compute>> = { UnsortedSegmentSum: segmentSum }
