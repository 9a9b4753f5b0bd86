// Memory that lives as long as its owner. It is zeroed, aligned to cache lines, counted, and taken at open.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <string>
#include <vector>
#if defined(__linux__)
#include <sys/mman.h>
#endif
#include "runtime/refusal.h"

namespace basin {

class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() {
    for (void* p : taken) free(p);
  }

  size_t bytes() const { return total; }

  // n zeroed elements of T, and 64 bytes of slack so that a whole vector may be read at the end.
  template <class T>
  T* take(size_t n) {
    size_t size = 0;
    if (__builtin_mul_overflow(n, sizeof(T), &size) || size > size_t(1) << 46) refuseMemory(double(n) * sizeof(T));
    void* raw = calloc(size + 2 * line, 1);
    if (!raw) refuseMemory(double(size));
    taken.push_back(raw);
    total += size;
    const size_t address = (reinterpret_cast<size_t>(raw) + line - 1) / line * line;
#if defined(__linux__)
    // Weights are read once a step from end to end: large pages save address translation.
    constexpr size_t large = size_t(2) << 20;
    const size_t from = (address + large - 1) / large * large;
    if (address + size >= from + large) madvise(reinterpret_cast<void*>(from), (address + size - from) / large * large, MADV_HUGEPAGE);
#endif
    return reinterpret_cast<T*>(address);
  }

 private:
  static constexpr size_t line = 64;
  [[noreturn]] static void refuseMemory(double bytes) {
    throw Refusal{"memory", "what this machine can give", bytes};
  }
  std::vector<void*> taken;  // as calloc gave them
  size_t total = 0;
};

}  // namespace basin
