/**
 * Attention of positions to their context, in pages, and to their own answer, under one softmax. One
 * thread for each score and for each few numbers of an output, without barriers: first the scores of
 * all keys, then sums over them. The way back has the same two halves.
 *
 * Scores are [position][head][stride]: keys of the context first, the answer's own after them.
 */
import type { Shape } from '../shape.js'
import { kernel, type KernelSource, literal, location, read, u32, write } from './source.js'
import { chainGroup, chains, perVector } from './threads.js'

/** Threads of a workgroup: keys by positions. */
export const scoreGroup = [64, 1] as const

/** Numbers that are read together: heads are even in width. */
export const headVector = (shape: Shape): 2 | 4 => (shape.headWidth % 4 === 0 ? 4 : 2)

const parts = { 2: ['x', 'y'], 4: ['x', 'y', 'z', 'w'] } as const

/** Constants of kernels that read [..][LD] in vectors within a head. */
function headConstants(shape: Shape): string {
  const size = headVector(shape)
  const sum = parts[size].map((part) => `x.${part}`).join(' + ')
  return `
alias Vec = vec${size}f;
const SIZE = ${size}u;
const HV = HEAD / SIZE;
const LV = LD / SIZE;
fn total(x: Vec) -> f32 { return ${sum}; }
`
}

const vector = (shape: Shape): string => `vec${headVector(shape)}f`

/** Where key `j` of position `p` begins, in vectors, and whether it is the answer's own. */
const keys = `
struct Key { at: u32, own: bool }
fn keyOf(row: Row, p: u32, j: u32) -> Key {
  if (j < row.context) { return Key(location(row, j) / SIZE, false); }
  return Key((p - p % round.block + j - row.context) * 3u * LV + LV, true);
}
`

/** One thread for each score: `body` knows `p`, `row`, `head` and `key`, and that the key is number `g.x`. */
const perScore = (body: string): string => `
@compute @workgroup_size(${scoreGroup[0]}, ${scoreGroup[1]})
fn main(@builtin(global_invocation_id) g: vec3u) {
  let p = g.y;
  if (p >= round.positions) { return; }
  let row = rowOf(p);
  if (g.x >= row.context + row.own) { return; }
  let head = g.z;
  let key = keyOf(row, p, g.x);
${body}
}
`

/** Scores of all keys; with `normalized`, once their softmax is known, the probabilities themselves. */
export function scores(shape: Shape, normalized = false): KernelSource {
  const type = vector(shape)
  const bindings = [
    read('qkv', type),
    read('kv', type),
    read('pages', 'u32'),
    ...(normalized ? [read('logSums', 'f32')] : []),
    write('scores', 'f32'),
  ]
  return kernel(
    shape,
    normalized ? 'probabilities' : 'scores',
    bindings,
    `${headConstants(shape)}${location}${keys}
${perScore(`  let q = p * 3u * LV + head * HV;
  let k = key.at + head * HV;
  var sum = Vec();
  if (key.own) {
    for (var i = 0u; i < HV; i++) { sum = fma(qkv[q + i], qkv[k + i], sum); }
  } else {
    for (var i = 0u; i < HV; i++) { sum = fma(qkv[q + i], kv[k + i], sum); }
  }
  scores[(p * H + head) * round.stride + g.x] = ${
    normalized ? 'exp(total(sum) - logSums[p * H + head])' : 'total(sum)'
  };`)}`,
  )
}

/** Workgroups of `mix` where the chains of a position are so many threads. */
export const splitMixGrid = (vectors: number, positions: number): [number, number, number] => [
  Math.ceil(vectors / chainGroup[0]),
  positions,
  1,
]

/**
 * softmax(scores) V, [position][LD]; and log of the softmax's denominator where a gradient follows. `split`: for
 * few positions, with a thread for each chain; both give the same bits.
 */
