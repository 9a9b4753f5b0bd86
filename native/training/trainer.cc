#include "training/trainer.h"

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "kernels/kernels.h"

namespace basin {

namespace {

const TrainingKernels& bestKernels() {
#if defined(__x86_64__)
  const char* wanted = std::getenv("BASIN_TRAINING_KERNELS");
  const InstructionSet widest = widestInstructionSet(wanted ? wanted : "");
  if (widest == InstructionSet::avx512) return avx512::trainingTable;
  if (widest == InstructionSet::avx2) return avx2::trainingTable;
#endif
  return baseline::trainingTable;
}

}  // namespace

Trainer::Trainer(int threads) : command(new double[commandLength](), std::default_delete<double[]>()), pool(threads), kernels(bestKernels()), threadScratch(pool.threads()) {}

void Trainer::run(Op op, size_t length) {
  if (length > commandLength) throw Refusal{"command", "as long as its room", double(length)};
  Command c(command.get(), length, memory);
  switch (op) {
    case Op::fill: return fill(c);
    case Op::unary: return unary(c);
    case Op::binary: return binary(c);
    case Op::select: return select(c);
    case Op::cast: return cast(c);
    case Op::copy: return copy(c);
    case Op::matmul: return matmul(c);
    case Op::reduce: return reduce(c);
    case Op::argument: return argument(c);
    case Op::addAll: return addAll(c);
    case Op::gather: return gather(c);
    case Op::segmentSum: return segmentSum(c);
    case Op::flatIndex: return flatIndex(c);
    case Op::oneHot: return oneHot(c);
    case Op::cumulate: return cumulate(c);
    case Op::softmax: return softmax(c, kernels.softmax);
    case Op::logSoftmax: return softmax(c, kernels.logSoftmax);
    case Op::softmaxGradient: return softmaxGradient(c, kernels.softmaxGradient);
    case Op::logSoftmaxGradient: return softmaxGradient(c, kernels.logSoftmaxGradient);
    case Op::norm: return norm(c);
    case Op::normGradient: return normGradient(c);
    case Op::gate: return gate(c);
    case Op::gateGradient: return gateGradient(c);
    case Op::rotate: return rotate(c);
    case Op::crossEntropy: return crossEntropy(c);
    case Op::crossEntropyGradient: return crossEntropyGradient(c);
    case Op::gateDual: return gateDual(c);
    case Op::gateDualGradient: return gateDualGradient(c);
    case Op::normDual: return normDual(c);
    case Op::normDualGradient: return normDualGradient(c);
    case Op::jointSoftmax: return jointSoftmax(c);
    case Op::jointSoftmaxGradient: return jointSoftmaxGradient(c);
    case Op::count: return;
  }
}

// Reads the rank, the dimensions, then the strides of each operand.
void StridedLoop::read(Command& c) {
  rank = int(c.size());
  if (rank > most) throw Refusal{"rank", "8 at most", double(rank)};
  for (int i = 0; i < rank; i++) dims[i] = c.size();
  for (int i = 0; i < rank; i++) first[i] = c.offset();
  for (int i = 0; i < rank; i++) second[i] = c.offset();
}

void StridedLoop::bounds(const StridedLoop& w, const long long* strides, long long& low, long long& high) {
  low = high = 0;
  for (int i = 0; i < w.rank; i++) {
    const long long last = (long long)(w.dims[i] - 1) * strides[i];
    (last < 0 ? low : high) += last;
  }
}

void StridedLoop::start(size_t row, long long& a, long long& b) const {
  a = b = 0;
  for (int i = rank - 2; i >= 0; i--) {
    const long long at = row % dims[i];
    row /= dims[i];
    a += at * first[i];
    b += at * second[i];
  }
}

// type, y, n, value
void Trainer::fill(Command& c) {
  const Type type = c.choice<Type>();
  const double id = c.real();
  const size_t n = c.size();
  const double value = c.real();
  Command target(&id, 1, memory);
  if (type == Type::boolean) {
    memset(target.block<uint8_t>(n), value != 0, n);
    return;
  }
  uint32_t bits;
  const float real = float(value);
  const int32_t whole = int32_t(value);
  memcpy(&bits, type == Type::int32 ? (const void*)&whole : (const void*)&real, sizeof bits);
  uint32_t* y = target.block<uint32_t>(n);
  share(n, 1, [&](size_t from, size_t count) { std::fill_n(y + from, count, bits); });
}

// op, x, y, n, p, q
void Trainer::unary(Command& c) {
  const Unary op = c.choice<Unary>();
  const double ids[2] = {c.real(), c.real()};
  const size_t n = c.size();
  const float p = float(c.real()), q = float(c.real());
  Command blocks(ids, 2, memory);
  const float* x = blocks.block(n);
  float* y = blocks.block(n);
  share(n, 1, [&](size_t from, size_t count) { kernels.unary(op, x + from, y + from, count, p, q); });
}

namespace {

template <class In, class Out>
void wholePairs(Binary op, Repeat repeat, const In* a, const In* b, Out* y, size_t n) {
  const size_t stepA = repeat != Repeat::first, stepB = repeat != Repeat::second;
  const auto each = [&](auto f) {
    for (size_t i = 0; i < n; i++) y[i] = Out(f(a[i * stepA], b[i * stepB]));
  };
  switch (op) {
    case Binary::add: return each([](In p, In q) { return uint32_t(p) + uint32_t(q); });
    case Binary::subtract: return each([](In p, In q) { return uint32_t(p) - uint32_t(q); });
    case Binary::multiply: return each([](In p, In q) { return uint32_t(p) * uint32_t(q); });
    case Binary::maximum: return each([](In p, In q) { return p > q ? p : q; });
    case Binary::minimum: return each([](In p, In q) { return p < q ? p : q; });
    case Binary::squaredDifference: return each([](In p, In q) { return (uint32_t(p) - uint32_t(q)) * (uint32_t(p) - uint32_t(q)); });
    case Binary::equal: return each([](In p, In q) { return p == q; });
    case Binary::notEqual: return each([](In p, In q) { return p != q; });
    case Binary::less: return each([](In p, In q) { return p < q; });
    case Binary::lessEqual: return each([](In p, In q) { return p <= q; });
    case Binary::greater: return each([](In p, In q) { return p > q; });
    case Binary::greaterEqual: return each([](In p, In q) { return p >= q; });
    case Binary::logicalAnd: return each([](In p, In q) { return p && q; });
    case Binary::logicalOr: return each([](In p, In q) { return p || q; });
    default: throw Refusal{"op", "defined for these numbers", double(int(op))};
  }
}

}  // namespace

// op, type of the operands, a, b, y, then the strided loop of a and b. y is dense.
void Trainer::binary(Command& c) {
  const Binary op = c.choice<Binary>();
  const Type type = c.choice<Type>();
  const double ids[3] = {c.real(), c.real(), c.real()};
  StridedLoop w;
  w.read(c);
  if (w.empty()) return;
  long long low, highA, highB;
  StridedLoop::bounds(w, w.first, low, highA);
  StridedLoop::bounds(w, w.second, low, highB);
  const size_t run = w.run(), rows = w.rows();
  const bool compares = op >= Binary::equal;
  for (int i = 0; i < w.rank; i++)
    if (w.first[i] < 0 || w.second[i] < 0) throw Refusal{"strides", "0 or more", -1};
  const long long runA = w.rank ? w.first[w.rank - 1] : 0, runB = w.rank ? w.second[w.rank - 1] : 0;
  if (runA > 1 || runB > 1) throw Refusal{"strides", "0 or 1 in the last dimension", double(runA)};
  const Repeat repeat = run == 1 || (runA && runB) ? Repeat::none : runA ? Repeat::second : Repeat::first;
  // Both operands can be repeated along a run only where its length is 1.
  if (run > 1 && !runA && !runB) throw Refusal{"strides", "of a run", 0};
  Command blocks(ids, 3, memory);
  const auto walk = [&](auto* a, auto* b, auto* y, auto&& kernel) {
    if (rows == 1) return share(run, 1, [&](size_t from, size_t n) { kernel(repeat, a + from * runA, b + from * runB, y + from, n); });
    share(rows, run, [&](size_t from, size_t n) {
      for (size_t row = from; row < from + n; row++) {
        long long atA, atB;
        w.start(row, atA, atB);
        kernel(repeat, a + atA, b + atB, y + row * run, run);
      }
    });
  };
  if (type == Type::float32) {
    const float *a = blocks.block(highA + 1), *b = blocks.block(highB + 1);
    if (op >= Binary::logicalAnd) throw Refusal{"type", "bool", 0};
    if (compares)
      return walk(a, b, blocks.block<uint8_t>(rows * run),
                  [&](Repeat r, const float* p, const float* q, uint8_t* y, size_t n) { kernels.compare(op, r, p, q, y, n); });
    return walk(a, b, blocks.block(rows * run),
                [&](Repeat r, const float* p, const float* q, float* y, size_t n) { kernels.binary(op, r, p, q, y, n); });
  }
  if (type == Type::int32) {
    const int32_t *a = blocks.block<int32_t>(highA + 1), *b = blocks.block<int32_t>(highB + 1);
    if (compares)
      return walk(a, b, blocks.block<uint8_t>(rows * run),
                  [&](Repeat r, const int32_t* p, const int32_t* q, uint8_t* y, size_t n) { wholePairs(op, r, p, q, y, n); });
    return walk(a, b, blocks.block<int32_t>(rows * run),
                [&](Repeat r, const int32_t* p, const int32_t* q, int32_t* y, size_t n) { wholePairs(op, r, p, q, y, n); });
  }
  if (!compares) throw Refusal{"type", "a number", double(int(type))};
  const uint8_t *a = blocks.block<uint8_t>(highA + 1), *b = blocks.block<uint8_t>(highB + 1);
  walk(a, b, blocks.block<uint8_t>(rows * run),
       [&](Repeat r, const uint8_t* p, const uint8_t* q, uint8_t* y, size_t n) { wholePairs(op, r, p, q, y, n); });
}

// condition, a, b, y, n; a, b and y have 4 bytes an element
void Trainer::select(Command& c) {
  const double ids[4] = {c.real(), c.real(), c.real(), c.real()};
  const size_t n = c.size();
  Command blocks(ids, 4, memory);
  const uint8_t* condition = blocks.block<uint8_t>(n);
  const uint32_t *a = blocks.block<uint32_t>(n), *b = blocks.block<uint32_t>(n);
  uint32_t* y = blocks.block<uint32_t>(n);
  share(n, 1, [&](size_t from, size_t count) {
    for (size_t i = from; i < from + count; i++) y[i] = condition[i] ? a[i] : b[i];
  });
}

// from, to, x, y, n
void Trainer::cast(Command& c) {
  const Type from = c.choice<Type>(), to = c.choice<Type>();
  const double ids[2] = {c.real(), c.real()};
  const size_t n = c.size();
  Command blocks(ids, 2, memory);
  const auto each = [&](auto* x, auto* y, auto&& f) {
    share(n, 1, [&](size_t at, size_t count) {
      for (size_t i = at; i < at + count; i++) y[i] = f(x[i]);
    });
  };
  if (from == Type::boolean) {
    const uint8_t* x = blocks.block<uint8_t>(n);
    if (to == Type::float32) return each(x, blocks.block<float>(n), [](uint8_t v) { return float(v); });
    return each(x, blocks.block<int32_t>(n), [](uint8_t v) { return int32_t(v); });
  }
  if (from == Type::int32) {
    const int32_t* x = blocks.block<int32_t>(n);
    if (to == Type::float32) return each(x, blocks.block<float>(n), [](int32_t v) { return float(v); });
    return each(x, blocks.block<uint8_t>(n), [](int32_t v) { return uint8_t(v != 0); });
  }
  const float* x = blocks.block<float>(n);
  if (to == Type::boolean) return each(x, blocks.block<uint8_t>(n), [](float v) { return uint8_t(v != 0); });
  // As in JavaScript: NaN and infinities become 0, numbers too large wrap.
  return each(x, blocks.block<int32_t>(n), [](float v) {
    if (v > -2147483648.f && v < 2147483648.f) return int32_t(v);
    return std::isfinite(v) ? int32_t(uint32_t((long long)std::fmod(double(v), 4294967296.0))) : 0;
  });
}

// inputs, x..., y, n
void Trainer::addAll(Command& c) {
  const size_t inputs = c.size();
  std::vector<double> ids(inputs + 1);
  for (double& id : ids) id = c.real();
  const size_t n = c.size();
  Command blocks(ids.data(), ids.size(), memory);
  std::vector<const float*> x(inputs);
  for (const float*& at : x) at = blocks.block(n);
  float* y = blocks.block(n);
  share(n, 1, [&](size_t from, size_t count) {
    memcpy(y + from, x[0] + from, count * sizeof(float));
    for (size_t i = 1; i < inputs; i++) kernels.addTo(x[i] + from, y + from, count);
  });
}

}  // namespace basin
