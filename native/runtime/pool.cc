#include "runtime/pool.h"

#include <chrono>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace basin {

namespace {

constexpr int bits = 20;
constexpr uint64_t mask = (1u << bits) - 1;
constexpr auto spinTime = std::chrono::microseconds(100);

uint64_t nextOf(uint64_t claims) { return claims & mask; }
uint64_t tasksOf(uint64_t claims) { return (claims >> bits) & mask; }
bool open(uint64_t claims) { return nextOf(claims) < tasksOf(claims); }

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

Pool::Pool(int threads) : threadCount(threads < 1 ? 1 : threads) {
  for (int i = 1; i < threadCount; i++) workers.emplace_back([this, i] { idle(i); });
}

Pool::~Pool() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    stopping = true;
  }
  wake.notify_all();
  for (std::thread& worker : workers) worker.join();
}

void Pool::share(Call newCall, const void* newWork, int newFirst, int tasks) {
  call = newCall;
  work = newWork;
  first = newFirst;
  done.store(0, std::memory_order_relaxed);
  generation++;
  claims.store((generation << (2 * bits)) | (uint64_t(tasks) << bits));
  if (sleepers.load() > 0) {
    std::lock_guard<std::mutex> lock(mutex);
    wake.notify_all();
  }
  claim(0);
  for (int spins = 0; done.load(std::memory_order_acquire) < tasks; spins++) {
    pause();
    if (spins > 2000) std::this_thread::yield();
  }
}

void Pool::claim(int thread) {
  for (;;) {
    const uint64_t mine = claims.fetch_add(1);
    if (!open(mine)) return;
    call(work, first + int(nextOf(mine)), thread);
    done.fetch_add(1, std::memory_order_release);
  }
}

void Pool::idle(int thread) {
  using Clock = std::chrono::steady_clock;
  while (!stopping.load()) {
    const auto until = Clock::now() + spinTime;
    bool found = false;
    while (!found) {
      for (int i = 0; i < 64 && !found; i++) {
        found = open(claims.load());
        if (!found) pause();
      }
      if (found || Clock::now() > until) break;
    }
    if (found) {
      claim(thread);
      continue;
    }
    std::unique_lock<std::mutex> lock(mutex);
    sleepers++;
    wake.wait(lock, [this] { return stopping.load() || open(claims.load()); });
    sleepers--;
  }
}

}  // namespace basin
