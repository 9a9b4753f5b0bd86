// What one step along a product multiplies. Inputs are float32 and weights are widened to it where they are read, unless
// the machine multiplies several numbers of their type at once, pairs of bf16 or fours of int8: then inputs are rounded
// to that type too, a row of int8 with a scale of its own.
#pragma once
#include "kernels/fours.h"
#include "kernels/kernels.h"
#include "kernels/pairs.h"
#include "kernels/simd.h"

namespace basin {
namespace BASIN_ISA {
namespace {

template <typename W>
struct Operand {
  typedef float Input;
  typedef F16 Sum;
  static constexpr int together = 1;
  INLINE F16 weights(const W* w) { return load(w); }
  // An input for each lane, or one for all of them.
  INLINE F16 inputs(const float* x) { return load(x); }
  INLINE F16 each(const float* x) { return set1(*x); }
  // Sums of row `row` of the inputs: what every lane starts from, or the lanes together; and what they mean.
  INLINE F16 start(const Scaled*, int) { return zero(); }
  INLINE F16 startTogether(const Scaled*, int) { return zero(); }
  INLINE F16 add(F16 x, F16 w, F16 sum) { return fma(x, w, sum); }
  INLINE F16 unscaled(F16 sum) { return sum; }
  INLINE F16 scaled(const Scaled*, int, F16 unscaled) { return unscaled; }
  // The same for a sum that goes on with `y`.
  INLINE F16 startFrom(F16 y, const Scaled*, int) { return y; }
  INLINE F16 addedTo(F16, const Scaled*, int, F16 sum) { return sum; }
};

#if defined(__AVX512BF16__)
template <>
struct Operand<bf16> : Operand<float> {
  typedef bf16 Input;
  static constexpr int together = 2;
  INLINE Pairs weights(const bf16* w) { return loadPairs(w); }
  INLINE Pairs inputs(const bf16* x) { return loadPairs(x); }
  INLINE Pairs each(const bf16* x) { return eachPair(x); }
  INLINE F16 add(Pairs x, Pairs w, F16 sum) { return dot(x, w, sum); }
};

constexpr NumberType narrowed = NumberType::bf16;
constexpr int inputsTogether = 2;

// Rounds n numbers.
INLINE Scaled rounded(const float* x, void* y, size_t n) {
  for (size_t i = 0; i < n; i += lanes) store((bf16*)y + i, load(x + i));
  return {1, 0};
}
#elif defined(BASIN_FOURS)
template <>
struct Operand<int8_t> {
  typedef int8_t Input;
  typedef I16 Sum;
  static constexpr int together = 4;
  INLINE I16 weights(const int8_t* w) { return loadFours(w); }
  INLINE I16 inputs(const int8_t* x) { return loadFours(x); }
  INLINE I16 each(const int8_t* x) { return eachFour(x); }
  INLINE I16 start(const Scaled* x, int row) { return eachInt(-x[row].offset); }
  INLINE I16 startTogether(const Scaled* x, int row) { return firstInt(-x[row].offset); }
  INLINE I16 add(I16 x, I16 w, I16 sum) { return dot(w, x, sum); }
  INLINE F16 unscaled(I16 sum) { return floats(sum); }
  INLINE F16 scaled(const Scaled* x, int row, F16 unscaled) { return mul(unscaled, set1(x[row].scale)); }
  INLINE I16 startFrom(F16, const Scaled* x, int row) { return start(x, row); }
  INLINE F16 addedTo(F16 y, const Scaled* x, int row, I16 sum) {
    return basin::BASIN_ISA::add(y, scaled(x, row, unscaled(sum)));
  }
};

constexpr NumberType narrowed = NumberType::int8;
constexpr int inputsTogether = 4;

// Rounds n numbers. The scale is not finite where x is not; the sum of n numbers of up to 127 is exact in float32.
INLINE Scaled rounded(const float* x, void* y, size_t n) {
  const float most = largestMagnitude(x, n);
  const F16 factor = set1(most > 0 ? 127.f / most : 0), least = set1(-127), largest = set1(127);
  I16 total = eachInt(0);
  for (size_t i = 0; i < n; i += lanes) {
    const I16 v = nearestInts(larger(smaller(mul(load(x + i), factor), largest), least));
    total = add(total, v);
    storeBytes((int8_t*)y + i, v);
  }
  return {most / 127.f, foursOffset * (int32_t)sum(floats(total))};
}
#else
constexpr NumberType narrowed = NumberType::f32;
constexpr int inputsTogether = 1;
constexpr Scaled (*narrow)(const float*, void*, size_t) = nullptr;
#endif

#if defined(__AVX512BF16__) || defined(BASIN_FOURS)
Scaled narrow(const float* x, void* y, size_t n) { return rounded(x, y, n); }
#endif

}  // namespace
}  // namespace BASIN_ISA
}  // namespace basin
