/** Energies, and the slopes at which descent begins its way back through the network. */
import type { Shape } from '../shape.js'
import {
  kernel,
  type KernelSource,
  literal,
  moving,
  read,
  reductions,
  u32,
  write,
} from './source.js'
import { perAnswer, perPosition, perVector, vocabThreads } from './threads.js'

/**
 * What each position adds to its answer's energy, [position]: |y - F|^2 and the entropy of softmax(U F)
 * where it moves; or head(norm(h)), and |y|^2 where it moves. `head` [landscapes][LD + 4]: the head with
 * the norm's weight and adaLN's scale in it, then its bias.
 */
export function energyParts(shape: Shape): KernelSource {
  const bindings = shape.residual
    ? [
        read('base', 'f32'),
        read('opinions', 'f32'),
        read('logits', 'f32'),
        read('tokens', 'i32'),
        write('parts', 'vec2f'),
      ]
    : [
        read('x', 'f32'),
        read('base', 'f32'),
        read('head', 'f32'),
        read('tokens', 'i32'),
        write('parts', 'vec2f'),
      ]
  const residual = `
  if (i >= row.own || known(row, i) >= 0) {
    if (t == 0u) { parts[p] = vec2f(); }
    return;
  }
  var square = 0.0;
  for (var c = t; c < D; c += 64u) {
    let apart = base[p * LD + c] - opinions[p * LD + c];
    square = fma(apart, apart, square);
  }
  var most = -3.4e38;
  for (var v = t; v < V; v += 64u) { most = max(most, logits[p * LDV + v]); }
  most = maxAll(t, most);
  var sum = 0.0;
  var moment = 0.0;
  for (var v = t; v < V; v += 64u) {
    let z = logits[p * LDV + v] - most;
    let e = exp(z);
    sum += e;
    moment = fma(e, z, moment);
  }
  square = sumAll(t, square);
  sum = sumAll(t, sum);
  moment = sumAll(t, moment);
  if (t == 0u) { parts[p] = vec2f(square, log(sum) - moment / sum); }`
  const scalar = `
  if (i >= row.own) {
    if (t == 0u) { parts[p] = vec2f(); }
    return;
  }
  let at = row.landscape * (LD + 4u);
  var square = 0.0;
  var along = 0.0;
  var size = 0.0;
  for (var c = t; c < D; c += 64u) {
    let h = x[p * LD + c];
    square = fma(h, h, square);
    along = fma(h, head[at + c], along);
    ${shape.latent ? 'let y = base[p * LD + c]; size = fma(y, y, size);' : ''}
  }
  square = sumAll(t, square);
  along = sumAll(t, along);
  size = sumAll(t, size);
  if (t == 0u) {
    let value = along * inverseSqrt(square / f32(D) + ${literal(shape.config.norm_eps)}) + head[at + LD];
    parts[p] = vec2f(value, select(0.0, size, known(row, i) < 0));
  }`
  return kernel(
    shape,
    'energy parts',
    bindings,
    `${moving}${reductions()}
${perPosition(shape.residual ? residual : scalar)}`,
  )
}

/** `sums` over an answer's positions, in order, to its energy. `scale`: of the potential. */
function energyOf(shape: Shape, scale: number): string {
  const { kind, doubt } = shape.config.energy
  const energies = {
    residual: `sums.x * ${literal(0.5 / shape.dim)} + ${literal(doubt)} * sums.y`,
    potential: `0.5 * sums.y - ${literal(scale)} * sums.x`,
    head: 'sums.x',
  }
  return `
fn sumsOf(answer: u32) -> vec2f {
  var sums = vec2f();
  for (var i = 0u; i < round.block; i++) { sums += parts[answer * round.block + i]; }
  return sums;
}
fn energyOf(sums: vec2f) -> f32 { return ${energies[kind]}; }
`
}

/**
 * A step's numbers, eight for each row: energy, norm of the direction, best energy, disagreement,
 * doubt. `improved`: 1 where the state counts as an answer and is the best so far.
 */
export function sumParts(shape: Shape, scale: number): KernelSource {
  const bindings = [
    read('parts', 'vec2f'),
    ...(shape.gradient ? [read('squares', 'f32')] : []),
    write('bestEnergies', 'f32'),
    write('improved', 'u32'),
    write('results', 'f32'),
  ]
  const norm = shape.gradient
    ? `var square = 0.0;
  for (var i = 0u; i < round.block; i++) { square += squares[answer * round.block + i]; }`
    : 'let square = sums.x;'
  return kernel(
    shape,
    'energies',
    bindings,
    `${energyOf(shape, scale)}
${perAnswer(`
  let sums = sumsOf(answer);
  let energy = energyOf(sums);
  ${norm}
  var better = false;
  var best = energy;
  if (!has(row, GIVEN)) {
    best = bestEnergies[row.slot];
    better = has(row, COUNTS) && energy < best;
    if (better) {
      best = energy;
      bestEnergies[row.slot] = best;
    }
  }
  improved[answer] = select(0u, 1u, better);
  let at = row.result * 8u;
  results[at] = energy;
  results[at + 1u] = sqrt(square);
  results[at + 2u] = best;
  ${
    shape.residual
      ? `results[at + 3u] = sums.x * ${literal(0.5 / shape.dim)};
  results[at + 4u] = sums.y;`
      : ''
  }`)}`,
  )
}

