// Values together with a directional derivative (src/energy/tfjs/numbers.ts), and the gradients of both. Besides
// products, training through a descent step spends its time here; each kernel is one pass over memory.
// t is the tangent of x, g the gradient of the value, h that of its tangent.
#pragma once
#include "training/rows.h"

namespace basin {
namespace BASIN_ISA {
namespace {

// With s = 1 / (1 + e^-a): silu = a s, its slope = s + silu (1 - s), its second derivative = s (1 - s) (2 + a (1 - 2 s)).
struct SiluDerivatives {
  F16 silu, slope, second;
};
INLINE SiluDerivatives siluDerivatives(F16 a) {
  const F16 s = logistic(a), rest = sub(set1(1), s), silu = mul(a, s);
  return {silu, fma(silu, rest, s), mul(mul(s, rest), fma(a, sub(rest, s), set1(2)))};
}

// silu(a) b, and slope ta b + silu tb.
void gateDual(const GateDual& m, size_t from, size_t n) {
  eachVector(n, [&](size_t at, int some) {
    const size_t i = from + at;
    const F16 b = loadUpTo(m.b + i, some);
    const SiluDerivatives f = siluDerivatives(loadUpTo(m.a + i, some));
    storeUpTo(m.y + i, mul(f.silu, b), some);
    const F16 t = mul(mul(f.slope, loadUpTo(m.ta + i, some)), b);
    storeUpTo(m.ty + i, fma(f.silu, loadUpTo(m.tb + i, some), t), some);
  });
}

void gateDualGradient(const GateDual& m, size_t from, size_t n) {
  eachVector(n, [&](size_t at, int some) {
    const size_t i = from + at;
    const F16 b = loadUpTo(m.b + i, some), ta = loadUpTo(m.ta + i, some), tb = loadUpTo(m.tb + i, some);
    const F16 g = loadUpTo(m.g + i, some), h = loadUpTo(m.h + i, some);
    const SiluDerivatives f = siluDerivatives(loadUpTo(m.a + i, some));
    const F16 along = fma(mul(f.second, ta), b, mul(f.slope, tb));
    storeUpTo(m.da + i, fma(h, along, mul(mul(g, f.slope), b)), some);
    storeUpTo(m.db + i, fma(mul(h, f.slope), ta, mul(g, f.silu)), some);
    storeUpTo(m.dta + i, mul(mul(h, f.slope), b), some);
    storeUpTo(m.dtb + i, mul(h, f.silu), some);
  });
}

INLINE float dotOf(const float* a, const float* b, size_t n) {
  F16 total = zero();
  eachVector(n, [&](size_t i, int some) { total = fma(loadUpTo(a + i, some), loadUpTo(b + i, some), total); });
  return sum(total);
}

// With n = x r: y = n w, ty = r (t - n mean(n t)) w.
void normDual(const NormDual& m) {
  for (size_t row = 0; row < m.count; row++) {
    const size_t from = row * m.width;
    const float *x = m.x + from, *t = m.t + from;
    const float r = 1 / __builtin_sqrtf(dotOf(x, x, m.width) / (float)m.width + m.eps);
    m.r[row] = r;
    const F16 along = set1(dotOf(x, t, m.width) * r / (float)m.width), factor = set1(r);
    eachVector(m.width, [&](size_t i, int some) {
      const F16 n = mul(loadUpTo(x + i, some), factor), w = loadUpTo(m.w + i, some);
      storeUpTo(m.y + from + i, mul(n, w), some);
      const F16 moved = mul(sub(loadUpTo(t + i, some), mul(n, along)), factor);
      storeUpTo(m.ty + from + i, mul(moved, w), some);
    });
  }
}

// With u = g w, v = h w and c = mean(n t):
//   dt = r (v - n mean(n v))
//   dn = u - r (c v + (n v) t / D),  dr = v (t - n c)
//   dx = r (dn - n mean(n dn)) - dr r^2 n / D;  dw += g n + h r (t - n c)
void normDualGradient(const NormDual& m) {
  const float width = (float)m.width;
  for (size_t i = 0; i < m.width; i++) m.dw[i] = 0;
  for (size_t row = 0; row < m.count; row++) {
    const size_t from = row * m.width;
    const float *x = m.x + from, *t = m.t + from, *g = m.g + from, *h = m.h + from;
    const float r = m.r[row];
    const F16 factor = set1(r);
    F16 nt = zero(), nu = zero(), nv = zero(), vt = zero();
    eachVector(m.width, [&](size_t i, int some) {
      const F16 w = loadUpTo(m.w + i, some), n = mul(loadUpTo(x + i, some), factor), s = loadUpTo(t + i, some);
      const F16 v = mul(loadUpTo(h + i, some), w);
      nt = fma(n, s, nt);
      nu = fma(n, mul(loadUpTo(g + i, some), w), nu);
      nv = fma(n, v, nv);
      vt = fma(v, s, vt);
    });
    const float sumNt = sum(nt), sumNv = sum(nv), c = sumNt / width;
    const float dr = sum(vt) - sumNv * c;
    // n . dn = n u - r (c (n v) + (n v) (n t) / D)
    const float ndn = sum(nu) - r * (c * sumNv + sumNv * sumNt / width);
    const F16 meanNv = set1(sumNv / width), cs = set1(c), rc = set1(r * c), rt = set1(r * sumNv / width);
    const F16 ofN = set1(ndn / width + dr * r / width);
    eachVector(m.width, [&](size_t i, int some) {
      const F16 w = loadUpTo(m.w + i, some), n = mul(loadUpTo(x + i, some), factor), s = loadUpTo(t + i, some);
      const F16 grad = loadUpTo(g + i, some), hard = loadUpTo(h + i, some), v = mul(hard, w);
      storeUpTo(m.dt + from + i, mul(sub(v, mul(n, meanNv)), factor), some);
      const F16 dn = sub(mul(grad, w), fma(rc, v, mul(rt, s)));
      storeUpTo(m.dx + from + i, mul(sub(dn, mul(n, ofN)), factor), some);
      const F16 moved = mul(sub(s, mul(n, cs)), factor);
      storeUpTo(m.dw + i, fma(grad, n, fma(hard, moved, loadUpTo(m.dw + i, some))), some);
    });
  }
}

// One softmax over two rows of scores, `context` with a mask added and `own`. Where there is a tangent t, also
// p (t - sum p t).
void jointSoftmax(const Joint& m) {
  F16 high = set1(-__builtin_inff());
  eachVector(m.context, [&](size_t i, int some) {
    F16 x = loadUpTo(m.contextX + i, some, -__builtin_inff());
    if (m.mask) x = add(x, loadUpTo(m.mask + i, some));
    high = larger(x, high);
  });
  eachVector(m.own, [&](size_t i, int some) { high = larger(loadUpTo(m.ownX + i, some, -__builtin_inff()), high); });
  const F16 highest = set1(largest(high));
  F16 total = zero();
  eachVector(m.context, [&](size_t i, int some) {
    F16 x = loadUpTo(m.contextX + i, some, -__builtin_inff());
    if (m.mask) x = add(x, loadUpTo(m.mask + i, some));
    const F16 e = exp(sub(x, highest));
    storeUpTo(m.contextP + i, e, some);
    total = add(total, e);
  });
  eachVector(m.own, [&](size_t i, int some) {
    const F16 e = exp(sub(loadUpTo(m.ownX + i, some, -__builtin_inff()), highest));
    storeUpTo(m.ownP + i, e, some);
    total = add(total, e);
  });
  const F16 factor = div(set1(1), set1(sum(total)));
  F16 along = zero();
  const auto finish = [&](float* p, const float* t, size_t n) {
    eachVector(n, [&](size_t i, int some) {
      const F16 v = mul(loadUpTo(p + i, some), factor);
      storeUpTo(p + i, v, some);
      if (t) along = fma(v, loadUpTo(t + i, some), along);
    });
  };
  finish(m.contextP, m.contextT, m.context);
  finish(m.ownP, m.ownT, m.own);
  if (!m.contextT) return;
  const F16 s = set1(sum(along));
  const auto tangent = [&](const float* p, const float* t, float* out, size_t n) {
    eachVector(n, [&](size_t i, int some) {
      storeUpTo(out + i, mul(loadUpTo(p + i, some), sub(loadUpTo(t + i, some), s)), some);
    });
  };
  tangent(m.contextP, m.contextT, m.contextTp, m.context);
  tangent(m.ownP, m.ownT, m.ownTp, m.own);
}

// dx = p (m - sum p m), with m = g, or g + h (t - sum p t) - (sum p h) t; dt = p (h - sum p h).
void jointSoftmaxGradient(const JointGradient& m) {
  float s = 0, q = 0;
  if (m.contextT) {
    s = dotOf(m.contextP, m.contextT, m.context) + dotOf(m.ownP, m.ownT, m.own);
    q = dotOf(m.contextP, m.contextH, m.context) + dotOf(m.ownP, m.ownH, m.own);
  }
  const F16 ss = set1(s), qq = set1(q);
  F16 total = zero();
  const auto mixed = [&](const float* g, const float* h, const float* t, size_t i, int some) __attribute__((always_inline)) {
    F16 v = loadUpTo(g + i, some);
    if (t) {
      const F16 at = loadUpTo(t + i, some);
      v = sub(fma(loadUpTo(h + i, some), sub(at, ss), v), mul(qq, at));
    }
    return v;
  };
  eachVector(m.context, [&](size_t i, int some) { total = fma(loadUpTo(m.contextP + i, some), mixed(m.contextG, m.contextH, m.contextT, i, some), total); });
  eachVector(m.own, [&](size_t i, int some) { total = fma(loadUpTo(m.ownP + i, some), mixed(m.ownG, m.ownH, m.ownT, i, some), total); });
  const F16 along = set1(sum(total));
  const auto write = [&](const float* p, const float* g, const float* h, const float* t, float* dx, float* dt, size_t n) {
    eachVector(n, [&](size_t i, int some) {
      const F16 v = loadUpTo(p + i, some);
      storeUpTo(dx + i, mul(v, sub(mixed(g, h, t, i, some), along)), some);
      if (t) storeUpTo(dt + i, mul(v, sub(loadUpTo(h + i, some), qq)), some);
    });
  };
  write(m.contextP, m.contextG, m.contextH, m.contextT, m.contextDx, m.contextDt, m.context);
  write(m.ownP, m.ownG, m.ownH, m.ownT, m.ownDx, m.ownDt, m.own);
}

}  // namespace
}  // namespace BASIN_ISA
}  // namespace basin
