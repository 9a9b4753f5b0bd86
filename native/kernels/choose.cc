// Which instruction set, and so which table of kernels, this machine can run.
#include <cstring>
#include "kernels/kernels.h"

namespace basin {

InstructionSet widestInstructionSet(const char* wanted) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool any = wanted[0] == '\0';
  if (avx512 && (any || strcmp(wanted, "avx512") == 0)) return InstructionSet::avx512;
  if (avx2 && (any || strcmp(wanted, "baseline") != 0)) return InstructionSet::avx2;
#else
  (void)wanted;
#endif
  return InstructionSet::baseline;
}

const Kernels& chooseKernels(const char* wanted, NumberType type) {
#if defined(__x86_64__)
  const InstructionSet widest = widestInstructionSet(wanted);
  const bool any = wanted[0] == '\0';
  const bool wide = widest == InstructionSet::avx512;
  if (wide && any && type == NumberType::bf16 && __builtin_cpu_supports("avx512bf16")) return avx512bf16::table;
  if (wide && any && type == NumberType::int8 && __builtin_cpu_supports("avx512vnni")) return avx512vnni::table;
  if (wide) return avx512::table;
  if (widest == InstructionSet::avx2 && type == NumberType::int8 && __builtin_cpu_supports("avxvnni")) return avx2vnni::table;
  if (widest == InstructionSet::avx2) return avx2::table;
#else
  (void)wanted, (void)type;
#endif
  return baseline::table;
}

}  // namespace basin
