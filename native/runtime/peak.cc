#include "runtime/peak.h"

#include <chrono>
#include <cmath>
#include <vector>

#include "runtime/arena.h"

namespace basin {

Peak measurePeak(Pool& pool, const Kernels& kernels) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](Clock::time_point from) {
    return std::chrono::duration<double>(Clock::now() - from).count();
  };
  // The best of many short bursts, so that other work on the machine is not taken for its limit.
  constexpr size_t rounds = 10000, floats = size_t(32) << 20, pieces = 256;
  constexpr int repeats = 60;
  Arena arena;
  float* data = arena.take<float>(floats);
  for (size_t i = 0; i < floats; i += 1024) data[i] = 1;
  std::vector<float> sink(pool.threads() * 64);
  double bestFma = 0, bestRead = 0;
  for (int repeat = 0; repeat < repeats; repeat++) {
    const int tasks = pool.threads() * 8;
    auto from = Clock::now();
    pool.run(tasks, [&](int, int thread) { sink[thread * 64] += kernels.fmaRounds(rounds); });
    bestFma = std::fmax(bestFma, 2.0 * lanes * fmaPerRound * rounds * tasks / seconds(from));
    from = Clock::now();
    pool.run(pieces, [&](int task, int thread) {
      sink[thread * 64] += kernels.readSum(data + task * (floats / pieces), floats / pieces);
    });
    bestRead = std::fmax(bestRead, double(floats) * sizeof(float) / seconds(from));
  }
  return {bestFma, bestRead};
}

}  // namespace basin
