/**
 * Counter-based standard normals, the numbers of src/refine/random.ts: Philox 4x32-10 and Box-Muller.
 * WGSL allows its own sine and logarithm errors that would be seen here, so both are computed: the
 * angle is reduced exactly, as an integer, and log(u) near u = 1 is a series in 1 - u.
 */
export const noise = `
fn mulHigh(a: u32, b: u32) -> u32 {
  let al = a & 0xffffu; let ah = a >> 16u;
  let bl = b & 0xffffu; let bh = b >> 16u;
  let low = al * bl;
  let mid = ah * bl + (low >> 16u);
  let mid2 = al * bh + (mid & 0xffffu);
  return ah * bh + (mid >> 16u) + (mid2 >> 16u);
}
fn philox(counter: vec4u, seedLow: u32, seedHigh: u32) -> vec4u {
  var c = counter;
  var k0 = seedLow;
  var k1 = seedHigh;
  for (var i = 0u; i < 10u; i++) {
    let h0 = mulHigh(0xd2511f53u, c.x);
    let l0 = 0xd2511f53u * c.x;
    let h1 = mulHigh(0xcd9e8d57u, c.z);
    let l1 = 0xcd9e8d57u * c.z;
    c = vec4u(h1 ^ c.y ^ k0, l1, h0 ^ c.w ^ k1, l0);
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  return c;
}
// sqrt(-2 log((word + 0.5) / 2^32))
fn radius(word: u32) -> f32 {
  if (word < 0xf8000000u) { return sqrt(-2.0 * log((f32(word) + 0.5) * 2.3283064e-10)); }
  let t = (f32(~word) + 0.5) * 2.3283064e-10; // 1 - u, below 1/32
  return sqrt(2.0 * t * (1.0 + t * (0.5 + t * (0.33333334 + t * (0.25 + t * (0.2 + t * 0.16666667))))));
}
// cos and sin of a turn times (word + 0.5) / 2^32
fn direction(word: u32) -> vec2f {
  let quarter = word >> 30u;
  let x = ((f32(word & 0x3fffffffu) + 0.5) * 9.3132257e-10 - 0.5) * 1.5707964; // within pi/4 of 0
  let y = x * x;
  let s = x * (1.0 + y * (-0.16666667 + y * (0.008333334 + y * (-0.00019841270 + y * 2.7557319e-6))));
  let c = 1.0 + y * (-0.5 + y * (0.041666668 + y * (-0.0013888889 + y * (2.4801587e-5 - y * 2.7557319e-7))));
  let turned = vec2f(c - s, c + s) * 0.70710677; // cos and sin of x + pi/4
  if (quarter == 0u) { return turned; }
  if (quarter == 1u) { return vec2f(-turned.y, turned.x); }
  if (quarter == 2u) { return -turned; }
  return vec2f(turned.y, -turned.x);
}
// Elements 4 group to 4 group + 3 of a row's noise. step: 0 is the starting point.
fn normals(row: Row, group: u32, step: u32) -> vec4f {
  let w = philox(vec4u(group, step, row.candidate, 0u), row.seedLow, row.seedHigh);
  return vec4f(radius(w.x) * direction(w.y), radius(w.z) * direction(w.w));
}
fn normal(row: Row, element: u32, step: u32) -> f32 {
  return normals(row, element / 4u, step)[element % 4u];
}
// Four elements from any position on.
fn normalsFrom(row: Row, element: u32, step: u32) -> vec4f {
  if (element % 4u == 0u) { return normals(row, element / 4u, step); }
  return vec4f(normal(row, element, step), normal(row, element + 1u, step),
               normal(row, element + 2u, step), normal(row, element + 3u, step));
}
`
