// Whole rows: sums, extremes, softmax and root-mean-square norm, with their gradients. Each sum has
// one fixed order, whatever thread computes it.
#pragma once
#include <math.h>
#include "training/training_kernels.h"
#include "training/partial_vectors.h"

namespace basin {
namespace BASIN_ISA {
namespace {

INLINE float plainSum(const float* x, size_t n) {
  F16 total[4] = {zero(), zero(), zero(), zero()};
  size_t i = 0;
  for (; i + 4 * laneCount <= n; i += 4 * laneCount)
    UNROLL for (int j = 0; j < 4; j++) total[j] = add(total[j], load(x + i + j * laneCount));
  eachVector(n - i, [&](size_t at, int some) { total[0] = add(total[0], loadUpTo(x + i + at, some)); });
  return sum(add(add(total[0], total[1]), add(total[2], total[3])));
}

// Long rows are summed in pieces, so that the rounding error grows with the number of pieces only.
INLINE float longSum(const float* x, size_t n) {
  constexpr size_t piece = 2048;
  double total = 0;
  for (size_t i = 0; i < n; i += piece) total += plainSum(x + i, n - i < piece ? n - i : piece);
  return (float)total;
}

float reduceRow(Reduce op, const float* x, size_t n) {
  if (op == Reduce::sum) return longSum(x, n);
  const float sign = op == Reduce::max ? 1.f : -1.f;
  float best = -__builtin_inff();
  bool none = false;
  for (size_t i = 0; i < n; i++) {
    const float v = sign * x[i];
    none |= v != v;
    best = v > best ? v : best;
  }
  return none ? __builtin_nanf("") : sign * best;
}

// y [width] = the reduction over the rows of x [rows][ld].
void reduceColumns(Reduce op, const float* x, size_t rows, size_t width, size_t ld, float* __restrict__ y) {
  memcpy(y, x, width * sizeof(float));
  for (size_t row = 1; row < rows; row++) {
    const float* at = x + row * ld;
    if (op == Reduce::sum)
      for (size_t i = 0; i < width; i++) y[i] += at[i];
    else if (op == Reduce::max)
      for (size_t i = 0; i < width; i++) y[i] = at[i] > y[i] || at[i] != at[i] ? at[i] : y[i];
    else
      for (size_t i = 0; i < width; i++) y[i] = at[i] < y[i] || at[i] != at[i] ? at[i] : y[i];
  }
}

INLINE F16 top(const float* x, size_t n) {
  F16 m = set1(-__builtin_inff());
  eachVector(n, [&](size_t i, int some) { m = larger(loadUpTo(x + i, some, -__builtin_inff()), m); });
  return set1(largest(m));
}

// The sum of exp(x - highest) over x [n]; the terms are written to y [n] unless it is null.
INLINE float exponentials(const float* x, F16 highest, float* y, size_t n) {
  F16 total = zero();
  eachVector(n, [&](size_t i, int some) {
    const F16 e = exp(sub(loadUpTo(x + i, some, -__builtin_inff()), highest));
    if (y) storeUpTo(y + i, e, some);
    total = add(total, e);
  });
  return sum(total);
}

void softmax(const Rows& m) {
  for (size_t row = 0; row < m.count; row++) {
    const float* x = m.x + row * m.width;
    float* y = m.y + row * m.width;
    const F16 factor = div(set1(1), set1(exponentials(x, top(x, m.width), y, m.width)));
    eachVector(m.width, [&](size_t i, int some) { storeUpTo(y + i, mul(loadUpTo(y + i, some), factor), some); });
  }
}

float logSumExp(const float* x, size_t n) {
  const F16 highest = top(x, n);
  const float rest = exponentials(x, highest, nullptr, n);
  float all[laneCount];
  store(all, highest);
  return all[0] + logf(rest);
}

void scaledExp(const float* x, float* y, size_t n, float less, float factor) {
  eachVector(n, [&](size_t i, int some) {
    storeUpTo(y + i, mul(exp(sub(loadUpTo(x + i, some), set1(less))), set1(factor)), some);
  });
}

void logSoftmax(const Rows& m) {
  for (size_t row = 0; row < m.count; row++) {
    const float* x = m.x + row * m.width;
    float* y = m.y + row * m.width;
    const F16 highest = top(x, m.width);
    const F16 rest = set1(logf(exponentials(x, highest, nullptr, m.width)));
    eachVector(m.width, [&](size_t i, int some) {
      storeUpTo(y + i, sub(sub(loadUpTo(x + i, some), highest), rest), some);
    });
  }
}

void softmaxGradient(const Rows& m) {
  for (size_t row = 0; row < m.count; row++) {
    const float *p = m.x + row * m.width, *dy = m.dy + row * m.width;
    float* y = m.y + row * m.width;
    F16 total = zero();
    eachVector(m.width, [&](size_t i, int some) { total = fma(loadUpTo(p + i, some), loadUpTo(dy + i, some), total); });
    const F16 along = set1(sum(total));
    eachVector(m.width, [&](size_t i, int some) {
      storeUpTo(y + i, mul(sub(loadUpTo(dy + i, some), along), loadUpTo(p + i, some)), some);
    });
  }
}

void logSoftmaxGradient(const Rows& m) {
  for (size_t row = 0; row < m.count; row++) {
    const float *x = m.x + row * m.width, *dy = m.dy + row * m.width;
    float* y = m.y + row * m.width;
    const F16 total = set1(plainSum(dy, m.width));
    eachVector(m.width, [&](size_t i, int some) {
      storeUpTo(y + i, sub(loadUpTo(dy + i, some), mul(exp(loadUpTo(x + i, some)), total)), some);
    });
  }
}

void norm(const Rows& m) {
  for (size_t row = 0; row < m.count; row++) {
    const float* x = m.x + row * m.width;
    float* y = m.y + row * m.width;
    F16 total = zero();
    eachVector(m.width, [&](size_t i, int some) {
      const F16 v = loadUpTo(x + i, some);
      total = fma(v, v, total);
    });
    const float r = 1 / __builtin_sqrtf(sum(total) / (float)m.width + m.eps);
    m.r[row] = r;
    eachVector(m.width, [&](size_t i, int some) {
      storeUpTo(y + i, mul(mul(loadUpTo(x + i, some), set1(r)), loadUpTo(m.w + i, some)), some);
    });
  }
}

void normGradient(const Rows& m) {
  for (size_t row = 0; row < m.count; row++) {
    const float *x = m.x + row * m.width, *dy = m.dy + row * m.width;
    float* y = m.y + row * m.width;
    F16 total = zero();
    eachVector(m.width, [&](size_t i, int some) {
      total = fma(mul(loadUpTo(dy + i, some), loadUpTo(m.w + i, some)), loadUpTo(x + i, some), total);
    });
    const float r = m.r[row];
    const F16 along = set1(sum(total) * r * r / (float)m.width), factor = set1(r);
    eachVector(m.width, [&](size_t i, int some) {
      const F16 scaled = mul(loadUpTo(dy + i, some), loadUpTo(m.w + i, some));
      storeUpTo(y + i, mul(sub(scaled, mul(loadUpTo(x + i, some), along)), factor), some);
    });
  }
}

void normWeightGradient(const Rows& m) {
  for (size_t i = 0; i < m.width; i++) m.y[i] = 0;
  for (size_t row = 0; row < m.count; row++) {
    const float *x = m.x + row * m.width, *dy = m.dy + row * m.width;
    const F16 r = set1(m.r[row]);
    eachVector(m.width, [&](size_t i, int some) {
      const F16 n = mul(loadUpTo(x + i, some), r);
      storeUpTo(m.y + i, fma(loadUpTo(dy + i, some), n, loadUpTo(m.y + i, some)), some);
    });
  }
}

}  // namespace
}  // namespace BASIN_ISA
}  // namespace basin
