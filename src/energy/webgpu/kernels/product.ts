/**
 * Products of activations and weights, with what precedes and follows them in one kernel:
 * out = finish(prepare(a) w), a [positions][depth], w [depth][columns], packed by weights.ts.
 *
 * Each number is the sum, in order, of `chains` chains of fused multiply-adds over equal parts of the depth,
 * whatever the number of positions: a row's bits depend on the row alone. A thread has four columns. In a pass
 * of many positions it has several of them, and one chain after the other; in one of few, a thread has one
 * chain of one position, since a GPU waits some hundred cycles for each thing that a chain reads.
 */
import type { Shape } from '../shape.js'
import { type Binding, kernel, type KernelSource, literal, read, u32, write } from './source.js'
import { chainGroup, chains } from './threads.js'

/** Positions of one thread. `split`: its chains are so many threads. */
const positionsPerThread = { split: 1, one: 1, some: 4, many: 8 } as const
export type Amount = keyof typeof positionsPerThread

/** Threads of a workgroup: groups of four columns, by groups of positions or by chains. */
const [across] = chainGroup
const down = 4

/** Positions up to which a thread has one of them: more would be idle. */
const fewPositions = 16

interface ProductSize {
  columns: number
  /** Into which the depth is cut. */
  parts: number
  positions: number
}

/**
 * The kernels of a product from the most positions of a thread to the fewest, and which of them suits a pass.
 * `busy`: threads that keep the adapter busy; 0 where it computes on the CPU, and is slow at barriers, which
 * `split` has.
 */
export const productAmounts = (busy: number): readonly Amount[] =>
  busy === 0 ? ['many', 'one'] : ['many', 'some', 'split']
export const suits = (amount: Amount, busy: number, size: ProductSize): boolean =>
  amount === 'one' ||
  amount === 'split' ||
  (size.positions > fewPositions && productGrid(amount, size).threads >= busy)

const ceil = (n: number, by: number): number => Math.ceil(n / by)

/** Workgroups of a product, and what they have in threads. */
export function productGrid(
  amount: Amount,
  { columns, parts, positions }: ProductSize,
): { grid: [number, number, number]; threads: number } {
  const wide = ceil(columns / 4, across)
  const groups = ceil(positions, positionsPerThread[amount])
  const split = amount === 'split'
  const high = split ? groups : ceil(groups, down)
  return {
    grid: [wide, high, parts],
    threads: across * (split ? chains : down) * wide * high * parts,
  }
}

interface Product {
  name: string
  /** Padded. */
  depth: number
  columns: number
  amount: Amount
  /** `a` passes through RMSNorm first; its weight is folded into w. */
  normed?: boolean
  /** Each element of `a` is multiplied by `scale[landscape]` (adaLN's scales and gates). */
  scaled?: boolean
  /** Cuts the depth into parts of so many vectors; `finish` is given the part. */
  chunk?: number
  bindings: readonly Binding[]
  /** Body of `finish(p, c, x)`: x are columns 4 c to 4 c + 3 of position p; with `chunk`, of `part`. */
  finish: string
  /** Functions that `finish` needs. */
  functions?: string
}

/** One chain of positions `first` to `first + count - 1`, from vector `low` to `high`: `acc0`, ... and squares `sq0`, ... */
function chain(count: number, { columns, depth, normed, scaled }: Product): string {
  const each = (line: (r: string) => string): string =>
    Array.from({ length: count }, (_, r) => line(String(r))).join('\n')
  const multiply = (r: string): string =>
    ['x', 'y', 'z', 'w']
      .map((part, i) => `acc${r} = fma(vec4f(x${r}.${part}), w${i}, acc${r});`)
      .join(' ')
  return `
${each((r) => `  var acc${r} = vec4f(); ${normed ? `var sq${r} = vec4f();` : ''}`)}
  for (var k = low; k < high; k++) {
    let at = k * ${u32(columns)} + c;
    let w0 = w[at]; let w1 = w[at + ${u32(columns / 4)}];
    let w2 = w[at + ${u32(columns / 2)}]; let w3 = w[at + ${u32((columns / 4) * 3)}];
${each(
  (r) => `    var x${r} = a[p${r} * ${u32(depth / 4)} + k];
    ${normed ? `sq${r} = fma(x${r}, x${r}, sq${r});` : ''} ${scaled ? `x${r} *= scale[s${r} + k];` : ''}
    ${multiply(r)}`,
)}
  }`
}