export function mix(shape: Shape, split: boolean): KernelSource {
  const type = vector(shape)
  const bindings = [
    read('qkv', type),
    read('kv', type),
    read('pages', 'u32'),
    read('scores', 'f32'),
    write('mixed', type),
    ...(shape.gradient ? [write('logSums', 'f32')] : []),
  ]
  const body = `
fn largest(at: u32, low: u32, high: u32) -> f32 {
  var most = -3.4e38;
  for (var j = low; j < high; j++) { most = max(most, scores[at + j]); }
  return most;
}
struct Sums { x: Vec, sum: f32 }
fn chain(row: Row, p: u32, c: u32, at: u32, most: f32, low: u32, high: u32) -> Sums {
  var sums = Sums();
  for (var j = low; j < min(high, row.context); j++) {
    let e = exp(scores[at + j] - most);
    sums.sum += e;
    sums.x = fma(Vec(e), kv[(location(row, j) + LD) / SIZE + c], sums.x);
  }
  let own = (p - p % round.block) * 3u * LV + 2u * LV + c;
  for (var j = max(low, row.context); j < high; j++) {
    let e = exp(scores[at + j] - most);
    sums.sum += e;
    sums.x = fma(Vec(e), qkv[own + (j - row.context) * 3u * LV], sums.x);
  }
  return sums;
}
fn finish(p: u32, c: u32, most: f32, sums: Sums) {
  mixed[p * LV + c] = sums.x / sums.sum;
  ${shape.gradient ? 'if (c % HV == 0u) { logSums[p * H + c / HV] = most + log(sums.sum); }' : ''}
}`
  const across = u32(chainGroup[0])
  const divided = `
  let at = (p * H + c / HV) * round.stride;
  let keys = row.context + row.own;
  let each = (keys + ${u32(chains - 1)}) / ${u32(chains)};`
  const whole = perVector(
    'H * HV',
    `${divided}
  let most = largest(at, 0u, keys);
  var total = Sums();
  for (var s = 0u; s < ${u32(chains)}; s++) {
    let sums = chain(row, p, c, at, most, s * each, min((s + 1u) * each, keys));
    total.x += sums.x;
    total.sum += sums.sum;
  }
  finish(p, c, most, total);`,
  )
  const shared = `
var<workgroup> ofThreads: array<Sums, ${chainGroup[0] * chains}>;
@compute @workgroup_size(${chainGroup[0]}, ${chains})
fn main(@builtin(workgroup_id) g: vec3u, @builtin(local_invocation_id) t: vec3u) {
  let wanted = g.x * ${across} + t.x;
  let c = min(wanted, H * HV - 1u);
  let p = g.y;
  let row = rowOf(p);${divided}
  let low = min(t.y * each, keys);
  let high = min(low + each, keys);
  let mine = t.y * ${across} + t.x;
  ofThreads[mine].sum = largest(at, low, high);
  workgroupBarrier();
  var most = -3.4e38;
  for (var s = 0u; s < ${u32(chains)}; s++) { most = max(most, ofThreads[s * ${across} + t.x].sum); }
  workgroupBarrier();
  ofThreads[mine] = chain(row, p, c, at, most, low, high);
  workgroupBarrier();
  if (t.y > 0u || wanted != c) { return; }
  var total = Sums();
  for (var s = 0u; s < ${u32(chains)}; s++) {
    total.x += ofThreads[s * ${across} + t.x].x;
    total.sum += ofThreads[s * ${across} + t.x].sum;
  }
  finish(p, c, most, total);
}
`
  return kernel(
    shape,
    split ? 'mix, few positions' : 'mix',
    bindings,
    `${headConstants(shape)}${location}${body}${split ? shared : whole}`,
  )
}

/** Keys and values of observed tokens into their pages. */
export function remember(shape: Shape): KernelSource {
  const bindings = [read('qkv'), read('pages', 'u32'), write('kv')]
  return kernel(
    shape,
    'remember',
    bindings,
    `${location}
${perVector(
  '2u * LD4',
  `
  kv[location(row, row.context - 1u) / 4u + c] = qkv[p * 3u * LD4 + LD4 + c];`,
)}`,
  )
}

