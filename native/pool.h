// The threads that share a batch. Work is claimed task by task from one counter, so a thread that the
// operating system holds back holds nobody up; results never depend on who does what. Idle threads
// spin for a moment, because the next product follows within microseconds, then sleep.
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

  // Calls work(task, thread) for every task; returns when all are done. From the owner's thread only.
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

  // Calls work(from, count) for runs of rows. Small work is done at once: handing it out costs more
  // than a microsecond.
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
  // generation (24 bits) | tasks (20) | next (20): a claim is one addition. What `call`, `work` and
  // `first` hold belongs to the claimed task, because its job cannot end before the task does.
  std::atomic<uint64_t> ticket{0};
  std::atomic<int> done{0};
  std::atomic<int> sleepers{0};
  std::atomic<bool> stopping{false};
  Call call = nullptr;
  const void* work = nullptr;
  int first = 0;
  uint64_t generation = 0;
  std::mutex mutex;
  std::condition_variable wake;
};

}  // namespace basin
