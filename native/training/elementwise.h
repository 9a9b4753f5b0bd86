// Elementwise ops: plain loops that the compiler turns into vectors, and F16 where it cannot.
// NaN stays NaN; extremes follow JavaScript's Math.
#pragma once
#include <math.h>
#include "training/training_kernels.h"
#include "training/partial_vectors.h"

namespace basin {
namespace BASIN_ISA {
namespace {

INLINE uint32_t bitsOf(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}
INLINE float floatOf(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

// ln x = e ln 2 + ln m with m in [sqrt 1/2, sqrt 2): polynomial of degree 9 (Cephes, Moshier).
INLINE float logOf(float x) {
  const bool tiny = x < 1.17549435e-38f;
  const float scaled = tiny ? x * 8388608.f : x;
  const uint32_t bits = bitsOf(scaled);
  const int e = (int)((bits - 0x3f3504f3u) >> 23 & 0xff);
  const int exponent = e >= 0x80 ? e - 0x100 : e;
  const float m = floatOf(bits - ((uint32_t)exponent << 23)) - 1;
  const float n = (float)(exponent - (tiny ? 23 : 0));
  const float z = m * m;
  float p = 7.0376836292e-2f;
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  float y = p * m * z + n * -2.12194440e-4f - 0.5f * z;
  y = m + y + n * 0.693359375f;
  y = x == 0 ? -__builtin_inff() : y;
  y = x > 3.402823466e38f ? x : y;
  return x < 0 || x != x ? __builtin_nanf("") : y;
}

template <class F>
INLINE void eachOf(const float* __restrict__ x, float* __restrict__ y, size_t n, const F& f) {
  for (size_t i = 0; i < n; i++) y[i] = f(x[i]);
}
template <class F>
INLINE void vectors(const float* x, float* y, size_t n, const F& f) {
  eachVector(n, [&](size_t i, int some) __attribute__((always_inline)) { storeUpTo(y + i, f(loadUpTo(x + i, some)), some); });
}

// tanh x: odd polynomial to |x| < 0.625 (Cephes), else 1 - 2 / (e^2x + 1).
INLINE F16 hyperbolic(F16 x) {
  const F16 z = mul(x, x);
  F16 p = set1(-5.70498872745e-3f);
  p = fma(p, z, set1(2.06390887954e-2f));
  p = fma(p, z, set1(-5.37397155531e-2f));
  p = fma(p, z, set1(1.33314422036e-1f));
  p = fma(p, z, set1(-3.33332819422e-1f));
  const F16 small = fma(mul(p, z), x, x);
  const F16 large = sub(set1(1), div(set1(2), add(exp(add(x, x)), set1(1))));
  float in[laneCount], a[laneCount], b[laneCount];
  store(in, x);
  store(a, small);
  store(b, large);
  for (int i = 0; i < laneCount; i++) a[i] = in[i] < 0.625f && in[i] > -0.625f ? a[i] : b[i];
  return load(a);
}

void unary(Unary op, const float* x, float* y, size_t n, float p, float q) {
  switch (op) {
    case Unary::negate: return eachOf(x, y, n, [](float a) { return -a; });
    case Unary::absolute: return eachOf(x, y, n, [](float a) { return __builtin_fabsf(a); });
    case Unary::square: return eachOf(x, y, n, [](float a) { return a * a; });
    case Unary::squareRoot: return vectors(x, y, n, [](F16 a) { return squareRoot(a); });
    case Unary::inverseRoot: return vectors(x, y, n, [](F16 a) { return div(set1(1), squareRoot(a)); });
    case Unary::exp: return vectors(x, y, n, [](F16 a) { return expFull(a); });
    case Unary::log: return eachOf(x, y, n, [](float a) { return logOf(a); });
    case Unary::sigmoid: return vectors(x, y, n, [](F16 a) { return logistic(a); });
    case Unary::tanh: return vectors(x, y, n, [](F16 a) { return hyperbolic(a); });
    case Unary::relu: return eachOf(x, y, n, [](float a) { return a < 0 ? 0 : a; });
    case Unary::step: return eachOf(x, y, n, [p](float a) { return a != a ? a : a > 0 ? 1.f : p; });
    case Unary::reciprocal: return eachOf(x, y, n, [](float a) { return 1 / a; });
    case Unary::sign: return eachOf(x, y, n, [](float a) { return a < 0 ? -1.f : a > 0 ? 1.f : 0.f; });
    case Unary::clip: return eachOf(x, y, n, [p, q](float a) { return a > q ? q : a < p ? p : a; });
    case Unary::floor: return eachOf(x, y, n, [](float a) { return __builtin_floorf(a); });
    case Unary::ceil: return eachOf(x, y, n, [](float a) { return __builtin_ceilf(a); });
    case Unary::round: return eachOf(x, y, n, [](float a) { return rintf(a); });
    case Unary::log1p: return eachOf(x, y, n, [](float a) { return log1pf(a); });
    case Unary::expm1: return eachOf(x, y, n, [](float a) { return expm1f(a); });
    case Unary::softplus:
      return eachOf(x, y, n, [](float a) { return (a > 0 || a != a ? a : 0) + log1pf(expf(-__builtin_fabsf(a))); });
    case Unary::sin: return eachOf(x, y, n, [](float a) { return sinf(a); });
    case Unary::cos: return eachOf(x, y, n, [](float a) { return cosf(a); });
    case Unary::erf: return eachOf(x, y, n, [](float a) { return erff(a); });
    case Unary::elu: return eachOf(x, y, n, [](float a) { return a >= 0 ? a : expm1f(a); });
    case Unary::scale: return eachOf(x, y, n, [p, q](float a) { return a * p + q; });
    case Unary::count: return;
  }
}

// y = f(a, b) over a run of n; an operand that is repeated is one number.
template <class Out, class F>
INLINE void eachPair(Repeat repeat, const float* __restrict__ a, const float* __restrict__ b, Out* __restrict__ y,
                     size_t n, const F& f) {
  if (repeat == Repeat::first) {
    const float one = a[0];
    for (size_t i = 0; i < n; i++) y[i] = f(one, b[i]);
  } else if (repeat == Repeat::second) {
    const float one = b[0];
    for (size_t i = 0; i < n; i++) y[i] = f(a[i], one);
  } else {
    for (size_t i = 0; i < n; i++) y[i] = f(a[i], b[i]);
  }
}

void binary(Binary op, Repeat repeat, const float* a, const float* b, float* y, size_t n) {
#define PAIRS(name, expression) \
  case Binary::name: return eachPair(repeat, a, b, y, n, [](float p, float q) -> float { return expression; })
  switch (op) {
    PAIRS(add, p + q);
    PAIRS(subtract, p - q);
    PAIRS(multiply, p * q);
    PAIRS(divide, p / q);
    PAIRS(maximum, p > q || p != p ? p : q);
    PAIRS(minimum, p < q || p != p ? p : q);
    PAIRS(squaredDifference, (p - q) * (p - q));
    PAIRS(power, q != q ? q : powf(p, q));
    default: return;
  }
#undef PAIRS
}

void compare(Binary op, Repeat repeat, const float* a, const float* b, uint8_t* y, size_t n) {
#define PAIRS(name, expression) \
  case Binary::name: return eachPair(repeat, a, b, y, n, [](float p, float q) -> uint8_t { return expression; })
  switch (op) {
    PAIRS(equal, p == q);
    PAIRS(notEqual, p != q);
    PAIRS(less, p < q);
    PAIRS(lessEqual, p <= q);
    PAIRS(greater, p > q);
    PAIRS(greaterEqual, p >= q);
    default: return;
  }
#undef PAIRS
}

void addTo(const float* __restrict__ x, float* __restrict__ y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] += x[i];
}

// silu(a) b with s = 1 / (1 + e^-a): d/da = b s (1 + a (1 - s)), d/db = a s.
void gate(const float* a, const float* b, float* y, size_t n) {
  eachVector(n, [&](size_t i, int some) __attribute__((always_inline)) {
    const F16 x = loadUpTo(a + i, some);
    storeUpTo(y + i, mul(mul(x, logistic(x)), loadUpTo(b + i, some)), some);
  });
}

void gateGradient(const float* a, const float* b, const float* dy, float* da, float* db, size_t n) {
  eachVector(n, [&](size_t i, int some) __attribute__((always_inline)) {
    const F16 x = loadUpTo(a + i, some), d = loadUpTo(dy + i, some), s = logistic(x);
    const F16 silu = mul(x, s);
    const F16 slope = add(s, sub(silu, mul(silu, s)));
    storeUpTo(da + i, mul(mul(d, loadUpTo(b + i, some)), slope), some);
    storeUpTo(db + i, mul(d, silu), some);
  });
}

void rotate(const float* x, const float* cos, const float* sin, float* y, size_t width, bool back) {
  const float sign = back ? -1.f : 1.f;
  for (size_t i = 0; i + 1 < width; i += 2) {
    const float a = x[i], b = x[i + 1];
    y[i] = a * cos[i] - sign * (b * sin[i]);
    y[i + 1] = b * cos[i + 1] + sign * (a * sin[i + 1]);
  }
}

void transposeBlock(const float* x, size_t ldx, float* y, size_t ldy, int rows, int columns) {
  for (int i = 0; i < rows; i += laneCount)
    for (int j = 0; j < columns; j += laneCount) {
      const int height = rows - i < laneCount ? rows - i : laneCount;
      const int width = columns - j < laneCount ? columns - j : laneCount;
      F16 a[laneCount];
      loadTransposed(x + i * ldx + j, ldx, height, width, a);
      for (int r = 0; r < width; r++) storeUpTo(y + (j + r) * ldy + i, a[r], height);
    }
}

}  // namespace
}  // namespace BASIN_ISA
}  // namespace basin