/** d/d score of every key, from probabilities, mixed, and d/d mixed [position][LD]. */
export function scoresBack(shape: Shape): KernelSource {
  const type = vector(shape)
  const bindings = [
    read('qkv', type),
    read('kv', type),
    read('pages', 'u32'),
    read('mixed', type),
    read('slope', type),
    read('scores', 'f32'),
    write('slopes', 'f32'),
  ]
  return kernel(
    shape,
    'scores, back',
    bindings,
    `${headConstants(shape)}${location}${keys}
${perScore(`  let o = p * LV + head * HV;
  // Values follow their keys after LD numbers, in pages as in qkv.
  let v = key.at + LV + head * HV;
  var along = Vec();
  if (key.own) {
    for (var i = 0u; i < HV; i++) { along = fma(slope[o + i], qkv[v + i] - mixed[o + i], along); }
  } else {
    for (var i = 0u; i < HV; i++) { along = fma(slope[o + i], kv[v + i] - mixed[o + i], along); }
  }
  let at = (p * H + head) * round.stride + g.x;
  slopes[at] = scores[at] * total(along);`)}`,
  )
}

/** The rotation of rotary embeddings, undone. */
function unrotate(shape: Shape): string {
  const one = (x: string, y: string, a: string): string =>
    `${x} * ${a}.x + ${y} * ${a}.y, ${y} * ${a}.x - ${x} * ${a}.y`
  const wide = headVector(shape) === 4
  return `
fn unrotate(x: Vec, row: Row, p: u32, i: u32) -> Vec {
  let at = (row.position + p % round.block) * (HEAD / 2u) + i * SIZE / 2u;
  let a = angles[at];
  ${wide ? 'let b = angles[at + 1u];' : ''}
  return Vec(${one('x.x', 'x.y', 'a')}${wide ? `, ${one('x.z', 'x.w', 'b')}` : ''});
}
`
}

/** d/d q from d/d scores, into [position][3 LD]. */
export function queriesBack(shape: Shape): KernelSource {
  const type = vector(shape)
  const bindings = [
    read('qkv', type),
    read('kv', type),
    read('pages', 'u32'),
    read('slopes', 'f32'),
    read('angles', 'vec2f'),
    write('result', type),
  ]
  return kernel(
    shape,
    'queries, back',
    bindings,
    `${headConstants(shape)}${location}${unrotate(shape)}
${perVector(
  'H * HV',
  `
  let at = (p * H + c / HV) * round.stride;
  var x = Vec();
  for (var j = 0u; j < row.context; j++) {
    x = fma(Vec(slopes[at + j]), kv[location(row, j) / SIZE + c], x);
  }
  let own = (p - i) * 3u * LV + LV + c;
  for (var j = 0u; j < row.own; j++) {
    x = fma(Vec(slopes[at + row.context + j]), qkv[own + j * 3u * LV], x);
  }
  result[p * 3u * LV + c] = unrotate(x * ${literal(shape.headWidth ** -0.5)}, row, p, c % HV);`,
)}`,
  )
}

/** d/d k and d/d v of the answer's own positions, into [position][3 LD]. */
export function keysBack(shape: Shape): KernelSource {
  const type = vector(shape)
  const bindings = [
    read('qkv', type),
    read('slope', type),
    read('scores', 'f32'),
    read('slopes', 'f32'),
    read('angles', 'vec2f'),
    write('result', type),
  ]
  return kernel(
    shape,
    'keys and values, back',
    bindings,
    `${headConstants(shape)}${unrotate(shape)}
${perVector(
  'H * HV',
  `
  let first = p - i;
  var dk = Vec();
  var dv = Vec();
  for (var j = 0u; j < row.own; j++) {
    let at = ((first + j) * H + c / HV) * round.stride + row.context + i;
    dk = fma(Vec(slopes[at]), qkv[(first + j) * 3u * LV + c], dk);
    dv = fma(Vec(scores[at]), slope[(first + j) * LV + c], dv);
  }
  result[p * 3u * LV + LV + c] = unrotate(dk, row, p, c % HV);
  result[p * 3u * LV + 2u * LV + c] = dv;`,
)}`,
  )
}
