// The vocabulary space in one pass over its matrix W [V, D], for R answer positions at once:
//   d_v = <g, W_v>,  z_v <- p_v - alpha d_v,  e = sum_v softmax(z)_v W_v
// The update of a step and the embedding of the next state both need row v, and it is read once.
// p = exp(z - logSum) is recovered on the fly; without normalisation p = z and e = sum_v z_v W_v.
// exp is taken against the largest z so far in the chunk, and sums are rescaled when it rises.
//
// A chunk is computed in blocks of 32 rows, which stay in the first caches from the product to the sum.
// Every d is summed as one tree over lanes, every e as one chain in order of v, and the chunk's bounds are
// fixed: the bits of a position depend neither on R nor on which thread computes which chunk.
// Bound: one position reads 4 V D bytes, so memory bandwidth; from a dozen on, 4 V D operations each.
#pragma once
#include "kernels/kernels.h"
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

// The two products of a block of 32 vocabulary rows of W.
template <typename W>
struct VocabBlock {
  // d of R positions by C vocabulary rows into [R][tileWidth].
  template <int R, int C>
  static inline __attribute__((always_inline)) void slopes(const Vocab& a, const W* w, int row, int v) {
    const int ld = a.ld;
    const float* g = a.g + (size_t)row * ld;
    float* d = a.weights + (size_t)row * tileWidth + v;
    w += (size_t)v * ld;
    constexpr int count = (R * C + lanes - 1) / lanes * lanes;
    F16 partial[count];
    UNROLL for (int i = 0; i < count; i++) partial[i] = zero();
    for (int j = 0; j < ld; j += lanes) {
      F16 row[C];
      UNROLL for (int c = 0; c < C; c++) row[c] = load(w + (size_t)c * ld + j);
      UNROLL for (int r = 0; r < R; r++) {
        const F16 gradient = load(g + (size_t)r * ld + j);
        UNROLL for (int c = 0; c < C; c++) partial[r * C + c] = fma(gradient, row[c], partial[r * C + c]);
      }
    }
    float all[count];
    UNROLL for (int i = 0; i < count; i += lanes) store(all + i, sums(partial + i));
    UNROLL for (int r = 0; r < R; r++)
      UNROLL for (int c = 0; c < C; c++) d[r * tileWidth + c] = all[r * C + c];
  }

  // e[R rows][C vectors] += weights [R][32] W [32][ld]. `ahead`: elements from here to the block to be
  // prefetched, or 0.
  template <int R, int C>
  static inline __attribute__((always_inline)) void addRows(const Vocab& a, const W* w, int row, int column, size_t ahead) {
    F16 sum[R][C];
    float* e = a.e + (size_t)row * a.ld + column;
    const float* weights = a.weights + (size_t)row * tileWidth;
    UNROLL for (int r = 0; r < R; r++)
      UNROLL for (int c = 0; c < C; c++) sum[r][c] = load(e + (size_t)r * a.ld + c * lanes);
    w += column;
    for (int v = 0; v < tileWidth; v++, w += a.ld) {
      F16 part[C];
      UNROLL for (int c = 0; c < C; c++) part[c] = load(w + c * lanes);
      if (ahead) UNROLL for (size_t c = 0; c < C * lanes * sizeof(W); c += 64) fetch((const char*)(w + ahead) + c);
      UNROLL for (int r = 0; r < R; r++) {
        const F16 weight = set1(weights[r * tileWidth + v]);
        UNROLL for (int c = 0; c < C; c++) sum[r][c] = fma(weight, part[c], sum[r][c]);
      }
    }
    UNROLL for (int r = 0; r < R; r++)
      UNROLL for (int c = 0; c < C; c++) store(e + (size_t)r * a.ld + c * lanes, sum[r][c]);
  }
};

