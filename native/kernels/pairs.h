// Pairs of bf16 numbers, sixteen at once: VDPBF16PS multiplies them and adds both products to a float32.
#pragma once
#include "kernels/simd.h"

#if defined(__AVX512BF16__)
namespace basin {
namespace BASIN_ISA {
namespace {

struct Pairs {
  __m512bh x;
};

INLINE Pairs loadPairs(const bf16* p) { return {(__m512bh)_mm512_loadu_si512(p)}; }
INLINE Pairs eachPair(const bf16* p) {
  int32_t pair;
  memcpy(&pair, p, sizeof pair);
  return {(__m512bh)_mm512_set1_epi32(pair)};
}
// c + a_1 b_1 + a_2 b_2 for each pair, added in float32.
INLINE F16 dot(Pairs a, Pairs b, F16 c) { return {_mm512_dpbf16_ps(c.x, a.x, b.x)}; }

INLINE void store(bf16* p, F16 a) { _mm256_storeu_si256((__m256i*)p, (__m256i)_mm512_cvtneps_pbh(a.x)); }

// (a_i, b_i) for sixteen numbers of two rows that are `ld` apart.
INLINE void zip(const bf16* rows, size_t ld, bf16* out) {
  const auto row = [&](int i) { return _mm256_loadu_si256((const __m256i*)(rows + i * ld)); };
  const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(row(0)), row(1), 1);
  const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i second = _mm512_slli_epi32(_mm512_add_epi32(first, _mm512_set1_epi32(lanes)), 16);
  _mm512_storeu_si512(out, _mm512_permutexvar_epi16(_mm512_or_si512(first, second), both));
}

}  // namespace
}  // namespace BASIN_ISA
}  // namespace basin
#endif
