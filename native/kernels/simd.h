// F16: sixteen floats, on whatever vectors this build has. The kernels are written once in terms of
// it and compiled once per instruction set; every operation has one fixed order, so a result depends
// on its operands alone. Compile with -ffp-contract=off: products fuse where fma() says so only.
#pragma once
#include <cstdint>
#include <cstring>
#include "kernels/kernels.h"
#if defined(__AVX2__)
// GCC 12 warns of operands that its own header leaves undefined on purpose (its bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

namespace basin {
namespace BASIN_ISA {
namespace {

typedef uint16_t bf16;

#if defined(__AVX512F__)

struct F16 {
  __m512 x;
};
INLINE F16 set1(float a) { return {_mm512_set1_ps(a)}; }
INLINE F16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
INLINE F16 load(const bf16* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}
INLINE F16 load(const int8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p)))};
}
INLINE void store(float* p, F16 a) { _mm512_storeu_ps(p, a.x); }
INLINE F16 add(F16 a, F16 b) { return {_mm512_add_ps(a.x, b.x)}; }
INLINE F16 sub(F16 a, F16 b) { return {_mm512_sub_ps(a.x, b.x)}; }
INLINE F16 mul(F16 a, F16 b) { return {_mm512_mul_ps(a.x, b.x)}; }
INLINE F16 div(F16 a, F16 b) { return {_mm512_div_ps(a.x, b.x)}; }
INLINE F16 fma(F16 a, F16 b, F16 c) { return {_mm512_fmadd_ps(a.x, b.x, c.x)}; }
// (a, b) -> (b, a) for each pair of lanes.
INLINE F16 swapPairs(F16 a) { return {_mm512_permute_ps(a.x, 0xb1)}; }
// The second operand where either is NaN.
INLINE F16 larger(F16 a, F16 b) { return {_mm512_max_ps(a.x, b.x)}; }
INLINE F16 smaller(F16 a, F16 b) { return {_mm512_min_ps(a.x, b.x)}; }
INLINE F16 addExponent(F16 a, F16 biased) {
  const __m512i n = _mm512_slli_epi32(_mm512_castps_si512(biased.x), 23);
  return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a.x), n))};
}
// a where x >= floor (or x is NaN), else 0.
INLINE F16 zeroBelow(F16 a, F16 x, F16 floor) {
  return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.x, floor.x, _CMP_NLT_UQ), a.x)};
}
INLINE bool anyAbove(F16 a, F16 b) { return _mm512_cmp_ps_mask(a.x, b.x, _CMP_GT_OQ) != 0; }
// The first n lanes of a, `fill` in the rest.
INLINE F16 keep(F16 a, int n, float fill) {
  const __mmask16 mask = n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1);
  return {_mm512_mask_mov_ps(_mm512_set1_ps(fill), mask, a.x)};
}
// All lanes combined by `op`: those that are eight apart, then four, two and one.
template <class Op>
INLINE float allLanes(__m512 a, const Op& op) {
  a = op(a, _mm512_shuffle_f32x4(a, a, 0x4e));
  a = op(a, _mm512_shuffle_f32x4(a, a, 0xb1));
  a = op(a, _mm512_permute_ps(a, 0x4e));
  return _mm512_cvtss_f32(op(a, _mm512_permute_ps(a, 0xb1)));
}
INLINE float sum(F16 a) {
  return allLanes(a.x, [](__m512 p, __m512 q) __attribute__((always_inline)) { return _mm512_add_ps(p, q); });
}
INLINE float largest(F16 a) {
  return allLanes(a.x, [](__m512 p, __m512 q) __attribute__((always_inline)) { return _mm512_max_ps(p, q); });
}
// Sums of sixteen vectors at once: lane i of the result is the sum over the lanes of a[i].
INLINE F16 sums(const F16* a) {
  __m512 quads[4];
  UNROLL for (int i = 0; i < 4; i++) {
    const __m512 p = a[4 * i].x, q = a[4 * i + 1].x, r = a[4 * i + 2].x, s = a[4 * i + 3].x;
    const __m512d pq = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(p, q), _mm512_unpackhi_ps(p, q)));
    const __m512d rs = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(r, s), _mm512_unpackhi_ps(r, s)));
    quads[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(pq, rs)),
                             _mm512_castpd_ps(_mm512_unpackhi_pd(pq, rs)));
  }
  const __m512 u = _mm512_add_ps(_mm512_shuffle_f32x4(quads[0], quads[1], 0x88),
                                 _mm512_shuffle_f32x4(quads[0], quads[1], 0xdd));
  const __m512 v = _mm512_add_ps(_mm512_shuffle_f32x4(quads[2], quads[3], 0x88),
                                 _mm512_shuffle_f32x4(quads[2], quads[3], 0xdd));
  return {_mm512_add_ps(_mm512_shuffle_f32x4(u, v, 0x88), _mm512_shuffle_f32x4(u, v, 0xdd))};
}

