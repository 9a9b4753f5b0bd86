// The calls of the TensorFlow.js backend: each is one op on blocks of memory, shared among the threads.
// Results never depend on the number of threads. The arguments of a call are numbers in `command`, in the order
// that the comment above each op says; every one of them is checked.
#pragma once
#include <memory>
#include <vector>

#include "runtime/pool.h"
#include "runtime/refusal.h"
#include "training/training_kernels.h"
#include "training/memory.h"

namespace basin {

enum class Op {
  fill, unary, binary, select, cast, copy, matmul, reduce, argument, addAll, gather, segmentSum, flatIndex, oneHot,
  cumulate, softmax, logSoftmax, softmaxGradient, logSoftmaxGradient, norm, normGradient, gate, gateGradient, rotate,
  crossEntropy, crossEntropyGradient, gateDual, gateDualGradient, normDual, normDualGradient, jointSoftmax,
  jointSoftmaxGradient, count
};

constexpr int commandLength = 512;

// Reads the numbers of a call, in order.
class Command {
 public:
  Command(const double* d, size_t n, const Memory& m) : data(d), length(n), memory(m) {}

  double real() {
    if (at >= length) throw Refusal{"command", "complete", double(length)};
    return data[at++];
  }
  size_t size() {
    constexpr double most = double(size_t(1) << 40);
    const double x = real();
    if (!(x >= 0 && x <= most) || x != double(size_t(x))) throw Refusal{"size", "an integer from 0 to 2^40", x};
    return size_t(x);
  }
  long long offset() {
    constexpr double most = double(size_t(1) << 40);
    const double x = real();
    if (!(x >= -most && x <= most) || x != double((long long)x)) throw Refusal{"offset", "an integer", x};
    return (long long)x;
  }
  template <class E>
  E choice() {
    return E(indexBelow("choice", real(), double(E::count)));
  }
  bool flag() { return real() != 0; }

  // A block with room for n elements.
  template <class T = float>
  T* block(size_t n) {
    const Block& found = memory.at(indexBelow("block", real(), double(memory.count())));
    if (n > found.bytes / sizeof(T)) throw Refusal{"block", "large enough for its tensor", double(n)};
    return static_cast<T*>(found.data.get());
  }
  // Null for -1.
  float* optional(size_t n) {
    if (at < length && data[at] == -1) return at++, nullptr;
    return block(n);
  }

 private:
  const double* data;
  size_t length, at = 0;
  const Memory& memory;
};

// A loop over up to eight dimensions with the strides of two operands; the last dimension is a run.
struct StridedLoop {
  static constexpr int most = 8;
  int rank = 0;
  size_t dims[most];
  long long first[most], second[most];

  size_t run() const { return rank ? dims[rank - 1] : 1; }
  size_t rows() const {
    size_t n = 1;
    for (int i = 0; i + 1 < rank; i++) n *= dims[i];
    return n;
  }
  bool empty() const {
    for (int i = 0; i < rank; i++)
      if (dims[i] == 0) return true;
    return false;
  }
  void read(Command& c);
  // The least and the largest offset of one operand in the loop.
  static void bounds(const StridedLoop& w, const long long* strides, long long& low, long long& high);
  // Offsets at the start of a row.
  void start(size_t row, long long& a, long long& b) const;
};

class Trainer {
 public:
  explicit Trainer(int threads);

  void run(Op op, size_t length);

  Memory memory;
  std::shared_ptr<double> command;  // [commandLength], written by JavaScript
  Pool pool;

 private:
  void fill(Command& c);
  void unary(Command& c);
  void binary(Command& c);
  void select(Command& c);
  void cast(Command& c);
  void copy(Command& c);
  void matmul(Command& c);
  void reduce(Command& c);
  void argument(Command& c);
  void addAll(Command& c);
  void gather(Command& c);
  void segmentSum(Command& c);
  void flatIndex(Command& c);
  void oneHot(Command& c);
  void cumulate(Command& c);
  void softmax(Command& c, void (*kernel)(const Rows&));
  void softmaxGradient(Command& c, void (*kernel)(const Rows&));
  void norm(Command& c);
  void normGradient(Command& c);
  void gate(Command& c);
  void gateGradient(Command& c);
  void rotate(Command& c);
  void crossEntropy(Command& c);
  void crossEntropyGradient(Command& c);
  void gateDual(Command& c);
  void gateDualGradient(Command& c);
  void normDual(Command& c);
  void normDualGradient(Command& c);
  void jointSoftmax(Command& c);
  void jointSoftmaxGradient(Command& c);

  struct Factors;
  void productOfMany(const Factors& f);
  void productOfLarge(const Factors& f);
  void reduceTo(Reduce op, const float* x, float* y, size_t outer, size_t n, size_t inner);

  // Calls work(from, count) for pieces of n rows of `width` elements; a piece has at least one row, and about
  // `elementsPerTask` elements.
  template <class Work>
  void share(size_t n, size_t width, const Work& work) {
    if (n == 0) return;
    const size_t piece = width >= elementsPerTask ? 1 : elementsPerTask / (width ? width : 1);
    pool.run(int((n + piece - 1) / piece), [&](int task, int) {
      const size_t from = task * piece;
      work(from, n - from < piece ? n - from : piece);
    });
  }

  // Fewer elements are not worth another thread's while. Pieces are the same for any number of threads.
  static constexpr size_t elementsPerTask = 16384;

  const TrainingKernels& kernels;
  Scratch sharedScratch;
  std::vector<Scratch> threadScratch;  // by thread
};

}  // namespace basin
