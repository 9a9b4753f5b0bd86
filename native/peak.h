// What the machine can do right now with these threads and kernels.
#pragma once
#include "kernels/kernels.h"
#include "pool.h"

namespace basin {

struct Peak {
  double flops;           // floating-point operations a second
  double bytesPerSecond;  // read from memory
};

Peak measurePeak(Pool& pool, const Kernels& kernels);

}  // namespace basin
