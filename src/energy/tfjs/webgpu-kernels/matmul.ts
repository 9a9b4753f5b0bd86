/**
 * Matrix products by tiles. Deep products of few numbers, as the gradients of weights are, are cut along their
 * depth into parts that the GPU computes at once; the parts are added in a fixed order, which depends on sizes
 * alone. The backend's own kernels leave most of a GPU idle there, or add in the order in which threads come.
 */
import type { KernelFunc, TensorInfo } from '@tensorflow/tfjs-core'
import { counts, kernelOf, sizeOf, type DeviceKernel } from './device-kernel.js'
import type { Tf } from './kernel-registry.js'
import type { Recorder } from './recorder.js'
import { sumOfRows } from './sums.js'

/** Depth of the tiles of both operands. */
const DEEP = 16
/** Workgroups that a product should have, and the least depth of a part. */
const WANTED_GROUPS = 512
const LEAST_DEPTH = 512
/** Fewer large tiles than this do not occupy a GPU. */
const FEW_TILES = 64
/** Numbers of all parts at most. */
const MOST_PARTIAL = 2 ** 24

interface Tile {
  rows: number
  columns: number
}

/**
 * Each thread computes four by four numbers. Tiles lie in workgroup memory by depth, four neighbours to an element;
 * one element of each line is left free, so that a line does not begin in the bank in which the last one began.
 */
function productKernel(
  name: string,
  transposeA: boolean,
  transposeB: boolean,
  tile: Tile,
): DeviceKernel {
  const threads = (tile.rows * tile.columns) / 16
  const operand = (array: string, outer: string, across: number, innermost: boolean): string => {
    const fours = across / 4
    const lines = fours + 1
    const [deep, four] = innermost
      ? [`v / ${fours}u`, `v % ${fours}u`]
      : [`v % ${DEEP}u`, `v / ${DEEP}u`]
    const element = (j: number): string => {
      const index = innermost
        ? `k * uniforms.${outer} + first + ${j}u`
        : `(first + ${j}u) * uniforms.depth + k`
      return `
      if (k < end && first + ${j}u < uniforms.${outer}) { element[${j}] = ${array}[${array}Start + ${index}]; }`
    }
    return `
    for (var v = thread; v < ${fours * DEEP}u; v += ${threads}u) {
      let deep = ${deep};
      let four = ${four};
      let k = at + deep;
      let first = ${array}First + four * 4u;
      var element = vec4<f32>();${[0, 1, 2, 3].map(element).join('')}
      ${array}Tile[deep * ${lines}u + four] = element;
    }`
  }
  const [fourRows, fourColumns] = [tile.rows / 4, tile.columns / 4]
  const each = (line: (j: number) => string): string => [0, 1, 2, 3].map(line).join('')
  return {
    name,
    inputs: ['a', 'b'],
    outputs: ['result'],
    uniforms: counts('m', 'n', 'depth', 'batch', 'parts', 'span', 'aSize', 'bSize'),
    threads,
    declarations: `
var<workgroup> aTile : array<vec4<f32>, ${DEEP * (fourRows + 1)}>;
var<workgroup> bTile : array<vec4<f32>, ${DEEP * (fourColumns + 1)}>;`,
    body: `
  let across = (uniforms.n + ${tile.columns - 1}u) / ${tile.columns}u;
  let down = (uniforms.m + ${tile.rows - 1}u) / ${tile.rows}u;
  let matrix = group / (across * down) % uniforms.batch;
  let part = group / (across * down * uniforms.batch);
  if (part >= uniforms.parts) { return; }
  let bFirst = group % across * ${tile.columns}u;
  let aFirst = group / across % down * ${tile.rows}u;
  let aStart = matrix * uniforms.aSize;
  let bStart = matrix * uniforms.bSize;
  let end = min((part + 1u) * uniforms.span, uniforms.depth);
  let row = thread / ${fourColumns}u;
  let column = thread % ${fourColumns}u;
  var sums : array<vec4<f32>, 4>;
  for (var at = part * uniforms.span; at < end; at += ${DEEP}u) {${operand('a', 'm', tile.rows, transposeA)}${operand('b', 'n', tile.columns, !transposeB)}
    workgroupBarrier();
    for (var k = 0u; k < ${DEEP}u; k++) {
      let x = aTile[k * ${fourRows + 1}u + row];
      let y = bTile[k * ${fourColumns + 1}u + column];${each(
        (j) => `
      sums[${j}] = fma(vec4<f32>(x[${j}]), y, sums[${j}]);`,
      )}
    }
    workgroupBarrier();
  }
  let start = (part * uniforms.batch + matrix) * uniforms.m * uniforms.n;
  for (var j = 0u; j < 4u; j++) {
    let i = aFirst + row * 4u + j;
    if (i >= uniforms.m) { break; }
    for (var l = 0u; l < 4u; l++) {
      let c = bFirst + column * 4u + l;
      if (c < uniforms.n) { result[start + i * uniforms.n + c] = sums[j][l]; }
    }
  }`,
  }
}