function product(shape: Shape, product: Product): KernelSource {
  const { amount, bindings, chunk, columns, depth, finish, functions = '', name } = product
  const { normed, scaled } = product
  const count = positionsPerThread[amount]
  const each = (line: (r: string) => string): string =>
    Array.from({ length: count }, (_, r) => line(String(r))).join('\n')
  const all: readonly Binding[] = [
    read('a'),
    read('w'),
    ...(scaled ? [read('scale')] : []),
    ...bindings,
  ]
  const vectors = depth / 4
  const part = chunk ?? vectors
  const ends = (s: string): string =>
    `let low = min(begin + ${s} * ${u32(ceil(part, chains))}, until); let high = min(low + ${u32(ceil(part, chains))}, until);`
  const place = (r: string): string =>
    `  let p${r} = min(first + ${r}u, end); ${scaled ? `let s${r} = rowOf(p${r}).landscape * ${u32(vectors)};` : ''}`
  const scale = (sum: string, square: string): string =>
    normed
      ? `${sum} *= inverseSqrt((${square}.x + ${square}.y + ${square}.z + ${square}.w) / f32(D) + ${literal(shape.config.norm_eps)});`
      : ''
  const range = `let begin = g.z * ${u32(part)}; let until = min(begin + ${u32(part)}, ${u32(vectors)});
  let end = round.positions - 1u;`
  const split = `
var<workgroup> sums: array<vec4f, ${chains * across}>;
${normed ? `var<workgroup> squares: array<vec4f, ${chains * across}>;` : ''}
@compute @workgroup_size(${across}, ${chains})
fn main(@builtin(workgroup_id) g: vec3u, @builtin(local_invocation_id) t: vec3u) {
  let wanted = g.x * ${u32(across)} + t.x;
  let c = min(wanted, ${u32(columns / 4 - 1)});
  let first = g.y;
  ${range}
  ${ends('t.y')}
${each(place)}
  {${chain(count, product)}
  sums[t.y * ${u32(across)} + t.x] = acc0;
  ${normed ? `squares[t.y * ${u32(across)} + t.x] = sq0;` : ''}
  }
  workgroupBarrier();
  if (t.y > 0u || wanted != c || first > end) { return; }
  var sum = vec4f();
  ${normed ? 'var square = vec4f();' : ''}
  for (var s = 0u; s < ${u32(chains)}; s++) {
    sum += sums[s * ${u32(across)} + t.x];
    ${normed ? `square += squares[s * ${u32(across)} + t.x];` : ''}
  }
  ${scale('sum', 'square')} finish(p0, c, g.z, sum);
}
`
  const whole = `
@compute @workgroup_size(${across}, ${down})
fn main(@builtin(global_invocation_id) g: vec3u) {
  let c = g.x;
  let first = g.y * ${u32(count)};
  if (c >= ${u32(columns / 4)} || first >= round.positions) { return; }
  ${range}
${each((r) => `${place(r)} var sum${r} = vec4f(); ${normed ? `var square${r} = vec4f();` : ''}`)}
  for (var s = 0u; s < ${u32(chains)}; s++) {
    ${ends('s')}
${chain(count, product)}
${each((r) => `    sum${r} += acc${r}; ${normed ? `square${r} += sq${r};` : ''}`)}
  }
${each((r) => `  ${scale(`sum${r}`, `square${r}`)} if (first + ${r}u <= end) { finish(p${r}, c, g.z, sum${r}); }`)}
}
`
  return kernel(
    shape,
    `${name}, ${amount} positions`,
    all,
    `${functions}
fn finish(p: u32, c: u32, part: u32, x: vec4f) {
${finish}
}
${amount === 'split' ? split : whole}`,
  )
}

/** out [positions][columns] = prepare(a) w */
export const plainProduct = (
  shape: Shape,
  amount: Amount,
  depth: number,
  columns: number,
  scaled = false,
): KernelSource =>
  product(shape, {
    name: 'product',
    amount,
    columns,
    depth,
    scaled,
    bindings: [write('result')],
    finish: `  result[p * ${u32(columns / 4)} + c] = x;`,
  })

/** q, k, v of norm(a), rotated, q divided by sqrt(d): [positions][3 LD] */
export const qkvProduct = (shape: Shape, amount: Amount): KernelSource =>
  product(shape, {
    name: 'q, k and v',
    amount,
    depth: shape.ld,
    columns: 3 * shape.ld,
    normed: true,
    scaled: shape.adaptive,
    bindings: [read('angles', 'vec2f'), ...(shape.adaptive ? [read('bias')] : []), write('qkv')],
    finish: `
  let row = rowOf(p);
  let third = c / LD4;
  let column = 4u * (c % LD4);
  var y = x${shape.adaptive ? ' + bias[row.landscape * 3u * LD4 + c]' : ''};
  if (third < 2u) {
    let at = (row.position + p % round.block) * (HEAD / 2u);
    let a0 = angles[at + (column % HEAD) / 2u];
    let a1 = angles[at + ((column + 2u) % HEAD) / 2u];
    y = vec4f(y.x * a0.x - y.y * a0.y, y.y * a0.x + y.x * a0.y, y.z * a1.x - y.w * a1.y, y.w * a1.x + y.z * a1.y);
    if (third == 0u) { y *= ${literal(shape.headWidth ** -0.5)}; }
  }
  qkv[p * 3u * LD4 + c] = y;`,
  })

