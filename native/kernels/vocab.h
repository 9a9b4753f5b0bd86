// The vocabulary space in one pass over its matrix W [V, D], for R answer positions at once:
//   d_v = <g, W_v>,  z_v <- p_v - alpha d_v,  e = sum_v softmax(z)_v W_v
// The update of a step and the embedding of the next state both need row v, and it is read once.
// p = exp(z - logSum) is recovered on the fly; without normalisation p = z and e = sum_v z_v W_v.
// exp is taken against the largest z so far in the chunk, and sums are rescaled when it rises.
//
// A chunk is computed in blocks of 32 rows, which stay in the first caches from the product to the sum.
// Every d is summed as one tree over lanes, every e as one chain in order of v, and the chunk's bounds are fixed: the
// bits of a position depend neither on R nor on which thread computes which chunk.
// Bound: one position reads 4 V D bytes, so memory bandwidth; from a dozen on, 4 V D operations each. So that memory
// works meanwhile, the next block of rows is fetched bit by bit while one is computed.
#pragma once
#include "kernels/kernels.h"
#include "kernels/operand.h"
#include "kernels/simd.h"

namespace basin {
namespace BASIN_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int slopeRows = 6, sumRows = 6;
constexpr int slopeColumns(int rows) { return rows == 1 ? 16 : rows == 2 ? 8 : 4; }
constexpr int sumVectors(int rows) { return rows == 1 ? 12 : rows == 2 ? 8 : 4; }
#elif defined(__AVX2__)
constexpr int slopeRows = 2, sumRows = 3;
constexpr int slopeColumns(int rows) { return rows == 1 ? 4 : 2; }
constexpr int sumVectors(int rows) { return rows == 1 ? 4 : 2; }
#else
constexpr int slopeRows = 1, sumRows = 2;
constexpr int slopeColumns(int) { return 2; }
constexpr int sumVectors(int rows) { return rows == 1 ? 2 : 1; }
#endif

constexpr int fewRows = 3;
// Rows of the next block of W, those in [from, to), which are fetched while some positions are computed.
struct Fetched {
  const char* block;  // null: none
  int from, to;

  bool has(int v) const { return block && v >= from && v < to; }
  // The share of `count` positions from `row` on.
  Fetched shareOf(const Vocab& a, int row, int count) const {
    const int end = row + count < a.rows ? row + count : a.rows, rows = to - from;
    return {block, from + rows * row / a.rows, from + rows * end / a.rows};
  }
};

// d of R positions by C vocabulary rows, from position `row` and vocabulary row `v` of the block `w` on, into
// [R][tileWidth].
template <typename W, int R, int C>
INLINE void slopes(const Vocab& a, const W* w, int row, int v, const Fetched& ahead) {
  typedef Operand<W> Numbers;
  constexpr int count = (R * C + lanes - 1) / lanes * lanes;
  const size_t ld = a.ldTable;
  const auto* g = (const typename Numbers::Input*)a.g + row * ld;
  const W* next = ahead.has(v) ? (const W*)ahead.block + v * ld : nullptr;
  w += v * ld;
  typename Numbers::Sum partial[R][C];
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int c = 0; c < C; c++) partial[r][c] = Numbers::startTogether(a.gScaled, row + r);
  for (size_t j = 0; j < ld; j += lanes * Numbers::together) {
    if (next) UNROLL for (int c = 0; c < C; c++) fetch(next + c * ld + j);
    decltype(Numbers::weights(w)) part[C];
    UNROLL for (int c = 0; c < C; c++) part[c] = Numbers::weights(w + c * ld + j);
    UNROLL for (int r = 0; r < R; r++) {
      const auto gradient = Numbers::inputs(g + r * ld + j);
      UNROLL for (int c = 0; c < C; c++) partial[r][c] = Numbers::add(gradient, part[c], partial[r][c]);
    }
  }
  F16 floats[count];
  UNROLL for (int i = 0; i < count; i++)
    floats[i] = i < R * C ? Numbers::unscaled(partial[i / C][i % C]) : zero();
  float all[count];
  UNROLL for (int i = 0; i < count; i += lanes) store(all + i, sums(floats + i));
  float* d = a.weights + (size_t)row * tileWidth + v;
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int c = 0; c < C; c++) d[r * tileWidth + c] = all[r * C + c];
}

// d [R][32] of one block of vocabulary rows into `a.weights`; the last rows are fewer than R.
template <typename W, int R>
INLINE void blockSlopes(const Vocab& a, const W* w, int row, const Fetched& ahead) {
  for (; row + R <= a.rows; row += R) {
    const Fetched share = ahead.shareOf(a, row, R);
    for (int v = 0; v < tileWidth; v += slopeColumns(R)) slopes<W, R, slopeColumns(R)>(a, w, row, v, share);
  }
  if constexpr (R > 1)
    if (row < a.rows) blockSlopes<W, R - 1>(a, w, row, ahead);
}