#if defined(__AVX512BF16__)
// The same for pairs of bf16 numbers: g and the weights are rounded to bf16 too, sums are float32. A row of W is
// contiguous, so its pairs go with those of g; sums over rows take two rows at a time.
template <>
struct VocabBlock<bf16> {
  template <int R, int C>
  static inline __attribute__((always_inline)) void slopes(const Vocab& a, const bf16* w, int row, int v) {
    constexpr int count = (R * C + lanes - 1) / lanes * lanes;
    const int ld = a.ld, whole = ld / (2 * lanes) * (2 * lanes);
    const bf16* g = a.gNarrow + (size_t)row * ld;
    w += (size_t)v * ld;
    F16 partial[count];
    UNROLL for (int i = 0; i < count; i++) partial[i] = zero();
    const auto add = [&](int j, auto load) __attribute__((always_inline)) {
      Pairs part[C];
      UNROLL for (int c = 0; c < C; c++) part[c] = load(w + (size_t)c * ld + j);
      UNROLL for (int r = 0; r < R; r++) {
        const Pairs gradient = load(g + (size_t)r * ld + j);
        UNROLL for (int c = 0; c < C; c++) partial[r * C + c] = dot(gradient, part[c], partial[r * C + c]);
      }
    };
    for (int j = 0; j < whole; j += 2 * lanes) add(j, [](const bf16* p) { return loadPairs(p); });
    if (whole < ld) add(whole, [](const bf16* p) { return loadHalf(p); });
    float all[count];
    UNROLL for (int i = 0; i < count; i += lanes) store(all + i, sums(partial + i));
    float* d = a.weights + (size_t)row * tileWidth + v;
    UNROLL for (int r = 0; r < R; r++)
      UNROLL for (int c = 0; c < C; c++) d[r * tileWidth + c] = all[r * C + c];
  }

  template <int R, int C>
  static inline __attribute__((always_inline)) void addRows(const Vocab& a, const bf16* w, int row, int column, size_t ahead) {
    F16 sum[R][C];
    float* e = a.e + (size_t)row * a.ld + column;
    const bf16* weights = a.weightsNarrow + (size_t)row * tileWidth;
    UNROLL for (int r = 0; r < R; r++)
      UNROLL for (int c = 0; c < C; c++) sum[r][c] = load(e + (size_t)r * a.ld + c * lanes);
    w += column;
    for (int v = 0; v < tileWidth; v += 2, w += 2 * (size_t)a.ld) {
      const bf16* next = w + a.ld;
      Pairs part[C];
      if constexpr (C == 1) {
        part[0] = zip<0>(loadHalf(w), loadHalf(next));
      } else {
        UNROLL for (int c = 0; c < C; c += 2) {
          const Pairs first = loadPairs(w + c * lanes), second = loadPairs(next + c * lanes);
          part[c] = zip<0>(first, second);
          part[c + 1] = zip<16>(first, second);
        }
      }
      if (ahead)
        UNROLL for (size_t c = 0; c < C * lanes * sizeof(bf16); c += 64) {
          fetch((const char*)(w + ahead) + c);
          fetch((const char*)(next + ahead) + c);
        }
      UNROLL for (int r = 0; r < R; r++) {
        const Pairs weight = eachPair(weights + r * tileWidth + v);
        UNROLL for (int c = 0; c < C; c++) sum[r][c] = dot(weight, part[c], sum[r][c]);
      }
    }
    UNROLL for (int r = 0; r < R; r++)
      UNROLL for (int c = 0; c < C; c++) store(e + (size_t)r * a.ld + c * lanes, sum[r][c]);
  }
};
#endif

// d [R][32] of one block of vocabulary rows into `a.weights`; the last rows are fewer than R.
template <typename W, int R>
INLINE void blockSlopes(const Vocab& a, const W* w, int row) {
  for (; row + R <= a.rows; row += R)
    for (int v = 0; v < tileWidth; v += slopeColumns(R))
      VocabBlock<W>::template slopes<R, slopeColumns(R)>(a, w, row, v);
  if constexpr (R > 1)
    if (row < a.rows) blockSlopes<W, R - 1>(a, w, row);
}

