// The threads that share a batch. They claim tasks one by one from a counter, so that a thread that the
// operating system suspends delays no other; results do not depend on which thread takes which task. Idle
// threads spin for a moment, because the next product follows within microseconds, and then sleep.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace basin {

class Pool {
 public:
  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return threadCount; }

  // Calls work(task, thread) for every task; returns when all are done. Only the owner's thread may call it.
  template <class Work>
  void run(int tasks, const Work& work) {
    if (threadCount == 1 || tasks == 1) {
      for (int task = 0; task < tasks; task++) work(task, 0);
      return;
    }
    constexpr int most = 1 << 19;
    for (int first = 0; first < tasks; first += most)
      share([](const void* w, int task, int thread) { (*static_cast<const Work*>(w))(task, thread); },
            &work, first, tasks - first < most ? tasks - first : most);
  }

  // Calls work(from, count) for runs of rows. The calling thread does small work alone, because sharing it
  // costs more than a microsecond.
  template <class Work>
  void runRows(int rows, const Work& work) {
    constexpr int atOnce = 16;
    if (rows <= atOnce) return work(0, rows);
    run((rows + atOnce - 1) / atOnce, [&](int task, int) {
      const int from = task * atOnce;
      work(from, rows - from < atOnce ? rows - from : atOnce);
    });
  }

 private:
  using Call = void (*)(const void* work, int task, int thread);

  void share(Call call, const void* work, int first, int tasks);
  void claim(int thread);
  void idle(int thread);

  const int threadCount;
  std::vector<std::thread> workers;
  // generation (24 bits) | tasks (20) | next (20), so that a claim is one addition. `call`, `work` and `first`
  // belong to the claimed task: `share` does not return, and so does not replace them, before the task is done.
  std::atomic<uint64_t> claims{0};
  std::atomic<int> done{0};
  std::atomic<int> sleepers{0};
  std::atomic<bool> stopping{false};
  Call call = nullptr;
  const void* work = nullptr;  // the Work object of `run`
  int first = 0;
  uint64_t generation = 0;
  std::mutex mutex;
  std::condition_variable wake;
};

}  // namespace basin
