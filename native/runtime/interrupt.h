// Whether a message waits for the thread that is in a long call: src/energy/interrupt.ts says how it is used.
#pragma once
#include <cstdint>

namespace basin {

struct Interrupt {
  const int32_t* counts;  // [2] messages sent and received, in memory shared with the sender; or null

  bool isRaised() const {
    return counts && __atomic_load_n(counts, __ATOMIC_ACQUIRE) != __atomic_load_n(counts + 1, __ATOMIC_ACQUIRE);
  }
};

}  // namespace basin