/** 1 where a row wants steps that lower the energy only, and this one did not. */
export function compare(shape: Shape, scale: number): KernelSource {
  const bindings = [read('parts', 'vec2f'), read('results', 'f32'), write('rejected', 'u32')]
  return kernel(
    shape,
    'compare',
    bindings,
    `${energyOf(shape, scale)}
${perAnswer(`
  let lower = energyOf(sumsOf(answer)) < results[row.result * 8u];
  rejected[answer] = select(0u, 1u, has(row, ACCEPTLOWER) && !lower);`)}`,
  )
}

/** The slope of an energy's head, [position][LD]; `factor` times (the potential's scale). */
export function headSlope(shape: Shape, factor: number): KernelSource {
  const bindings = [read('head', 'f32'), write('slope', 'f32')]
  return kernel(
    shape,
    'slope of the head',
    bindings,
    perVector(
      'LD',
      `
  var value = 0.0;
  if (i < row.own) { value = head[row.landscape * (LD + 4u) + c] * ${literal(factor)}; }
  slope[p * LD + c] = value;`,
    ),
  )
}

/** y - F where a position moves, else 0: [position][LD] */
export function apart(shape: Shape): KernelSource {
  const bindings = [read('base'), read('opinions'), read('tokens', 'i32'), write('result')]
  return kernel(
    shape,
    'apart',
    bindings,
    `${moving}
${perVector(
  'LD4',
  `
  let at = p * LD4 + c;
  let moves = i < row.own && known(row, i) < 0;
  result[at] = select(vec4f(), base[at] - opinions[at], moves);`,
)}`,
  )
}

/**
 * Back through RMSNorm: from g = d/d (x / rms, its weight folded away) to d/d x, added to `slope`, or
 * with `first` in its place. `scaled`: g is first multiplied by adaLN's 1 + scale.
 */
export function normBack(
  shape: Shape,
  { first = false, scaled = false }: { first?: boolean; scaled?: boolean },
): KernelSource {
  const bindings = [
    read('x', 'f32'),
    read('given', 'f32'),
    ...(scaled ? [read('scale', 'f32')] : []),
    write('slope', 'f32'),
  ]
  const g = scaled ? 'given[p * LD + c] * scale[row.landscape * LD + c]' : 'given[p * LD + c]'
  return kernel(
    shape,
    'norm, back',
    bindings,
    `${reductions()}
${perPosition(`
  var square = 0.0;
  var along = 0.0;
  for (var c = t; c < D; c += 64u) {
    let h = x[p * LD + c];
    square = fma(h, h, square);
    along = fma(h, ${g}, along);
  }
  square = sumAll(t, square) / f32(D) + ${literal(shape.config.norm_eps)};
  along = sumAll(t, along) / f32(D);
  let inverse = inverseSqrt(square);
  for (var c = t; c < D; c += 64u) {
    let d = (${g} - x[p * LD + c] * along / square) * inverse;
    slope[p * LD + c] = ${first ? 'd' : 'slope[p * LD + c] + d'};
  }`)}`,
  )
}

/**
 * Latent space: the direction of descent from the slope at the answers' inputs, [position][LD], zero at
 * clamped positions, and its squares. `result` holds y - F along a residual energy's exact direction.
 */
export function direct(shape: Shape): KernelSource {
  const { kind } = shape.config.energy
  const bindings = [
    ...(kind === 'potential' ? [read('base', 'f32')] : []),
    read('slope', 'f32'),
    read('tokens', 'i32'),
    read('pushes', 'f32'),
    write('result', 'f32'),
    write('squares', 'f32'),
  ]
  const direction = {
    head: 'slope[at]',
    potential: 'base[at] - slope[at]',
    residual: 'result[at] - slope[at]',
  }[kind]
  return kernel(
    shape,
    'direct',
    bindings,
    `${moving}${reductions()}
${perPosition(`
  let moves = i < row.own && known(row, i) < 0;
  var square = 0.0;
  for (var c = t; c < D; c += 64u) {
    let at = p * LD + c;
    var d = 0.0;
    if (moves) { d = ${direction}; }
    if (moves && has(row, PUSHED)) { d += pushes[(row.slot * K + i) * LD + c]; }
    result[at] = d;
    square = fma(d, d, square);
  }
  square = sumAll(t, square);
  if (t == 0u) { squares[p] = square; }`)}`,
  )
}

/** Vocab space: dE/dp [position][LDV] and what is pushed, where a position moves, and their squares. */
export function squares(shape: Shape): KernelSource {
  const bindings = [
    read('tokens', 'i32'),
    read('pushes'),
    write('direction'),
    write('squares', 'f32'),
  ]
  const threads = vocabThreads(shape.vocab)
  return kernel(
    shape,
    'squares',
    bindings,
    `${moving}${reductions(threads)}
${perPosition(
  `
  var sums = vec4f();
  if (known(row, i) < 0) {
    // Beyond the vocabulary both are zero.
    for (var c = t; c < LDS4; c += ${u32(threads)}) {
      var d = direction[p * LDS4 + c];
      if (has(row, PUSHED)) {
        d += pushes[(row.slot * K + i) * LDS4 + c];
        direction[p * LDS4 + c] = d;
      }
      sums = fma(d, d, sums);
    }
  }
  let square = sumAll(t, sums.x + sums.y + sums.z + sums.w);
  if (t == 0u) { squares[p] = square; }`,
  threads,
)}`,
  )
}
