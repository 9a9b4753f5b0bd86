/**
 * Products of activations and weights, with what precedes and follows them in one kernel:
 * out = finish(prepare(a) w), a [positions][depth], w [depth][columns], packed by weights.ts.
 *
 * A thread has four columns of some positions. Each number is one chain of fused multiply-adds over
 * the depth in order, whatever the number of positions to a thread: a row's bits depend on the row
 * alone. There is no workgroup memory and no barrier, for software adapters are slow at both.
 */
import type { Shape } from '../shape.js'
import { type Binding, kernel, type KernelSource, literal, read, u32, write } from './source.js'

/** Threads of a workgroup: groups of four columns by groups of positions. */
export const productGroup = [16, 4] as const

/** Positions of one thread: of a pass of few positions, and of one of many. */
export const positionsPerThread = { few: 1, many: 8 } as const
export type Amount = keyof typeof positionsPerThread

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

function product(shape: Shape, product: Product): KernelSource {
  const { bindings, chunk, columns, depth, finish, functions = '', name, normed, scaled } = product
  const count = positionsPerThread[product.amount]
  const each = (line: (r: string) => string): string =>
    Array.from({ length: count }, (_, r) => line(String(r))).join('\n')
  const all: readonly Binding[] = [
    read('a'),
    read('w'),
    ...(scaled ? [read('scale')] : []),
    ...bindings,
  ]
  const vectors = depth / 4
  const range = chunk
    ? `let begin = g.z * ${u32(chunk)}; let until = min(begin + ${u32(chunk)}, ${u32(vectors)});`
    : `let begin = 0u; let until = ${u32(vectors)};`
  const multiply = (r: string): string =>
    ['x', 'y', 'z', 'w']
      .map((part, i) => `acc${r} = fma(vec4f(x${r}.${part}), w${i}, acc${r});`)
      .join(' ')
  const normalize = normed
    ? (r: string) =>
        `acc${r} *= inverseSqrt((sq${r}.x + sq${r}.y + sq${r}.z + sq${r}.w) / f32(D) + ${literal(shape.config.norm_eps)});`
    : () => ''
  return kernel(
    shape,
    `${name}, ${product.amount} positions`,
    all,
    `${functions}
fn finish(p: u32, c: u32, part: u32, x: vec4f) {
${finish}
}
@compute @workgroup_size(${productGroup[0]}, ${productGroup[1]})
fn main(@builtin(global_invocation_id) g: vec3u) {
  let c = g.x;
  let first = g.y * ${u32(count)};
  if (c >= ${u32(columns / 4)} || first >= round.positions) { return; }
  let end = round.positions - 1u;
  ${range}
${each(
  (r) => `  let p${r} = min(first + ${r}u, end); let a${r} = p${r} * ${u32(vectors)};
  var acc${r} = vec4f(); ${normed ? `var sq${r} = vec4f();` : ''}
  ${scaled ? `let s${r} = rowOf(p${r}).landscape * ${u32(vectors)};` : ''}`,
)}
  for (var k = begin; k < until; k++) {
    let at = k * ${u32(columns)} + c;
    let w0 = w[at]; let w1 = w[at + ${u32(columns / 4)}];
    let w2 = w[at + ${u32(columns / 2)}]; let w3 = w[at + ${u32((columns / 4) * 3)}];
${each(
  (r) => `    var x${r} = a[a${r} + k];
    ${normed ? `sq${r} = fma(x${r}, x${r}, sq${r});` : ''} ${scaled ? `x${r} *= scale[s${r} + k];` : ''}
    ${multiply(r)}`,
)}
  }
${each((r) => `  ${normalize(r)} if (first + ${r}u <= end) { finish(p${r}, c, g.z, acc${r}); }`)}
}
`,
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
