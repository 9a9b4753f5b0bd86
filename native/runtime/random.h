// Counter-based standard normals: a value is a function of (seed, candidate, step, element) alone.
// Philox 4x32-10 (Salmon et al., SC 2011) and Box-Muller, number for number as src/refine/random.ts.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace basin {

struct NoiseKey {
  uint64_t seed;
  uint32_t candidate;
  int step;  // -1 is the starting point
};

inline void philox(uint32_t c[4], uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; round++) {
    const uint64_t a = uint64_t(0xd2511f53u) * c[0], b = uint64_t(0xcd9e8d57u) * c[2];
    const uint32_t c1 = c[1], c3 = c[3];
    c[0] = uint32_t(b >> 32) ^ c1 ^ k0;
    c[1] = uint32_t(b);
    c[2] = uint32_t(a >> 32) ^ c3 ^ k1;
    c[3] = uint32_t(a);
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
}

// The first word of the n-th counter of a stream: `uniform` of src/refine/random.ts, before its division.
inline uint32_t wordOf(uint64_t seed, uint32_t stream, uint32_t n) {
  uint32_t c[4] = {n, stream, 0, 1};
  philox(c, uint32_t(seed), uint32_t(seed >> 32));
  return c[0];
}

// Calls put(element, normal) for the elements [from, to) of one row; `from` a multiple of 4.
template <class Put>
void normals(const NoiseKey& key, size_t from, size_t to, const Put& put) {
  constexpr double turn = 6.283185307179586;
  for (size_t i = from; i < to; i += 4) {
    uint32_t c[4] = {uint32_t(i >> 2), uint32_t(key.step + 1), key.candidate, 0};
    philox(c, uint32_t(key.seed), uint32_t(key.seed >> 32));
    for (int pair = 0; pair < 2; pair++) {
      const size_t at = i + 2 * pair;
      if (at >= to) break;
      const double radius = std::sqrt(-2 * std::log((c[2 * pair] + 0.5) / 4294967296.0));
      const double angle = turn * ((c[2 * pair + 1] + 0.5) / 4294967296.0);
      put(at, float(radius * std::cos(angle)));
      if (at + 1 < to) put(at + 1, float(radius * std::sin(angle)));
    }
  }
}

}  // namespace basin
