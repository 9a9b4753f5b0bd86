/**
 * Where answers stand and go: their states in slots, the point at which an energy is taken, the inputs
 * of the network there, and the step. A slot's buffers are [slots][K][LDS].
 */
import type { Shape } from '../shape.js'
import { noise } from './noise.js'
import {
  kernel,
  type KernelSource,
  literal,
  moving,
  read,
  reductions,
  u32,
  vocabChunk,
  write,
} from './source.js'
import { perPosition, perVector, vocabThreads } from './threads.js'

/** Bit patterns beyond the last element of a position stay zero. */
const withinWidth = `
fn inside(c: u32) -> vec4<bool> { return vec4u(4u * c, 4u * c + 1u, 4u * c + 2u, 4u * c + 3u) < vec4u(W); }
fn within(c: u32, x: vec4f) -> vec4f { return select(vec4f(), x, inside(c)); }
`

/**
 * Inputs of the network, [position][LD], and in latent space the point at which the energy is taken. A push
 * moves that point along the amortized direction, where a step goes to F.
 * `marks`: queries + blank [K], queries [K], step embeddings [T].
 */
export function enterLatent(shape: Shape): KernelSource {
  const bindings = [
    read('state'),
    read('table'),
    read('marks'),
    read('tokens', 'i32'),
    ...(shape.gradient ? [] : [read('pushes')]),
    write('base'),
    write('x'),
  ]
  const conditioned = shape.config.conditioning === 'candidate'
  return kernel(
    shape,
    'enter',
    bindings,
    `${moving}${noise}${withinWidth}
${perVector(
  'LD4',
  `
  if (has(row, STEPTOKEN)) { x[p * LD4 + c] = marks[(2u * K + row.landscape) * LD4 + c]; return; }
  if (has(row, OBSERVED)) { x[p * LD4 + c] = table[row.token * LD4 + c]; return; }
  let token = known(row, i);
  var y = vec4f();
  if (has(row, GIVEN)) {
    y = table[u32(tokens[row.token + i]) * LD4 + c];
  } else if (!has(row, ZERO)) {
    y = state[(row.slot * K + i) * LD4 + c];
    if (round.probe == 0u && row.noise != 0.0 && token < 0) {
      y = fma(within(c, normalsFrom(row, i * D + 4u * c, row.step + 1u)), vec4f(row.noise), y);
    }
    ${
      shape.gradient
        ? ''
        : 'if (has(row, PUSHED) && token < 0) { y = fma(vec4f(-row.alpha), pushes[(row.slot * K + i) * LD4 + c], y); }'
    }
  }
  base[p * LD4 + c] = y;
  var input = y + marks[i * LD4 + c];
  if (token >= 0) { input = table[u32(token) * LD4 + c] + marks[(K + i) * LD4 + c]; }
  ${conditioned ? 'input += marks[(2u * K + row.landscape) * LD4 + c];' : ''}
  x[p * LD4 + c] = input;`,
)}`,
  )
}

/**
 * Vocab space: inputs from the parts of the expected embedding (`most`: positions of a pass).
 * `vocabTable`: embeddings of answers; `table`: of observed and clamped tokens. `marks`: as above.
 */
export function enterVocab(shape: Shape, most: number): KernelSource {
  const bindings = [
    read('expected'),
    read('table'),
    read('vocabTable'),
    read('marks'),
    read('tokens', 'i32'),
    write('x'),
  ]
  const conditioned = shape.config.conditioning === 'candidate'
  const chunks = Math.ceil(shape.ldVocab / vocabChunk)
  return kernel(
    shape,
    'enter',
    bindings,
    `${moving}
${perVector(
  'LD4',
  `
  if (has(row, STEPTOKEN)) { x[p * LD4 + c] = marks[row.landscape * LD4 + c]; return; }
  if (has(row, OBSERVED)) { x[p * LD4 + c] = table[row.token * LD4 + c]; return; }
  let token = known(row, i);
  var input = vec4f();
  if (has(row, GIVEN)) {
    input = vocabTable[u32(tokens[row.token + i]) * LD4 + c];
  } else if (token >= 0) {
    input = table[u32(token) * LD4 + c];
  } else {
    for (var part = 0u; part < ${u32(chunks)}; part++) { input += expected[(part * ${u32(most)} + p) * LD4 + c]; }
  }
  ${conditioned ? 'input += marks[row.landscape * LD4 + c];' : ''}
  x[p * LD4 + c] = input;`,
)}`,
  )
}

