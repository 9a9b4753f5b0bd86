// Whether a message waits for the thread that is in a long call: see src/energy/bell.ts.
#pragma once
#include <cstdint>

namespace basin {

struct Bell {
  const int32_t* counts;  // messages sent and received, shared with who sends; or null

  bool rings() const {
    return counts && __atomic_load_n(counts, __ATOMIC_ACQUIRE) != __atomic_load_n(counts + 1, __ATOMIC_ACQUIRE);
  }
};

}  // namespace basin