// From d (or nothing) to the weights of the embedding; writes z, the running maximum and the sums.
template <bool update>
INLINE void blockWeights(const Vocab& a, int v) {
  for (int row = 0; row < a.rows; row++) {
    float* weights = a.weights + (size_t)row * tileWidth;
    F16 z[2], squares = zero();
    UNROLL for (int i = 0; i < 2; i++) {
      const int at = v + i * lanes, left = a.size - at;
      z[i] = load(a.in[row] + at);
      if (update) {
        F16 d = load(weights + i * lanes);
        if (a.rowScale) d = mul(d, load(a.rowScale + at));
        if (a.normalizedIn) z[i] = exp(sub(z[i], set1(a.logSum[row])));
        z[i] = sub(z[i], mul(set1(a.alpha[row]), d));
        squares = fma(d, d, squares);
        if (left < lanes) z[i] = keep(z[i], left < 0 ? 0 : left, 0);
        store(a.out[row] + at, z[i]);
      }
      if (a.normalizedOut && left < lanes) z[i] = keep(z[i], left < 0 ? 0 : left, -1e30f);
    }
    if (update) a.squares[row] += sum(squares);
    if (a.normalizedOut) {
      const float top = largest(larger(z[0], z[1]));
      if (top > a.top[row]) {
        const float factor = exp1(a.top[row] - top);
        a.top[row] = top;
        a.total[row] *= factor;
        float* e = a.e + (size_t)row * a.ld;
        for (int j = 0; j < a.ld; j += lanes) store(e + j, mul(load(e + j), set1(factor)));
      }
      UNROLL for (int i = 0; i < 2; i++) z[i] = exp(sub(z[i], set1(a.top[row])));
      a.total[row] += sum(add(z[0], z[1]));
    }
    UNROLL for (int i = 0; i < 2; i++) {
      if (a.rowScale) z[i] = mul(z[i], load(a.rowScale + v + i * lanes));
      store(weights + i * lanes, z[i]);
#if defined(__AVX512BF16__)
      if (a.weightsNarrow) store(a.weightsNarrow + (size_t)row * tileWidth + i * lanes, z[i]);
#endif
    }
  }
}

// The loop over columns is outside, so that their part of the block stays in the first cache for all rows. The
// last rows are fewer than R.
template <typename W, int R>
INLINE void blockSums(const Vocab& a, const W* w, int first, size_t ahead) {
  constexpr int C = sumVectors(R);
  const int last = first + (a.rows - first) / R * R;
  for (int column = 0; first < last && column < a.ld;) {
    const bool wide = column + C * lanes <= a.ld;
    for (int row = first; row < last; row += R) {
      if (wide) VocabBlock<W>::template addRows<R, C>(a, w, row, column, row == 0 ? ahead : 0);
      else VocabBlock<W>::template addRows<R, 1>(a, w, row, column, row == 0 ? ahead : 0);
    }
    column += wide ? C * lanes : lanes;
  }
  if constexpr (R > 1)
    if (last < a.rows) blockSums<W, R - 1>(a, w, last, ahead);
}

template <typename W, bool update>
void vocabPass(const Vocab& a) {
  for (int row = 0; row < a.rows; row++) {
    a.top[row] = -1e30f;
    a.total[row] = 0;
    a.squares[row] = 0;
  }
  memset(a.e, 0, sizeof(float) * (size_t)a.rows * a.ld);
  for (int v = a.from; v < a.to; v += tileWidth) {
    const W* w = (const W*)a.table + (size_t)v * a.ld;
    if (update) blockSlopes<W, slopeRows>(a, w, 0);
    blockWeights<update>(a, v);
    blockSums<W, sumRows>(a, w, 0, v + tileWidth < a.to ? (size_t)tileWidth * a.ld : 0);
  }
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
