// Which table of kernels this machine can run.
#include <cstring>
#include "kernels.h"

namespace basin {

const Kernels& chooseKernels(const char* wanted) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool any = wanted[0] == '\0';
  if (avx512 && (any || strcmp(wanted, "avx512") == 0)) return avx512::table;
  if (avx2 && (any || strcmp(wanted, "baseline") != 0)) return avx2::table;
#else
  (void)wanted;
#endif
  return baseline::table;
}

}  // namespace basin
