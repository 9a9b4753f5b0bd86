// The number formats that weights and the context cache are held in.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include "kernels/kernels.h"

namespace basin {

inline size_t numberBytes(NumberType type) { return type == NumberType::f32 ? 4 : type == NumberType::bf16 ? 2 : 1; }

// To nearest even.
inline uint16_t toBf16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline float fromBf16(uint16_t x) {
  const uint32_t bits = uint32_t(x) << 16;
  float wide;
  memcpy(&wide, &bits, 4);
  return wide;
}

// int8: the scale that maps the largest of n numbers, `stride` apart, to 127.
inline float int8Scale(const float* x, int n, int stride) {
  float most = 0;
  for (int i = 0; i < n; i++) most = std::fmax(most, std::fabs(x[size_t(i) * stride]));
  return most > 0 ? most / 127.f : 1.f;
}

// What is added to int8 weights where they are stored: they are unsigned where four are multiplied at once (Scaled).
inline uint8_t int8Offset(int together) { return together == 4 ? 128 : 0; }

inline int8_t toInt8(float x, float scale) { return int8_t(std::lrintf(x / scale)); }

}  // namespace basin
