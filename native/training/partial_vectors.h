// Loads and stores of part of a vector, for rows of any length, and the transposition of sixteen vectors.
#pragma once
#include "kernels/simd.h"

namespace basin {
namespace BASIN_ISA {
namespace {

constexpr int laneCount = 16;

// The first n lanes (1 to 16) from memory, `fill` in the rest; memory past them is not touched.
INLINE F16 loadSome(const float* p, int n, float fill = 0) {
#if defined(__AVX512F__)
  const __mmask16 mask = (__mmask16)(0xffffu >> (16 - n));
  return {_mm512_mask_loadu_ps(_mm512_set1_ps(fill), mask, p)};
#else
  float x[laneCount];
  for (int i = 0; i < laneCount; i++) x[i] = i < n ? p[i] : fill;
  return load(x);
#endif
}

INLINE void storeSome(float* p, F16 a, int n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (__mmask16)(0xffffu >> (16 - n)), a.x);
#else
  float x[laneCount];
  store(x, a);
  for (int i = 0; i < n; i++) p[i] = x[i];
#endif
}

// Calls step(offset, lanes) for each sixteen of n elements, then for the rest.
template <class Step>
INLINE void eachVector(size_t n, const Step& step) {
  size_t i = 0;
  for (; i + laneCount <= n; i += laneCount) step(i, laneCount);
  if (i < n) step(i, (int)(n - i));
}

INLINE F16 loadUpTo(const float* p, int n, float fill = 0) { return n == laneCount ? load(p) : loadSome(p, n, fill); }
INLINE void storeUpTo(float* p, F16 a, int n) {
  if (n == laneCount) store(p, a);
  else storeSome(p, a, n);
}

// e^x that overflows to infinity, where exp of simd.h stops at the largest finite power.
INLINE F16 expFull(F16 x) {
#if defined(__AVX512F__)
  const __mmask16 over = _mm512_cmp_ps_mask(x.x, _mm512_set1_ps(88.72283f), _CMP_GT_OQ);
  return {_mm512_mask_mov_ps(exp(x).x, over, _mm512_set1_ps(__builtin_inff()))};
#else
  float in[laneCount], out[laneCount];
  store(in, x);
  store(out, exp(x));
  for (int i = 0; i < laneCount; i++) out[i] = in[i] > 88.72283f ? __builtin_inff() : out[i];
  return load(out);
#endif
}

INLINE F16 squareRoot(F16 x) {
#if defined(__AVX512F__)
  return {_mm512_sqrt_ps(x.x)};
#elif defined(__AVX2__)
  return {_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)};
#else
  float v[laneCount];
  store(v, x);
  for (int i = 0; i < laneCount; i++) v[i] = __builtin_sqrtf(v[i]);
  return load(v);
#endif
}

// 1 / (1 + e^-x)
INLINE F16 logistic(F16 x) { return div(set1(1), add(set1(1), exp(sub(zero(), x)))); }

// Transposes sixteen vectors: lane j of a[i] becomes lane i of a[j].
INLINE void transpose(F16* a) {
#if defined(__AVX512F__)
  __m512 t[16], u[16];
  UNROLL for (int i = 0; i < 8; i++) {
    t[2 * i] = _mm512_unpacklo_ps(a[2 * i].x, a[2 * i + 1].x);
    t[2 * i + 1] = _mm512_unpackhi_ps(a[2 * i].x, a[2 * i + 1].x);
  }
  UNROLL for (int i = 0; i < 4; i++) {
    UNROLL for (int j = 0; j < 2; j++) {
      const __m512d p = _mm512_castps_pd(t[4 * i + j]), q = _mm512_castps_pd(t[4 * i + 2 + j]);
      u[4 * i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(p, q));
      u[4 * i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(p, q));
    }
  }
  // u[4 i + c]: in each quarter, column c of rows 4 i .. 4 i + 3.
  UNROLL for (int c = 0; c < 4; c++) {
    const __m512 p = _mm512_shuffle_f32x4(u[c], u[4 + c], 0x88), q = _mm512_shuffle_f32x4(u[8 + c], u[12 + c], 0x88);
    const __m512 r = _mm512_shuffle_f32x4(u[c], u[4 + c], 0xdd), s = _mm512_shuffle_f32x4(u[8 + c], u[12 + c], 0xdd);
    a[c].x = _mm512_shuffle_f32x4(p, q, 0x88);
    a[8 + c].x = _mm512_shuffle_f32x4(p, q, 0xdd);
    a[4 + c].x = _mm512_shuffle_f32x4(r, s, 0x88);
    a[12 + c].x = _mm512_shuffle_f32x4(r, s, 0xdd);
  }
#else
  float in[laneCount][laneCount], out[laneCount][laneCount];
  for (int i = 0; i < laneCount; i++) store(in[i], a[i]);
  for (int i = 0; i < laneCount; i++)
    for (int j = 0; j < laneCount; j++) out[j][i] = in[i][j];
  for (int i = 0; i < laneCount; i++) a[i] = load(out[i]);
#endif
}

// Reads `rows` (up to 16) rows of `n` (up to 16) columns as columns; the others are zeros.
INLINE void loadTransposed(const float* p, size_t ld, int rows, int n, F16* a) {
  if (rows == laneCount && n == laneCount) {
    UNROLL for (int i = 0; i < laneCount; i++) a[i] = load(p + i * ld);
  } else {
    for (int i = 0; i < laneCount; i++) a[i] = i < rows ? loadUpTo(p + i * ld, n) : zero();
  }
  transpose(a);
}

}  // namespace
}  // namespace BASIN_ISA
}  // namespace basin
