// Products with a weight matrix, one row or many:
//   y[r][n] = scale[n] sum_k x[r][k] w[n][k] + add[r][n]      x [rows, K], w [N, K], y [rows, N]
// The gradient with respect to x is the same product with the transposed matrix, packed as its own.
//
// Weights lie in tiles of 32 columns, [N/32][K][32], so lanes are columns and each y[r][n] is one
// chain of K fused multiply-adds in order of k: the same bits for any number of rows or threads.
// Where the machine multiplies pairs of bf16 numbers (VDPBF16PS), bf16 weights lie in pairs, [N/32][K/2][32][2],
// inputs are rounded to bf16 too, and a chain has K/2 links, each adding two products in float32.
// Bound: one row reads each weight once, so memory bandwidth; from a dozen rows on, multiply-adds.
#pragma once
#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace basin {
namespace BASIN_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int matmulRows = 12, matmulHalves = 2;
#elif defined(__AVX2__)
constexpr int matmulRows = 6, matmulHalves = 1;
#elif defined(__aarch64__)
constexpr int matmulRows = 6, matmulHalves = 1;
#else
constexpr int matmulRows = 3, matmulHalves = 1;
#endif

// What one step along k multiplies: `together` numbers of an input row with as many rows of a tile.
template <typename W>
struct Operand {
  typedef float Input;
  static constexpr int together = 1;
  static inline __attribute__((always_inline)) F16 weights(const W* w) { return load(w); }
  static inline __attribute__((always_inline)) F16 input(const float* x) { return set1(*x); }
  static inline __attribute__((always_inline)) F16 add(F16 x, F16 w, F16 sum) { return fma(x, w, sum); }
};

#if defined(__AVX512BF16__)
template <>
struct Operand<bf16> {
  typedef bf16 Input;
  static constexpr int together = 2;
  static inline __attribute__((always_inline)) Pairs weights(const bf16* w) { return loadPairs(w); }
  static inline __attribute__((always_inline)) Pairs input(const bf16* x) { return eachPair(x); }
  static inline __attribute__((always_inline)) F16 add(Pairs x, Pairs w, F16 sum) { return dot(x, w, sum); }
};

void roundToBf16(const float* x, bf16* y, size_t n) {
  for (size_t i = 0; i < n; i += lanes) store(y + i, load(x + i));
}
constexpr auto narrow = roundToBf16;
#else
constexpr auto narrow = nullptr;
#endif

// R rows by T tiles (or halves of tiles) from `tile` on.
template <typename W, int R, int T, int C>
INLINE void product(const Matmul& m, int row, int tile, int half) {
  typedef Operand<W> Numbers;
  constexpr int together = Numbers::together;
  F16 sum[T][C][R];
  UNROLL for (int t = 0; t < T; t++)
    UNROLL for (int c = 0; c < C; c++)
      UNROLL for (int r = 0; r < R; r++) sum[t][c][r] = zero();
  const size_t stride = (size_t)m.k * tileWidth;
  const auto* x = (const typename Numbers::Input*)m.x + (size_t)row * m.ldx;
  const W* w = (const W*)m.tiles + tile * stride + half * lanes * together;
  for (int k = 0; k < m.k; k += together, w += tileWidth * together) {
    decltype(Numbers::weights(w)) column[T][C];
    UNROLL for (int t = 0; t < T; t++)
      UNROLL for (int c = 0; c < C; c++) column[t][c] = Numbers::weights(w + t * stride + c * lanes * together);
    UNROLL for (int r = 0; r < R; r++) {
      const auto value = Numbers::input(x + (size_t)r * m.ldx + k);
      UNROLL for (int t = 0; t < T; t++)
        UNROLL for (int c = 0; c < C; c++) sum[t][c][r] = Numbers::add(value, column[t][c], sum[t][c][r]);
    }
  }
  UNROLL for (int t = 0; t < T; t++)
    UNROLL for (int c = 0; c < C; c++) {
      const size_t n = (size_t)(tile + t) * tileWidth + (half + c) * lanes;
      UNROLL for (int r = 0; r < R; r++) {
        const size_t at = (size_t)(row + r) * m.ldy + n;
        F16 y = sum[t][c][r];
        if (m.scale) y = mul(y, load(m.scale + n));
        if (m.add) y = add(load(m.add + at), y);
        store(m.y + at, y);
      }
    }
}

// Few rows have few independent chains of additions, so they take several tiles at once where registers allow.
template <typename W, int R>
void productRows(const Matmul& m, int row) {
  int tile = 0;
  if constexpr (matmulHalves == 2) {
    if constexpr (R == 1)
      for (; tile + 4 <= m.count; tile += 4) product<W, R, 4, 2>(m, row, tile, 0);
    if constexpr (R <= 3)
      for (; tile + 2 <= m.count; tile += 2) product<W, R, 2, 2>(m, row, tile, 0);
  }
  for (; tile < m.count; tile++)
    for (int half = 0; half < 2; half += matmulHalves)
      product<W, R, 1, matmulHalves>(m, row, tile, half);
}

template <typename W, int R>
INLINE void rowsLeft(const Matmul& m, int row, int left) {
  if constexpr (R > 0) {
    if (left == R) return productRows<W, R>(m, row);
    rowsLeft<W, R - 1>(m, row, left);
  }
}

template <typename W>
void matmul(const Matmul& m) {
  if (m.rows <= matmulRows) return rowsLeft<W, matmulRows>(m, 0, m.rows);
  // Tile by tile, so that a tile stays in cache for all rows.
  const size_t tileSize = (size_t)m.k * tileWidth;
  for (int tile = 0; tile < m.count; tile++) {
    Matmul one = m;
    one.tiles = (const W*)m.tiles + tile * tileSize;
    one.count = 1;
    const size_t column = (size_t)tile * tileWidth;
    one.y = m.y + column;
    if (m.scale) one.scale = m.scale + column;
    if (m.add) one.add = m.add + column;
    int row = 0;
    for (; row + matmulRows <= m.rows; row += matmulRows) productRows<W, matmulRows>(one, row);
    rowsLeft<W, matmulRows - 1>(one, row, m.rows - row);
  }
}

}  // namespace
}  // namespace BASIN_ISA
}  // namespace basin