// From d (or nothing) to the weights of the embedding; writes z, the running maximum and the sums. Positions follow each
// other in each of the two loops, so that the latency of one is hidden behind others.
template <typename W, bool update>
INLINE void blockWeights(const Vocab& a, int v) {
  for (int row = 0; row < a.rows; row++) {
    float* weights = a.weights + (size_t)row * tileWidth;
    F16 z[2], squares = zero();
    // The states of many positions are too many streams for the prefetcher of the hardware.
    if (a.rows > fewRows) UNROLL for (int i = 0; i < 2; i++) {
      fetch(a.in[row] + v + tileWidth + i * lanes);
      if (update) fetch(a.out[row] + v + tileWidth + i * lanes);
    }
    UNROLL for (int i = 0; i < 2; i++) {
      const int at = v + i * lanes, left = a.size - at;
      z[i] = load(a.in[row] + at);
      if (update) {
        F16 d = Operand<W>::scaled(a.gScaled, row, load(weights + i * lanes));
        if (a.rowScale) d = mul(d, load(a.rowScale + at));
        if (a.normalizedIn) z[i] = exp(sub(z[i], set1(a.logSum[row])));
        z[i] = sub(z[i], mul(set1(a.alpha[row]), d));
        squares = fma(d, d, squares);
        if (left < lanes) z[i] = keep(z[i], left < 0 ? 0 : left, 0);
        store(a.out[row] + at, z[i]);
      }
      if (a.normalizedOut && left < lanes) z[i] = keep(z[i], left < 0 ? 0 : left, -1e30f);
      store(weights + i * lanes, z[i]);
    }
    if (update) {
      float* sum = a.lanesOfSquares + row * lanes;
      store(sum, add(load(sum), squares));
    }
    if (!a.normalizedOut) continue;
    const F16 largestOfBoth = larger(z[0], z[1]);
    if (!anyAbove(largestOfBoth, set1(a.top[row]))) continue;
    const float top = largest(largestOfBoth), factor = exp1(a.top[row] - top);
    a.top[row] = top;
    a.total[row] *= factor;
    float* e = a.e + (size_t)row * a.ld;
    for (int j = 0; j < a.ld; j += lanes) store(e + j, mul(load(e + j), set1(factor)));
  }
  for (int row = 0; row < a.rows; row++) {
    float* weights = a.weights + (size_t)row * tileWidth;
    F16 w[2];
    UNROLL for (int i = 0; i < 2; i++) {
      w[i] = load(weights + i * lanes);
      if (a.normalizedOut) w[i] = exp(sub(w[i], set1(a.top[row])));
    }
    if (a.normalizedOut) a.total[row] += sum(add(w[0], w[1]));
    UNROLL for (int i = 0; i < 2; i++) {
      if (a.rowScale) w[i] = mul(w[i], load(a.rowScale + v + i * lanes));
      store(weights + i * lanes, w[i]);
    }
    if constexpr (Operand<W>::together > 1)
      a.scaledWeights[row] = rounded(weights, (typename Operand<W>::Input*)a.narrowWeights + (size_t)row * tileWidth, tileWidth);
  }
}

// e[R rows][C vectors] += weights [R][32] W [32][C vectors], from position `row` and column `column` on. `w`: those columns
// of W, in groups of T rows for T inputs of products together, [32 / T][C vectors][T], `ld` numbers apart.
template <typename W, int R, int C>
INLINE void addRows(const Vocab& a, const W* w, size_t ld, int row, int column, const Fetched& ahead) {
  typedef Operand<W> Numbers;
  constexpr int together = Numbers::together, line = 64;
  typedef typename Numbers::Input Input;
  const Input* weights = (together > 1 ? (const Input*)a.narrowWeights : (const Input*)a.weights) + (size_t)row * tileWidth;
  const size_t ldE = a.ld;
  float* e = a.e + row * ldE + column;
  typename Numbers::Sum sum[R][C];
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int c = 0; c < C; c++)
      sum[r][c] = Numbers::startFrom(load(e + r * ldE + c * lanes), a.scaledWeights, row + r);
  for (int v = 0; v < tileWidth; v += together, w += ld) {
    if (ahead.has(v)) UNROLL for (int t = 0; t < together; t++) {
      const char* next = ahead.block + ((size_t)(v + t) * a.ldTable + column) * sizeof(W);
      UNROLL for (size_t c = 0; c < C * lanes * sizeof(W); c += line) fetch(next + c);
    }
    decltype(Numbers::weights(w)) part[C];
    UNROLL for (int c = 0; c < C; c++) part[c] = Numbers::weights(w + c * lanes * together);
    UNROLL for (int r = 0; r < R; r++) {
      const auto weight = Numbers::each(weights + r * tileWidth + v);
      UNROLL for (int c = 0; c < C; c++) sum[r][c] = Numbers::add(weight, part[c], sum[r][c]);
    }
  }
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int c = 0; c < C; c++) {
      float* at = e + r * ldE + c * lanes;
      store(at, Numbers::addedTo(load(at), a.scaledWeights, row + r, sum[r][c]));
    }
}