#elif defined(__AVX2__)

struct F16 {
  __m256 a, b;
};
INLINE F16 set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
INLINE F16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
INLINE __m256 widen(const bf16* p) {
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)), 16));
}
INLINE F16 load(const bf16* p) { return {widen(p), widen(p + 8)}; }
INLINE __m256 widen(const int8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p)));
}
INLINE F16 load(const int8_t* p) { return {widen(p), widen(p + 8)}; }
INLINE void store(float* p, F16 x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
INLINE F16 add(F16 x, F16 y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
INLINE F16 sub(F16 x, F16 y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
INLINE F16 mul(F16 x, F16 y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
INLINE F16 div(F16 x, F16 y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
INLINE F16 fma(F16 x, F16 y, F16 z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
INLINE F16 larger(F16 x, F16 y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
INLINE F16 smaller(F16 x, F16 y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
INLINE F16 swapPairs(F16 x) { return {_mm256_permute_ps(x.a, 0xb1), _mm256_permute_ps(x.b, 0xb1)}; }
INLINE __m256 addExponent(__m256 x, __m256 biased) {
  const __m256i n = _mm256_slli_epi32(_mm256_castps_si256(biased), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), n));
}
INLINE F16 addExponent(F16 x, F16 n) { return {addExponent(x.a, n.a), addExponent(x.b, n.b)}; }
INLINE F16 zeroBelow(F16 v, F16 x, F16 floor) {
  return {_mm256_and_ps(v.a, _mm256_cmp_ps(x.a, floor.a, _CMP_NLT_UQ)),
          _mm256_and_ps(v.b, _mm256_cmp_ps(x.b, floor.b, _CMP_NLT_UQ))};
}
INLINE bool anyAbove(F16 x, F16 y) {
  const __m256 above = _mm256_or_ps(_mm256_cmp_ps(x.a, y.a, _CMP_GT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_GT_OQ));
  return _mm256_movemask_ps(above) != 0;
}
INLINE F16 keep(F16 x, int n, float fill) {
  alignas(32) float lanes[16];
  store(lanes, x);
  for (int i = n < 0 ? 0 : n; i < 16; i++) lanes[i] = fill;
  return load(lanes);
}
// All lanes combined by `op`: those that are eight apart, then four, two and one.
template <class Op>
INLINE float allLanes(F16 x, const Op& op) {
  __m256 a = op(x.a, x.b);
  a = op(a, _mm256_permute2f128_ps(a, a, 0x01));
  a = op(a, _mm256_permute_ps(a, 0x4e));
  return _mm256_cvtss_f32(op(a, _mm256_permute_ps(a, 0xb1)));
}
INLINE float sum(F16 a) {
  return allLanes(a, [](__m256 p, __m256 q) __attribute__((always_inline)) { return _mm256_add_ps(p, q); });
}
INLINE float largest(F16 a) {
  return allLanes(a, [](__m256 p, __m256 q) __attribute__((always_inline)) { return _mm256_max_ps(p, q); });
}
INLINE F16 sums(const F16* a) {
  alignas(32) float out[16];
  UNROLL for (int i = 0; i < 16; i += 4) {
    __m256 s[4];
    UNROLL for (int j = 0; j < 4; j++) s[j] = _mm256_add_ps(a[i + j].a, a[i + j].b);
    const __m256 t = _mm256_hadd_ps(_mm256_hadd_ps(s[0], s[1]), _mm256_hadd_ps(s[2], s[3]));
    _mm_storeu_ps(out + i, _mm_add_ps(_mm256_castps256_ps128(t), _mm256_extractf128_ps(t, 1)));
  }
  return load(out);
}

#else

typedef float V4 __attribute__((vector_size(16)));
typedef int32_t I4 __attribute__((vector_size(16)));
struct F16 {
  V4 v[4];
};
#define EACH(expression) \
  F16 r;                 \
  UNROLL for (int i = 0; i < 4; i++) r.v[i] = expression; \
  return r
INLINE V4 splat(float x) { return V4{x, x, x, x}; }
INLINE F16 set1(float x) { EACH(splat(x)); }
INLINE V4 load4(const float* p) {
  V4 v;
  memcpy(&v, p, sizeof v);
  return v;
}
INLINE F16 load(const float* p) { EACH(load4(p + 4 * i)); }
INLINE F16 load(const bf16* p) {
  EACH((V4)((I4){p[4 * i], p[4 * i + 1], p[4 * i + 2], p[4 * i + 3]} << 16));
}
INLINE F16 load(const int8_t* p) {
  EACH(((V4){(float)p[4 * i], (float)p[4 * i + 1], (float)p[4 * i + 2], (float)p[4 * i + 3]}));
}
INLINE void store(float* p, F16 a) { memcpy(p, &a, sizeof a); }
INLINE F16 add(F16 a, F16 b) { EACH(a.v[i] + b.v[i]); }
INLINE F16 sub(F16 a, F16 b) { EACH(a.v[i] - b.v[i]); }
INLINE F16 mul(F16 a, F16 b) { EACH(a.v[i] * b.v[i]); }
INLINE F16 div(F16 a, F16 b) { EACH(a.v[i] / b.v[i]); }
#if defined(__aarch64__)
INLINE F16 fma(F16 a, F16 b, F16 c) {
  EACH((V4)vfmaq_f32((float32x4_t)c.v[i], (float32x4_t)a.v[i], (float32x4_t)b.v[i]));
}
#else
INLINE F16 fma(F16 a, F16 b, F16 c) { EACH(a.v[i] * b.v[i] + c.v[i]); }
#endif
INLINE F16 swapPairs(F16 a) { EACH(((V4){a.v[i][1], a.v[i][0], a.v[i][3], a.v[i][2]})); }
INLINE V4 choose(I4 mask, V4 a, V4 b) { return (V4)(((I4)a & mask) | ((I4)b & ~mask)); }
INLINE F16 larger(F16 a, F16 b) { EACH(choose((I4)(a.v[i] > b.v[i]), a.v[i], b.v[i])); }
INLINE F16 smaller(F16 a, F16 b) { EACH(choose((I4)(a.v[i] < b.v[i]), a.v[i], b.v[i])); }
INLINE F16 addExponent(F16 a, F16 biased) { EACH((V4)((I4)a.v[i] + ((I4)biased.v[i] << 23))); }
INLINE F16 zeroBelow(F16 a, F16 x, F16 floor) {
  EACH((V4)((I4)a.v[i] & ~(I4)(x.v[i] < floor.v[i])));
}
INLINE bool anyAbove(F16 a, F16 b) {
  I4 above = {};
  UNROLL for (int i = 0; i < 4; i++) above |= (I4)(a.v[i] > b.v[i]);
  return (above[0] | above[1] | above[2] | above[3]) != 0;
}
INLINE F16 keep(F16 a, int n, float fill) {
  float lanes[16];
  store(lanes, a);
  for (int i = n < 0 ? 0 : n; i < 16; i++) lanes[i] = fill;
  return load(lanes);
}
INLINE float sum(F16 a) {
  const V4 s = (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]);
  return (s[0] + s[2]) + (s[1] + s[3]);
}
INLINE F16 sums(const F16* a) {
  float out[16];
  for (int i = 0; i < 16; i++) out[i] = sum(a[i]);
  return load(out);
}
INLINE float largest(F16 a) {
  float x[16];
  store(x, a);
  UNROLL for (int width = 8; width > 0; width /= 2)
    UNROLL for (int i = 0; i < width; i++) x[i] = x[i + width] > x[i] ? x[i + width] : x[i];
  return x[0];
}
#undef EACH

#endif

// Prefetches into the second cache, so that memory and arithmetic work at the same time.
INLINE void fetch(const void* p) { __builtin_prefetch(p, 0, 2); }

INLINE F16 zero() { return set1(0); }

// e^x to 2 units in the last place: 2^n e^r with |r| <= ln 2 / 2 and a polynomial of degree 7
// (coefficients of Cephes, Moshier). 0 below -87.3, the largest finite power above 88.3, NaN for NaN.
INLINE F16 exp(F16 x) {
  const F16 floor = set1(-87.33f), magic = set1(12582912.f);
  const F16 y = smaller(set1(88.3f), larger(floor, x));
  const F16 shifted = fma(y, set1(1.44269504088896341f), magic);
  const F16 n = sub(shifted, magic);
  const F16 r = fma(n, set1(2.12194440e-4f), fma(n, set1(-0.693359375f), y));
  F16 p = set1(1.9875691500e-4f);
  p = fma(p, r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  p = add(fma(p, mul(r, r), r), set1(1));
  return zeroBelow(addExponent(p, shifted), x, floor);
}

INLINE float exp1(float x) {
  float lanes[16];
  store(lanes, exp(set1(x)));
  return lanes[0];
}

}  // namespace
}  // namespace BASIN_ISA
}  // namespace basin
