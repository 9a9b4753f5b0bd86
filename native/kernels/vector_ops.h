// Sums and products over runs of floats, and two kernels that measure the machine: multiply-adds without memory,
// and reads that compute next to nothing. Benchmarks give their figures as shares of these two.
#pragma once
#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace basin {
namespace BASIN_ISA {
namespace {

void fmaRun(const float* a, float factor, const float* b, float* y, size_t n) {
  for (size_t i = 0; i < n; i += lanes) store(y + i, fma(set1(factor), load(b + i), load(a + i)));
}

void multiply(const float* a, const float* b, float* y, size_t n) {
  for (size_t i = 0; i < n; i += lanes) store(y + i, mul(load(a + i), load(b + i)));
}

void addProduct(const float* a, const float* b, const float* c, float* y, size_t n) {
  for (size_t i = 0; i < n; i += lanes) store(y + i, fma(load(b + i), load(c + i), load(a + i)));
}

float dot(const float* a, const float* b, size_t n) {
  F16 total = zero();
  for (size_t i = 0; i < n; i += lanes) total = fma(load(a + i), load(b + i), total);
  return sum(total);
}

float fmaRounds(size_t rounds) {
#if defined(__AVX512F__)
  constexpr int chains = 24;
#elif defined(__AVX2__)
  constexpr int chains = 6;
#else
  constexpr int chains = 3;
#endif
  F16 total[chains];
  const F16 a = set1(0.999999f), b = set1(1e-7f);
  UNROLL for (int i = 0; i < chains; i++) total[i] = set1((float)i);
  for (size_t round = 0; round < rounds; round++)
    for (int repeat = 0; repeat < fmaPerRound / chains; repeat++)
      UNROLL for (int i = 0; i < chains; i++) total[i] = fma(total[i], a, b);
  float all = 0;
  UNROLL for (int i = 0; i < chains; i++) all += sum(total[i]);
  return all;
}

float readSum(const float* data, size_t n) {
  F16 total[8];
  UNROLL for (int i = 0; i < 8; i++) total[i] = zero();
  for (size_t at = 0; at + 8 * lanes <= n; at += 8 * lanes)
    UNROLL for (int i = 0; i < 8; i++) total[i] = add(total[i], load(data + at + i * lanes));
  float all = 0;
  UNROLL for (int i = 0; i < 8; i++) all += sum(total[i]);
  return all;
}

}  // namespace
}  // namespace BASIN_ISA
}  // namespace basin