// All rows from `row` on; the last ones are fewer than R.
template <typename W, int R, int C>
INLINE void addAllRows(const Vocab& a, const W* w, size_t ld, int row, int column, const Fetched& ahead) {
  for (; row + R <= a.rows; row += R) addRows<W, R, C>(a, w, ld, row, column, ahead.shareOf(a, row, R));
  if constexpr (R > 1)
    if (row < a.rows) addAllRows<W, R - 1, C>(a, w, ld, row, column, ahead);
}

// The columns of C vectors of the block `w`, which stay in the first cache for all rows.
template <typename W, int R, int C>
INLINE void addColumns(const Vocab& a, const W* w, int column, const Fetched& ahead) {
  constexpr int together = Operand<W>::together;
  w += column;
  if constexpr (together == 1) {
    addAllRows<W, R, C>(a, w, a.ldTable, 0, column, ahead);
  } else {
    alignas(64) W zipped[tileWidth * C * lanes];
    for (int v = 0; v < tileWidth; v += together)
      UNROLL for (int c = 0; c < C; c++)
        zip(w + (size_t)v * a.ldTable + c * lanes, a.ldTable, zipped + (v * C + c * together) * lanes);
    addAllRows<W, R, C>(a, zipped, C * lanes * together, 0, column, ahead);
  }
}

template <typename W, int R>
INLINE void blockSums(const Vocab& a, const W* w, const Fetched& ahead) {
  constexpr int C = sumVectors(R);
  int column = 0;
  for (; column + C * lanes <= a.ld; column += C * lanes) addColumns<W, R, C>(a, w, column, ahead);
  for (; column < a.ld; column += lanes) addColumns<W, R, 1>(a, w, column, ahead);
}

template <typename W, bool update>
void vocabPass(const Vocab& given) {
  // A copy, which no store of a vector can be taken to change.
  const Vocab a = given;
  // A few positions are done with slopes too soon to fetch half of the next block meanwhile.
  const int bySlopes = update && a.rows > fewRows ? tileWidth / 2 : 0;
  for (int row = 0; row < a.rows; row++) {
    a.top[row] = -1e30f;
    a.total[row] = 0;
    store(a.lanesOfSquares + row * lanes, zero());
  }
  memset(a.e, 0, sizeof(float) * (size_t)a.rows * a.ld);
  for (int v = a.from; v < a.to; v += tileWidth) {
    const W* w = (const W*)a.table + (size_t)v * a.ldTable;
    const char* next = v + tileWidth < a.to ? (const char*)(w + (size_t)tileWidth * a.ldTable) : nullptr;
    if (update) blockSlopes<W, slopeRows>(a, w, 0, {next, 0, bySlopes});
    blockWeights<W, update>(a, v);
    const Fetched rest = {next, bySlopes, tileWidth};
    if (a.rows == 1) blockSums<W, 1>(a, w, rest);
    else if (a.rows == 2) blockSums<W, 2>(a, w, rest);
    else blockSums<W, sumRows>(a, w, rest);
  }
  for (int row = 0; row < a.rows; row++) a.squares[row] = sum(load(a.lanesOfSquares + row * lanes));
}

F16 largestOf(const float* z, int count) {
  F16 top = set1(-1e30f);
  for (int i = 0; i < count; i += lanes) top = larger(top, keep(load(z + i), count - i, -1e30f));
  return set1(largest(top));
}

// Softmax before its division, as weights to draw from. NaN gives NaN.
void weigh(float* z, int count, float temperature) {
  const F16 m = largestOf(z, count), t = set1(temperature);
  for (int i = 0; i < count; i += lanes) store(z + i, exp(div(sub(load(z + i), m), t)));
}

// Softmax statistics of a run of logits, for the entropy of a read-out.
void entropy(const Entropy& a) {
  for (int row = 0; row < a.rows; row++) {
    const float* z = a.logits + (size_t)row * a.ld;
    const F16 m = largestOf(z, a.count);
    F16 total = zero(), moment = zero();
    for (int i = 0; i < a.count; i += lanes) {
      const F16 away = keep(sub(load(z + i), m), a.count - i, 0);
      const F16 e = keep(exp(away), a.count - i, 0);
      total = add(total, e);
      moment = fma(e, away, moment);
    }
    a.top[row] = largest(m);
    a.total[row] = sum(total);
    a.moment[row] = sum(moment);
  }
}

}  // namespace
}  // namespace BASIN_ISA
}  // namespace basin
