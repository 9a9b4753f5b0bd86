// Fours of int8 numbers, sixteen at once: VPDPBUSD multiplies them and adds the four products to an int32. It takes
// unsigned numbers and signed ones: weights are stored with `foursOffset` added to them, and what that adds to a product
// is taken away again.
#pragma once
#include "kernels/simd.h"

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#define BASIN_FOURS 1
namespace basin {
namespace BASIN_ISA {
namespace {

constexpr int foursOffset = 128;

#if defined(__AVX512F__)
// Sixteen int32 numbers, or fours of int8 numbers.
struct I16 {
  __m512i x;
};

INLINE I16 eachInt(int32_t a) { return {_mm512_set1_epi32(a)}; }
// `a` in the first lane, 0 in the others.
INLINE I16 firstInt(int32_t a) { return {_mm512_zextsi128_si512(_mm_cvtsi32_si128(a))}; }
INLINE I16 loadFours(const void* p) { return {_mm512_loadu_si512(p)}; }
INLINE void storeFours(void* p, I16 a) { _mm512_storeu_si512(p, a.x); }
INLINE void storeBytes(int8_t* p, I16 a) { _mm_storeu_si128((__m128i*)p, _mm512_cvtepi32_epi8(a.x)); }
INLINE I16 add(I16 a, I16 b) { return {_mm512_add_epi32(a.x, b.x)}; }
INLINE I16 larger(I16 a, I16 b) { return {_mm512_max_epi32(a.x, b.x)}; }
INLINE int32_t largest(I16 a) { return _mm512_reduce_max_epi32(a.x); }
INLINE I16 both(I16 a, I16 b) { return {_mm512_and_si512(a.x, b.x)}; }
INLINE I16 bitsOf(F16 a) { return {_mm512_castps_si512(a.x)}; }
INLINE F16 floats(I16 a) { return {_mm512_cvtepi32_ps(a.x)}; }
INLINE I16 nearestInts(F16 a) { return {_mm512_cvtps_epi32(a.x)}; }
// c + the four products of each group; numbers of a are unsigned, those of b signed. Around the intrinsic GCC 12 copies
// every sum twice.
INLINE I16 dot(I16 a, I16 b, I16 c) {
  asm("vpdpbusd %2, %1, %0" : "+v"(c.x) : "v"(a.x), "v"(b.x));
  return c;
}
// (a_i, b_i, c_i, d_i) for sixteen numbers of four rows that are `ld` apart.
INLINE void zip(const int8_t* rows, size_t ld, int8_t* out) {
  const auto row = [&](int i) { return _mm_loadu_si128((const __m128i*)(rows + i * ld)); };
  __m512i x = _mm512_castsi128_si512(row(0));
  x = _mm512_inserti32x4(x, row(1), 1);
  x = _mm512_inserti32x4(x, row(2), 2);
  x = _mm512_inserti32x4(x, row(3), 3);
  // Four numbers of each row into each quarter, which is then turned.
  const __m512i quarters = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m128i turn = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  _mm512_storeu_si512(out, _mm512_shuffle_epi8(_mm512_permutexvar_epi32(quarters, x), _mm512_broadcast_i32x4(turn)));
}
#else
struct I16 {
  __m256i a, b;
};

INLINE I16 eachInt(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
INLINE I16 firstInt(int32_t x) { return {_mm256_zextsi128_si256(_mm_cvtsi32_si128(x)), _mm256_setzero_si256()}; }
INLINE I16 loadFours(const void* p) {
  return {_mm256_loadu_si256((const __m256i*)p), _mm256_loadu_si256((const __m256i*)p + 1)};
}
INLINE void storeFours(void* p, I16 x) {
  _mm256_storeu_si256((__m256i*)p, x.a);
  _mm256_storeu_si256((__m256i*)p + 1, x.b);
}
INLINE void storeBytes(int8_t* p, I16 x) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xd8);
  _mm_storeu_si128((__m128i*)p, _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}
INLINE I16 add(I16 x, I16 y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
INLINE I16 larger(I16 x, I16 y) { return {_mm256_max_epi32(x.a, y.a), _mm256_max_epi32(x.b, y.b)}; }
INLINE int32_t largest(I16 x) {
  const __m256i eight = _mm256_max_epi32(x.a, x.b);
  __m128i most = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(most, _mm_shuffle_epi32(most, 0xb1)));
}
INLINE I16 both(I16 x, I16 y) { return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)}; }
INLINE I16 bitsOf(F16 x) { return {_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
INLINE F16 floats(I16 x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
INLINE I16 nearestInts(F16 x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
INLINE I16 dot(I16 x, I16 y, I16 c) {
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(c.a) : "x"(x.a), "x"(y.a));
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(c.b) : "x"(x.b), "x"(y.b));
  return c;
}
INLINE void zip(const int8_t* rows, size_t ld, int8_t* out) {
  const auto row = [&](int i) { return _mm_loadu_si128((const __m128i*)(rows + i * ld)); };
  const __m128i low[2] = {_mm_unpacklo_epi8(row(0), row(1)), _mm_unpacklo_epi8(row(2), row(3))};
  const __m128i high[2] = {_mm_unpackhi_epi8(row(0), row(1)), _mm_unpackhi_epi8(row(2), row(3))};
  __m128i* to = (__m128i*)out;
  _mm_storeu_si128(to, _mm_unpacklo_epi16(low[0], low[1]));
  _mm_storeu_si128(to + 1, _mm_unpackhi_epi16(low[0], low[1]));
  _mm_storeu_si128(to + 2, _mm_unpacklo_epi16(high[0], high[1]));
  _mm_storeu_si128(to + 3, _mm_unpackhi_epi16(high[0], high[1]));
}
#endif

INLINE I16 eachFour(const int8_t* p) {
  int32_t four;
  memcpy(&four, p, sizeof four);
  return eachInt(four);
}

// The largest of n numbers without their signs; NaN where one of them is. Floats without signs are in the order of their
// bits as whole numbers, with NaN above infinity.
INLINE float largestMagnitude(const float* x, size_t n) {
  const I16 unsignedBits = eachInt(0x7fffffff);
  I16 most = eachInt(0);
  for (size_t i = 0; i < n; i += lanes) most = larger(most, both(bitsOf(load(x + i)), unsignedBits));
  const int32_t bits = largest(most);
  float magnitude;
  memcpy(&magnitude, &bits, sizeof magnitude);
  return magnitude;
}

}  // namespace
}  // namespace BASIN_ISA
}  // namespace basin
#endif
