// Rotary embedding of one head, on interleaved pairs, while its d columns are taken out of wider rows:
//   (a, b) -> factor (a cos - b sin, b cos + a sin)      wide [count, ld], narrow [count, dp]
// and the transpose of that, the gradient, while they are put back. Lanes past d become 0.
// Bound: loads and stores in cache.
#pragma once
#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace basin {
namespace BASIN_ISA {
namespace {

void rotate(const Head& h) {
  const F16 factor = set1(h.factor);
  for (int t = 0; t < h.count; t++) {
    const float* x = h.wide + (size_t)t * h.ld;
    for (int j = 0; j < h.dp; j += lanes) {
      F16 v = load(x + j);
      if (j + lanes > h.d) v = keep(v, h.d - j, 0);
      if (h.cos) {
        const size_t at = (size_t)t * h.dp + j;
        v = fma(swapPairs(v), load(h.sin + at), mul(v, load(h.cos + at)));
      }
      store(h.narrow + (size_t)t * h.dp + j, mul(v, factor));
    }
  }
}

void rotateBack(const Head& h) {
  const F16 factor = set1(h.factor);
  for (int t = 0; t < h.count; t++) {
    float* x = h.wide + (size_t)t * h.ld;
    for (int j = 0; j < h.dp; j += lanes) {
      F16 v = load(h.narrow + (size_t)t * h.dp + j);
      if (h.cos) {
        const size_t at = (size_t)t * h.dp + j;
        v = sub(mul(v, load(h.cos + at)), mul(swapPairs(v), load(h.sin + at)));
      }
      v = mul(v, factor);
      if (j + lanes <= h.d) {
        store(x + j, v);
      } else {
        float tail[lanes];
        store(tail, v);
        for (int i = 0; j + i < h.d; i++) x[j + i] = tail[i];
      }
    }
  }
}

}  // namespace
}  // namespace BASIN_ISA
}  // namespace basin
