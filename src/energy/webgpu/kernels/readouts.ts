/** Reading answers: out of their slots, their most probable tokens, and draws. */
import type { Shape } from '../shape.js'
import { kernel, type KernelSource, moving, mostTop, read, reductions, write } from './source.js'
import { perPosition, perVector } from './threads.js'

/** Answers out of their slots, [position][LDS]. `last`: of the residual energy F, else the state. */
export function gather(shape: Shape): KernelSource {
  const bindings = [
    ...(shape.residual ? [read('state')] : []),
    read('last'),
    read('best'),
    read('bestEnergies', 'f32'),
    write('result'),
  ]
  const present = shape.residual
    ? 'if (has(row, PRESENT)) { result[p * LDS4 + c] = state[at]; return; }'
    : ''
  return kernel(
    shape,
    'gather',
    bindings,
    perVector(
      'LDS4',
      `
  let at = (row.slot * K + i) * LDS4 + c;
  ${present}
  if (has(row, BEST) && bestEnergies[row.slot] < UNKNOWN) {
    result[p * LDS4 + c] = best[at];
  } else {
    result[p * LDS4 + c] = last[at];
  }`,
    ),
  )
}

/** A clamped position's own token has logit 0, all others -1e9. */
const logitAt = `
fn logitAt(p: u32, token: i32, v: u32) -> f32 {
  if (token < 0) { return logits[p * LDV + v]; }
  return select(-1e9, 0.0, v == u32(token));
}
`

/** One workgroup for each position, whose token is known as `token`; -1 where it moves. */
const perReadOut = (body: string): string => perPosition(`  let token = known(row, i);\n${body}`)

/**
 * The `round.top` largest logits of each position, ties to the lowest token, as pairs of the token and
 * the bits of its log-probability: [position][mostTop].
 */
export function top(shape: Shape): KernelSource {
  const bindings = [read('logits', 'f32'), read('tokens', 'i32'), write('result', 'vec2u')]
  return kernel(
    shape,
    'top',
    bindings,
    `${moving}${reductions()}${logitAt}
var<workgroup> ids: array<u32, 64>;
${perReadOut(`
  var most = -3.4e38;
  for (var v = t; v < V; v += 64u) { most = max(most, logitAt(p, token, v)); }
  most = maxAll(t, most);
  var sum = 0.0;
  for (var v = t; v < V; v += 64u) { sum += exp(logitAt(p, token, v) - most); }
  let logSum = most + log(sumAll(t, sum));
  var previous = 3.4e38;
  var after = 0u; // of logits that equal the previous one, tokens below this are taken
  for (var n = 0u; n < round.top; n++) {
    var value = -3.4e38;
    var id = V;
    for (var v = t; v < V; v += 64u) {
      let z = logitAt(p, token, v);
      if ((z < previous || (z == previous && v >= after)) && z > value) { value = z; id = v; }
    }
    workgroupBarrier();
    ofThreads[t] = value;
    ids[t] = id;
    workgroupBarrier();
    for (var k = 0u; k < 64u; k++) {
      if (ofThreads[k] > value || (ofThreads[k] == value && ids[k] < id)) { value = ofThreads[k]; id = ids[k]; }
    }
    if (t == 0u) { result[p * ${String(mostTop)}u + n] = vec2u(id, bitcast<u32>(value - logSum)); }
    previous = value;
    after = id + 1u;
  }`)}`,
  )
}

/**
 * Tokens drawn by the weights exp((z - largest z) / temperature), [position]; V where these are not
 * finite. A row's alpha is its temperature; its chances are the bits of tokens[row.token + i].
 */
export function draw(shape: Shape): KernelSource {
  const bindings = [read('logits', 'f32'), read('tokens', 'i32'), write('result', 'u32')]
  return kernel(
    shape,
    'draw',
    bindings,
    `${moving}${reductions()}${logitAt}
fn weight(p: u32, token: i32, v: u32, most: f32, temperature: f32) -> f32 {
  return exp((logitAt(p, token, v) - most) / temperature);
}
${perReadOut(`
  var most = -3.4e38;
  for (var v = t; v < V; v += 64u) { most = max(most, logitAt(p, token, v)); }
  most = maxAll(t, most);
  const part = (V + 63u) / 64u;
  var sum = 0.0;
  for (var v = t * part; v < min((t + 1u) * part, V); v++) { sum += weight(p, token, v, most, row.alpha); }
  let all = sumAll(t, sum);
  if (t != 0u) { return; }
  if (!(all > 0.0 && all < 3.4e38)) { result[p] = V; return; }
  var left = bitcast<f32>(tokens[row.token + i]) * all;
  var chosen = 0u; // the last thread whose weights are not all 0, if none passes
  var passed = false;
  for (var k = 0u; k < 64u; k++) {
    if (ofThreads[k] > 0.0) { chosen = k; }
    passed = left - ofThreads[k] < 0.0;
    if (passed) { break; }
    left -= ofThreads[k];
  }
  if (!passed) { left = 3.4e38; }
  var drawn = 0u;
  for (var v = chosen * part; v < min((chosen + 1u) * part, V); v++) {
    let w = weight(p, token, v, most, row.alpha);
    if (w > 0.0) { drawn = v; }
    left -= w;
    if (left < 0.0) { break; }
  }
  result[p] = drawn;`)}`,
  )
}
