// Measures what the machine can do at this moment with these threads and kernels.
#pragma once
#include "kernels/kernels.h"
#include "runtime/pool.h"

namespace basin {

struct Peak {
  double flops;           // floating-point operations a second
  double bytesPerSecond;  // read from memory
};

Peak measurePeak(Pool& pool, const Kernels& kernels);

}  // namespace basin
