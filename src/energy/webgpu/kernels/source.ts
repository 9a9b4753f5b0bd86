/** How a kernel is described before it is compiled, and what every kernel begins with. */
import { webgpuPageSize, type Shape } from '../shape.js'

export interface Binding {
  name: string
  /** Of its elements: `vec4f`, `f32`, ... */
  type: string
  write?: boolean
}

/**
 * WGSL of one compute pipeline, entry point `main`. Every kernel is bound to `round` (what the present
 * pass is) and `rows` (its answers) first, then to its own buffers in order.
 */
export interface KernelSource {
  name: string
  bindings: readonly Binding[]
  code: string
}

export const read = (name: string, type = 'vec4f'): Binding => ({ name, type })
export const write = (name: string, type = 'vec4f'): Binding => ({ name, type, write: true })

/** Bits of a row's flags. */
export const flag = {
  /** The answer's tokens are given: there is no slot. */
  given: 1,
  /** A token of a context. */
  observed: 2,
  /** The step token of `time_embed`. */
  stepToken: 4,
  /** Vocab space: the state passes through softmax. */
  normalized: 8,
  acceptLower: 16,
  /** The state counts as an answer, so its energy enters the comparison for the best. */
  counts: 32,
  /** A pass with y = 0. */
  zero: 64,
  /** The best answer so far is read, not the last. */
  best: 128,
  /** The last token of an observed run: drafts are read from it. */
  last: 256,
  /** A push is added to the step. */
  pushed: 512,
  /** The state is read, not the last answer. */
  present: 1024,
} as const

/** Stands for an energy that is not known yet: infinity is no safe number in WGSL. */
export const unknownEnergy = Math.fround(3.4e38)

/** Largest number of the most probable tokens that the device itself picks. */
export const mostTop = 64

/** Vocabulary entries that one partial sum of the expected embedding covers. */
export const vocabChunk = 512

const f32 = (x: number): string => {
  const text = Math.fround(x).toString()
  return /[.e]/.test(text) ? text : `${text}.0`
}
export const literal = f32

export const u32 = (x: number): string => `${String(x)}u`

/** Words of a row, in order; `device-rows.ts` fills them. */
const rowStruct = `struct Row {
  slot: u32, contextId: u32, context: u32, position: u32,
  landscape: u32, own: u32, flags: u32, step: u32,
  alpha: f32, noise: f32, seedLow: u32, seedHigh: u32,
  candidate: u32, token: u32, cache: u32, result: u32,
}
struct Round {
  positions: u32, answers: u32, first: u32, block: u32,
  stride: u32, probe: u32, top: u32, unused: u32,
}`

function prelude(shape: Shape): string {
  const constants: Record<string, number> = {
    D: shape.dim,
    LD: shape.ld,
    LD4: shape.ld / 4,
    H: shape.heads,
    HEAD: shape.headWidth,
    LDF: shape.ldFfn,
    V: shape.vocab,
    LDV: shape.ldVocab,
    K: shape.block,
    LDS: shape.ldState,
    LDS4: shape.ldState / 4,
    W: shape.stateWidth,
    PAGES: shape.pages,
    PAGE: webgpuPageSize,
    TABLE: shape.pagesPerContext,
    SINK: shape.sink,
    ...Object.fromEntries(Object.entries(flag).map(([name, bit]) => [name.toUpperCase(), bit])),
  }
  const lines = Object.entries(constants).map(([name, value]) => `const ${name} = ${u32(value)};`)
  return `${lines.join('\n')}
const UNKNOWN = ${f32(unknownEnergy)};
${rowStruct}
@group(0) @binding(0) var<uniform> round: Round;
@group(0) @binding(1) var<storage, read> rows: array<Row>;
fn rowOf(p: u32) -> Row { return rows[round.first + p / round.block]; }
fn has(row: Row, bit: u32) -> bool { return (row.flags & bit) != 0u; }
`
}

const declare = (bindings: readonly Binding[]): string =>
  bindings
    .map(
      ({ name, type, write }, i) =>
        `@group(0) @binding(${i + 2}) var<storage, ${write ? 'read_write' : 'read'}> ${name}: array<${type}>;`,
    )
    .join('\n')

/** A kernel whose WGSL is `body`, which has `main`, after the constants of the shape and the buffers. */
export const kernel = (
  shape: Shape,
  name: string,
  bindings: readonly Binding[],
  body: string,
): KernelSource => ({
  name,
  bindings,
  code: `${prelude(shape)}\n${declare(bindings)}\n${body}`,
})

/** Needs a binding `tokens`: clamped tokens of all slots [slots][K], then what a call uploads. */
export const moving = `
fn known(row: Row, i: u32) -> i32 {
  if (has(row, GIVEN)) { return -1; }
  return tokens[row.slot * K + i];
}
`

/** Where the keys of observed position j begin in a layer's cache, in numbers; values follow after LD. */
export const location = `
fn location(row: Row, j: u32) -> u32 {
  var page = PAGES;
  var lane = 0u;
  if (j >= SINK) {
    let t = j - SINK;
    page = pages[row.contextId * TABLE + t / PAGE];
    lane = t % PAGE;
  }
  return ((row.cache * (PAGES + 1u) + page) * PAGE + lane) * 2u * LD;
}
`

/** Sums and largest values over the threads of a workgroup, in one fixed order. */
export const reductions = (threads = 64): string => `
var<workgroup> ofThreads: array<f32, ${threads}>;
fn sumAll(t: u32, x: f32) -> f32 {
  workgroupBarrier();
  ofThreads[t] = x;
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 0u; i < ${threads}u; i++) { sum += ofThreads[i]; }
  return sum;
}
fn maxAll(t: u32, x: f32) -> f32 {
  workgroupBarrier();
  ofThreads[t] = x;
  workgroupBarrier();
  var most = ofThreads[0];
  for (var i = 1u; i < ${threads}u; i++) { most = max(most, ofThreads[i]); }
  return most;
}
`