/** result = before + gate a w: [positions][LD] */
export const residualProduct = (shape: Shape, amount: Amount, depth: number): KernelSource =>
  product(shape, {
    name: 'residual',
    amount,
    depth,
    columns: shape.ld,
    bindings: [read('before'), ...(shape.adaptive ? [read('gate')] : []), write('result')],
    finish: shape.adaptive
      ? '  result[p * LD4 + c] = before[p * LD4 + c] + gate[rowOf(p).landscape * LD4 + c] * x;'
      : '  result[p * LD4 + c] = before[p * LD4 + c] + x;',
  })

/**
 * silu(w1 a) * (w3 a) of norm(a), [positions][LDF]: columns of w are w1's and w3's in turn. Where a
 * gradient is needed, both are kept: [positions][2 LDF].
 */
export const gatesProduct = (shape: Shape, amount: Amount): KernelSource =>
  product(shape, {
    name: 'gates',
    amount,
    depth: shape.ld,
    columns: 2 * shape.ldFfn,
    normed: true,
    scaled: shape.adaptive,
    bindings: [
      ...(shape.adaptive ? [read('bias')] : []),
      write('hidden', 'vec2f'),
      ...(shape.gradient ? [write('kept')] : []),
    ],
    finish: `
  let y = x${shape.adaptive ? ' + bias[rowOf(p).landscape * LDF / 2u + c]' : ''};
  hidden[p * LDF / 2u + c] = vec2f(y.x / (1.0 + exp(-y.x)) * y.y, y.z / (1.0 + exp(-y.z)) * y.w);
  ${shape.gradient ? 'kept[p * LDF / 2u + c] = y;' : ''}`,
  })

/** The way back through the gates: from d/d hidden = (gate a) w to d/d (w1 a) and d/d (w3 a), in turn. */
export const gatesBackProduct = (shape: Shape, amount: Amount): KernelSource =>
  product(shape, {
    name: 'gates, back',
    amount,
    depth: shape.ld,
    columns: shape.ldFfn,
    scaled: shape.adaptive,
    bindings: [read('kept'), write('result')],
    functions: `
fn back(a: f32, b: f32, g: f32) -> vec2f {
  let s = 1.0 / (1.0 + exp(-a));
  return vec2f(g * b * s * (1.0 + a * (1.0 - s)), g * a * s);
}`,
    finish: `
  let at = p * LDF / 2u + 2u * c;
  let k0 = kept[at];
  let k1 = kept[at + 1u];
  result[at] = vec4f(back(k0.x, k0.y, x.x), back(k0.z, k0.w, x.y));
  result[at + 1u] = vec4f(back(k1.x, k1.y, x.z), back(k1.z, k1.w, x.w));`,
  })

/** Opinions C norm(h), and where they correct a draft, A y_0 besides: [positions][LD] */
export const opinionProduct = (shape: Shape, amount: Amount): KernelSource =>
  product(shape, {
    name: 'opinions',
    amount,
    depth: shape.ld,
    columns: shape.ld,
    normed: true,
    scaled: shape.adaptive,
    bindings: [
      ...(shape.adaptive ? [read('bias')] : []),
      ...(shape.anchored ? [read('anchors')] : []),
      write('opinions'),
    ],
    finish: `
  var y = x${shape.adaptive ? ' + bias[rowOf(p).landscape * LD4 + c]' : ''};
  ${
    shape.anchored
      ? 'let row = rowOf(p);\n  if (row.context > 0u) { y += anchors[row.contextId * LD4 + c]; }'
      : ''
  }
  opinions[p * LD4 + c] = y;`,
  })

/** w norm(h) of the last token of each observed run, [contexts][LD] */
export const contextProduct = (shape: Shape, amount: Amount): KernelSource =>
  product(shape, {
    name: 'drafts of contexts',
    amount,
    depth: shape.ld,
    columns: shape.ld,
    normed: true,
    bindings: [write('result')],
    finish: `
  let row = rowOf(p);
  if (has(row, LAST)) { result[row.contextId * LD4 + c] = x; }`,
  })

/** Expected embeddings in parts of the vocabulary, [part][most positions][LD]; `most`: of a pass. */
export const expectProduct = (
  shape: Shape,
  amount: Amount,
  chunk: number,
  most: number,
): KernelSource =>
  product(shape, {
    name: 'expected embedding',
    amount,
    depth: shape.ldVocab,
    columns: shape.ld,
    chunk: chunk / 4,
    bindings: [write('result')],
    finish: `  result[(part * ${u32(most)} + p) * LD4 + c] = x;`,
  })
