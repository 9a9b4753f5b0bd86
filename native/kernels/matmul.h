// Products with a weight matrix, one row or many:
//   y[r][n] = scale[n] sum_k x[r][k] w[n][k] + add[r][n]      x [rows, K], w [N, K], y [rows, N]
// The gradient with respect to x is the same product with the transposed matrix, packed as its own.
//
// Weights lie in tiles of 32 columns, [N/32][K][32], so lanes are columns and each y[r][n] is one
// chain of K fused multiply-adds in order of k: the same bits for any number of rows or threads.
// Where the machine multiplies pairs of bf16 numbers (VDPBF16PS), bf16 weights lie in pairs, [N/32][K/2][32][2],
// inputs are rounded to bf16 too, and a chain has K/2 links, each adding two products in float32.
// Where it multiplies fours of int8 numbers (VPDPBUSD), int8 weights lie in fours, [N/32][K/4][32][4], a row of inputs is
// rounded to int8 with a scale of its own, and sums are whole numbers, exact in any order.
// Bound: one row reads each weight once, so memory bandwidth; from a dozen rows on, multiply-adds. So that memory works
// meanwhile, a tile is fetched while the one before it is computed.
#pragma once
#include "kernels/kernels.h"
#include "kernels/operand.h"
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

// A tile to be fetched, a part of it with each step along k.
struct Ahead {
  const char* at;  // null: none
  int bytes;       // for each step: those of a row of a tile, or half of them
};

// R rows by T tiles (or halves of tiles) from `tile` on.
template <typename W, int R, int T, int C>
INLINE void product(const Matmul& m, int row, int tile, int half, Ahead ahead) {
  typedef Operand<W> Numbers;
  constexpr int together = Numbers::together, line = 64;
  typename Numbers::Sum sum[T][C][R];
  UNROLL for (int t = 0; t < T; t++)
    UNROLL for (int c = 0; c < C; c++)
      UNROLL for (int r = 0; r < R; r++) sum[t][c][r] = Numbers::start(m.scaled, row + r);
  const size_t stride = (size_t)m.k * tileWidth;
  const auto* x = (const typename Numbers::Input*)m.x + (size_t)row * m.ldx;
  const W* w = (const W*)m.tiles + tile * stride + half * lanes * together;
  for (int k = 0; k < m.k; k += together, w += tileWidth * together) {
    if (ahead.at) {
      fetch(ahead.at);
      if (ahead.bytes > line) fetch(ahead.at + line);
      ahead.at += ahead.bytes;
    }
    decltype(Numbers::weights(w)) column[T][C];
    UNROLL for (int t = 0; t < T; t++)
      UNROLL for (int c = 0; c < C; c++) column[t][c] = Numbers::weights(w + t * stride + c * lanes * together);
    UNROLL for (int r = 0; r < R; r++) {
      const auto value = Numbers::each(x + (size_t)r * m.ldx + k);
      UNROLL for (int t = 0; t < T; t++)
        UNROLL for (int c = 0; c < C; c++) sum[t][c][r] = Numbers::add(value, column[t][c], sum[t][c][r]);
    }
  }
  UNROLL for (int t = 0; t < T; t++)
    UNROLL for (int c = 0; c < C; c++) {
      const size_t n = (size_t)(tile + t) * tileWidth + (half + c) * lanes;
      UNROLL for (int r = 0; r < R; r++) {
        const size_t at = (size_t)(row + r) * m.ldy + n;
        F16 y = Numbers::scaled(m.scaled, row + r, Numbers::unscaled(sum[t][c][r]));
        if (m.scale) y = mul(y, load(m.scale + n));
        if (m.add) y = add(load(m.add + at), y);
        store(m.y + at, y);
      }
    }
}

// Few rows have few independent chains of additions, so they take several tiles at once where registers allow.
template <typename W, int R>
void productRows(const Matmul& given, int row, Ahead ahead) {
  // A copy, which no store of a vector can be taken to change.
  const Matmul m = given;
  int tile = 0;
  if constexpr (matmulHalves == 2) {
    if constexpr (R == 1)
      for (; tile + 4 <= m.count; tile += 4) product<W, R, 4, 2>(m, row, tile, 0, {});
    if constexpr (R <= 3)
      for (; tile + 2 <= m.count; tile += 2) product<W, R, 2, 2>(m, row, tile, 0, {});
  }
  for (; tile < m.count; tile++)
    for (int half = 0; half < 2; half += matmulHalves)
      product<W, R, 1, matmulHalves>(m, row, tile, half, half == 0 ? ahead : Ahead{});
}

template <typename W, int R>
INLINE void rowsLeft(const Matmul& m, int row, int left, Ahead ahead) {
  if constexpr (R > 0) {
    if (left == R) return productRows<W, R>(m, row, ahead);
    rowsLeft<W, R - 1>(m, row, left, ahead);
  }
}

template <typename W>
void matmul(const Matmul& m) {
  constexpr int fewRows = 3, R = matmulRows;
  if (m.rows <= fewRows) return rowsLeft<W, fewRows>(m, 0, m.rows, {});
  // Tile by tile, so that a tile stays in cache for all rows. The first two blocks of rows fetch half of the next tile
  // each, or the only one all of it.
  const size_t tileSize = (size_t)m.k * tileWidth;
  const int rowBytes = tileWidth * Operand<W>::together * (int)sizeof(W);
  for (int tile = 0; tile < m.count; tile++) {
    Matmul one = m;
    one.tiles = (const W*)m.tiles + tile * tileSize;
    one.count = 1;
    const size_t column = (size_t)tile * tileWidth;
    one.y = m.y + column;
    if (m.scale) one.scale = m.scale + column;
    if (m.add) one.add = m.add + column;
    const char* next = (const char*)(tile + 1 < m.count ? (const W*)one.tiles + tileSize : m.ahead);
    if (m.rows <= R) {
      rowsLeft<W, R>(one, 0, m.rows, {next, rowBytes});
      continue;
    }
    int row = 0;
    for (; row + R <= m.rows; row += R) {
      const int block = row / R;
      const char* part = next && block < 2 ? next + block * (tileSize * sizeof(W) / 2) : nullptr;
      productRows<W, R>(one, row, {part, rowBytes / 2});
    }
    const char* rest = next && row == R ? next + tileSize * sizeof(W) / 2 : nullptr;
    rowsLeft<W, R - 1>(one, row, m.rows - row, {rest, rowBytes / 2});
  }
}

}  // namespace
}  // namespace BASIN_ISA
}  // namespace basin