const kernelFor = (transposeA: boolean, transposeB: boolean, tile: Tile): DeviceKernel =>
  kernelOf(
    `product ${transposeA} ${transposeB} of ${tile.rows} by ${tile.columns}`,
    (name): DeviceKernel => productKernel(name, transposeA, transposeB, tile),
  )

/** `own`: the backend's kernel, for products of no depth, and of other types. */
export const matMul =
  (tf: Tf, recorder: Recorder) =>
  (own: KernelFunc): KernelFunc =>
  (call) => {
    const { a, b } = call.inputs as Record<'a' | 'b', TensorInfo>
    const { transposeA, transposeB } = call.attrs as unknown as Record<
      'transposeA' | 'transposeB',
      boolean
    >
    const [batchA, batchB] = [sizeOf(a.shape.slice(0, -2)), sizeOf(b.shape.slice(0, -2))]
    const batch = Math.max(batchA, batchB)
    const [m, k] = lastTwo(a, transposeA)
    const [, n] = lastTwo(b, transposeB)
    const evenly = (batchA === batch || batchA === 1) && (batchB === batch || batchB === 1)
    const size = batch * m * n
    const real = a.dtype === 'float32' && b.dtype === 'float32'
    if (!real || !evenly || size * k === 0) return own(call)

    const outer = [a, b].map(({ shape }) => shape.slice(0, -2)) as [number[], number[]]
    const shape = [...tf.backend_util.assertAndGetBroadcastShape(...outer), m, n]
    const tile = tileFor(m, n, k, batch)
    const tiles = Math.ceil(m / tile.rows) * Math.ceil(n / tile.columns) * batch
    const most = Math.min(Math.floor(k / LEAST_DEPTH), Math.floor(MOST_PARTIAL / size))
    const wanted = Math.max(1, Math.min(Math.floor(WANTED_GROUPS / tiles), most))
    const span = Math.ceil(k / wanted / DEEP) * DEEP
    const parts = Math.ceil(k / span)
    const whole = recorder.output(parts === 1 ? shape : [parts, size])
    const sizes = [batchA === 1 ? 0 : m * k, batchB === 1 ? 0 : k * n]
    const uniforms = [m, n, k, batch, parts, span, ...sizes]
    recorder.run(kernelFor(transposeA, transposeB, tile), [a, b], [whole], uniforms, tiles * parts)
    if (parts === 1) return whole
    const sum = sumOfRows(recorder, whole, shape)
    recorder.backend.disposeData(whole.dataId)
    return sum
  }

/** Small tiles where larger ones would leave most of a GPU idle; else those that read the least. */
function tileFor(m: number, n: number, k: number, batch: number): Tile {
  const large = Math.ceil(m / 64) * Math.ceil(n / 64) * batch
  if (large < FEW_TILES && k < 2 * LEAST_DEPTH) return { rows: 32, columns: 32 }
  return n > 32 ? { rows: 64, columns: 64 } : { rows: 128, columns: 32 }
}

/** Rows and columns of a matrix, or of its transpose. */
function lastTwo({ shape }: TensorInfo, transposed: boolean): [number, number] {
  const [rows, columns] = shape.slice(-2) as [number, number]
  return transposed ? [columns, rows] : [rows, columns]
}
