// RMSNorm over rows, adaptive where the model has adaLN:
//   n = x r,  r = 1 / sqrt(mean(x^2) + eps),  y = n w (1 + scale) + shift
// and its gradient with respect to x, added to what is there:
//   u = dy (1 + scale) w,  dx += r (u - n mean(u n))
// Bound: reads and writes of activations in cache; small beside the products around it.
#pragma once
#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace basin {
namespace BASIN_ISA {
namespace {

void norm(const Norm& a) {
  for (int row = 0; row < a.rows; row++) {
    const float* x = a.x + (size_t)row * a.ld;
    float* y = a.y + (size_t)row * a.ld;
    F16 squares = zero();
    for (int i = 0; i < a.width; i += lanes) squares = fma(load(x + i), load(x + i), squares);
    const float r = 1.f / __builtin_sqrtf(sum(squares) / (float)a.width + a.eps);
    a.inverse[row] = r;
    for (int i = 0; i < a.width; i += lanes) {
      F16 v = mul(mul(load(x + i), set1(r)), load(a.weight + i));
      if (a.shift) v = fma(v, add(set1(1), load(a.scale[row] + i)), load(a.shift[row] + i));
      store(y + i, v);
    }
  }
}

void normGradient(const Norm& a) {
  for (int row = 0; row < a.rows; row++) {
    const float* x = a.x + (size_t)row * a.ld;
    const float* dy = a.dy + (size_t)row * a.ld;
    float* dx = a.y + (size_t)row * a.ld;
    const F16 r = set1(a.inverse[row]);
    F16 along = zero();
    for (int i = 0; i < a.width; i += lanes) {
      F16 u = mul(load(dy + i), load(a.weight + i));
      if (a.scale) u = mul(u, add(set1(1), load(a.scale[row] + i)));
      along = fma(u, mul(load(x + i), r), along);
    }
    const F16 mean = set1(sum(along) / (float)a.width);
    for (int i = 0; i < a.width; i += lanes) {
      F16 u = mul(load(dy + i), load(a.weight + i));
      if (a.scale) u = mul(u, add(set1(1), load(a.scale[row] + i)));
      const F16 n = mul(load(x + i), r);
      store(dx + i, fma(sub(u, mul(n, mean)), r, load(dx + i)));
    }
  }
}

}  // namespace
}  // namespace BASIN_ISA
}  // namespace basin