/** Vocab space: the point at which the energy is taken, softmax(z + noise) or z + noise. */
export function soften(shape: Shape): KernelSource {
  const bindings = [read('state'), read('tokens', 'i32'), write('base')]
  const threads = vocabThreads(shape.vocab)
  const perThread = (body: string): string =>
    `for (var c = t; c < LDS4; c += ${u32(threads)}) {\n${body}\n  }`
  return kernel(
    shape,
    'soften',
    bindings,
    `${moving}${noise}${withinWidth}${reductions(threads)}
${perPosition(
  `
  if (has(row, GIVEN)) { return; }
  let source = (row.slot * K + i) * LDS4;
  let place = p * LDS4;
  let noisy = round.probe == 0u && row.noise != 0.0 && known(row, i) < 0;
  let least = vec4f(-3.4e38);
  var most = least;
  ${perThread(`
    var z = state[source + c];
    if (noisy) { z = fma(normalsFrom(row, i * V + 4u * c, row.step + 1u), vec4f(row.noise), z); }
    base[place + c] = within(c, z);
    most = max(most, select(least, z, inside(c)));`)}
  if (!has(row, NORMALIZED)${
    shape.config.answer.normalize === 'every_step' ? '' : ' || round.probe == 1u'
  }) { return; }
  let top = maxAll(t, max(max(most.x, most.y), max(most.z, most.w)));
  var sums = vec4f();
  ${perThread(`
    let e = within(c, exp(base[place + c] - top));
    base[place + c] = e;
    sums += e;`)}
  let inverse = 1.0 / sumAll(t, sums.x + sums.y + sums.z + sums.w);
  ${perThread('    base[place + c] *= inverse;')}`,
  threads,
)}`,
  )
}

/** A start of standard normals times the model's scale, at every position. */
export function scatter(shape: Shape): KernelSource {
  const bindings = [write('state')]
  return kernel(
    shape,
    'scatter',
    bindings,
    `${noise}${withinWidth}
${perVector(
  'LDS4',
  `
  let x = within(c, normalsFrom(row, i * W + 4u * c, 0u));
  state[(row.slot * K + i) * LDS4 + c] = x * ${literal(shape.config.answer.start_scale)};`,
)}`,
  )
}

/** A draft [position][LD] into the slots' states. */
export function place(shape: Shape): KernelSource {
  const bindings = [read('draft'), write('state')]
  return kernel(
    shape,
    'place',
    bindings,
    perVector('LD4', '  state[(row.slot * K + i) * LD4 + c] = draft[p * LD4 + c];'),
  )
}

/** The best answer so far, and what the step reads out, at the point of the energy: F or the state. */
export function keep(shape: Shape): KernelSource {
  const bindings = shape.residual
    ? [read('improved', 'u32'), read('opinions'), write('best'), write('last')]
    : [read('improved', 'u32'), read('state'), write('best')]
  const at = '(row.slot * K + i) * LDS4 + c'
  const body = shape.residual
    ? `
  let f = opinions[p * LDS4 + c];
  last[${at}] = f;
  if (improved[p / round.block] == 1u) { best[${at}] = f; }`
    : `
  if (improved[p / round.block] == 1u) { best[${at}] = state[${at}]; }`
  return kernel(shape, 'keep', bindings, perVector('LDS4', body))
}

/** state = base - alpha d where a position moves; d is base - F along the amortized direction. */
export function move(shape: Shape): KernelSource {
  const bindings = [read('base'), read('direction'), read('tokens', 'i32'), write('state')]
  const direction = shape.gradient ? 'direction[at]' : 'base[at] - direction[at]'
  return kernel(
    shape,
    'move',
    bindings,
    `${moving}
${perVector(
  'LDS4',
  `
  let at = p * LDS4 + c;
  let b = base[at];
  var next = b;
  if (known(row, i) < 0) { next = fma(vec4f(-row.alpha), ${direction}, b); }
  state[(row.slot * K + i) * LDS4 + c] = next;`,
)}`,
  )
}

/** Back to where the step began, where it was rejected. */
export function reject(shape: Shape): KernelSource {
  const bindings = [read('base'), read('rejected', 'u32'), write('state')]
  return kernel(
    shape,
    'reject',
    bindings,
    perVector(
      'LDS4',
      '  if (rejected[p / round.block] == 1u) { state[(row.slot * K + i) * LDS4 + c] = base[p * LDS4 + c]; }',
    ),
  )
}
