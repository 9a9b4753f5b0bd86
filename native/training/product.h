// The matrix product of training: both operands change from call to call, either may be transposed, and
// none is padded. So both are packed, a block of k at a time: A into panels [k][12], whose numbers are
// broadcast, B into tiles [k][32], whose columns are lanes. native/kernels/matmul.h, for weights
// that are packed once and few rows, packs tiles only.
//
// Every y is one chain of multiply-adds in order of k within a block, and blocks add up in order: the
// same bits for any number of threads. Bound: multiply-adds.
#pragma once
#include "training/training_kernels.h"
#include "training/partial_vectors.h"

namespace basin {
namespace BASIN_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int strip = 12, stripVectors = 2;
#elif defined(__AVX2__) || defined(__aarch64__)
constexpr int strip = 6, stripVectors = 1;
#else
constexpr int strip = 3, stripVectors = 1;
#endif
static_assert(panelRows % strip == 0, "a panel is whole strips");

// `strip` rows from `row` on by C vectors from `column` on.
template <int C>
INLINE void productStrip(const Product& m, int row, int column) {
  F16 sum[C][strip];
  UNROLL for (int c = 0; c < C; c++)
    UNROLL for (int r = 0; r < strip; r++) sum[c][r] = zero();
  const float* a = m.a + row;
  const float* b = m.b + column;
  for (int k = 0; k < m.k; k++, a += panelRows, b += tileColumns) {
    F16 lane[C];
    UNROLL for (int c = 0; c < C; c++) lane[c] = load(b + c * laneCount);
    UNROLL for (int r = 0; r < strip; r++) {
      const F16 value = set1(a[r]);
      UNROLL for (int c = 0; c < C; c++) sum[c][r] = fma(value, lane[c], sum[c][r]);
    }
  }
  UNROLL for (int c = 0; c < C; c++) {
    const int left = m.columns - column - c * laneCount;
    if (left <= 0) return;
    const int n = left < laneCount ? left : laneCount;
    UNROLL for (int r = 0; r < strip; r++) {
      if (row + r >= m.rows) break;
      float* y = m.y + (row + r) * m.ldy + column + c * laneCount;
      const F16 value = m.accumulate ? add(loadUpTo(y, n), sum[c][r]) : sum[c][r];
      storeUpTo(y, value, n);
    }
  }
}

void product(const Product& m) {
  for (int row = 0; row < m.rows; row += strip) {
    int column = 0;
    if constexpr (stripVectors == 2) {
      if (m.columns > laneCount) {
        productStrip<2>(m, row, 0);
        column = tileColumns;
      }
    }
    for (; column < m.columns; column += laneCount) productStrip<1>(m, row, column);
  }
}

// Packs `count` columns of x [k][ld] as they stand, or, transposed, `count` rows of x [..][ld]; missing ones are
// zeros. `out` [k][width].
template <int width>
INLINE void pack(const float* x, size_t ld, bool transposed, int count, int k, float* out) {
  if (!transposed) {
    for (int i = 0; i < k; i++, x += ld, out += width)
      for (int j = 0; j < width; j += laneCount) {
        const int n = count - j < laneCount ? count - j : laneCount;
        const F16 v = n > 0 ? loadUpTo(x + j, n) : zero();
        storeUpTo(out + j, v, width - j < laneCount ? width - j : laneCount);
      }
    return;
  }
  for (int j = 0; j < width; j += laneCount) {
    const int rows = count - j < laneCount ? count - j : laneCount;
    const int kept = width - j < laneCount ? width - j : laneCount;
    for (int i = 0; i < k; i += laneCount) {
      const int n = k - i < laneCount ? k - i : laneCount;
      F16 a[laneCount];
      loadTransposed(x + j * ld + i, ld, rows, n, a);
      for (int r = 0; r < n; r++) storeUpTo(out + (i + r) * width + j, a[r], kept);
    }
  }
}

void packPanel(const float* a, size_t ld, bool transposed, int rows, int k, float* panel) {
  pack<panelRows>(a, ld, transposed, rows, k, panel);
}
void packTile(const float* b, size_t ld, bool transposed, int columns, int k, float* tile) {
  pack<tileColumns>(b, ld, transposed, columns, k, tile);
}

}  // namespace
}  // namespace BASIN_ISA
}  // namespace basin
