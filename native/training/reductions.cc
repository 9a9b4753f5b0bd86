// Sums and extremes, and the ops of whole rows: softmax, norm, gate, rotation, cross-entropy.
#include <cmath>
#include <cstring>

#include "training/trainer.h"

namespace basin {

// op, x, y, outer, n, inner: y [outer][inner] of x [outer][n][inner].
void Trainer::reduce(Command& c) {
  const Reduce op = c.choice<Reduce>();
  const double ids[2] = {c.real(), c.real()};
  const size_t outer = c.size(), n = c.size(), inner = c.size();
  Command blocks(ids, 2, memory);
  const float* x = blocks.block(outer * n * inner);
  float* y = blocks.block(outer * inner);
  if (n == 0) {
    const float none = op == Reduce::sum ? 0.f : op == Reduce::max ? -INFINITY : INFINITY;
    return std::fill_n(y, outer * inner, none), void();
  }
  if (outer * inner > 0) reduceTo(op, x, y, outer, n, inner);
}

void Trainer::reduceTo(Reduce op, const float* x, float* y, size_t outer, size_t n, size_t inner) {
  // Long reductions are cut into pieces, whose results are then reduced. The size of a piece does not depend on
  // the number of threads.
  const size_t piece = inner == 1 ? 4 * elementsPerTask : inner >= elementsPerTask / 16 ? 16 : elementsPerTask / inner;
  const size_t pieces = (n + piece - 1) / piece;
  const auto one = [&](size_t i, size_t from, size_t count, float* out) {
    const float* at = x + (i * n + from) * inner;
    if (inner == 1) *out = kernels.reduceRow(op, at, count);
    else kernels.reduceColumns(op, at, count, inner, inner, out);
  };
  if (pieces == 1)
    return share(outer, n * inner, [&](size_t from, size_t count) {
      for (size_t i = from; i < from + count; i++) one(i, 0, n, y + i * inner);
    });
  float* const partial = sharedScratch.floats(outer * pieces * inner);
  pool.run(int(outer * pieces), [&](int task, int) {
    const size_t from = task % pieces * piece;
    one(task / pieces, from, n - from < piece ? n - from : piece, partial + task * inner);
  });
  for (size_t i = 0; i < outer; i++) {
    const float* at = partial + i * pieces * inner;
    if (inner == 1) y[i] = kernels.reduceRow(op, at, pieces);
    else kernels.reduceColumns(op, at, pieces, inner, inner, y + i * inner);
  }
}

// op, x, y, rows, n: where each row is largest or smallest, the first such place.
void Trainer::argument(Command& c) {
  const Reduce op = c.choice<Reduce>();
  const double ids[2] = {c.real(), c.real()};
  const size_t rows = c.size(), n = c.size();
  Command blocks(ids, 2, memory);
  const float* x = blocks.block(rows * n);
  int32_t* y = blocks.block<int32_t>(rows);
  const float sign = op == Reduce::min ? -1.f : 1.f;
  share(rows, n, [&](size_t from, size_t count) {
    for (size_t row = from; row < from + count; row++) {
      const float* at = x + row * n;
      size_t best = 0;
      for (size_t i = 1; i < n; i++)
        if (sign * at[i] > sign * at[best]) best = i;
      y[row] = int32_t(best);
    }
  });
}

// x, y, rows, width
void Trainer::softmax(Command& c, void (*kernel)(const Rows&)) {
  const double ids[2] = {c.real(), c.real()};
  const size_t rows = c.size(), width = c.size();
  Command blocks(ids, 2, memory);
  Rows all{};
  all.x = blocks.block(rows * width);
  all.y = blocks.block(rows * width);
  share(rows, width, [&](size_t from, size_t count) {
    Rows m = all;
    m.x += from * width, m.y += from * width, m.count = count, m.width = width;
    kernel(m);
  });
}

// dy, the result, y, rows, width
void Trainer::softmaxGradient(Command& c, void (*kernel)(const Rows&)) {
  const double ids[3] = {c.real(), c.real(), c.real()};
  const size_t rows = c.size(), width = c.size();
  Command blocks(ids, 3, memory);
  Rows all{};
  all.dy = blocks.block(rows * width);
  all.x = blocks.block(rows * width);
  all.y = blocks.block(rows * width);
  share(rows, width, [&](size_t from, size_t count) {
    Rows m = all;
    m.x += from * width, m.dy += from * width, m.y += from * width, m.count = count, m.width = width;
    kernel(m);
  });
}

// x, w, y, r, rows, width, eps
void Trainer::norm(Command& c) {
  const double ids[4] = {c.real(), c.real(), c.real(), c.real()};
  const size_t rows = c.size(), width = c.size();
  Rows all{};
  all.eps = float(c.real());
  Command blocks(ids, 4, memory);
  all.x = blocks.block(rows * width);
  all.w = blocks.block(width);
  all.y = blocks.block(rows * width);
  all.r = blocks.block(rows);
  share(rows, width, [&](size_t from, size_t count) {
    Rows m = all;
    m.x += from * width, m.y += from * width, m.r += from, m.count = count, m.width = width;
    kernels.norm(m);
  });
}

// dy, x, w, r, dx, dw, rows, width
void Trainer::normGradient(Command& c) {
  double ids[6];
  for (double& id : ids) id = c.real();
  const size_t rows = c.size(), width = c.size();
  Command blocks(ids, 6, memory);
  Rows all{};
  all.width = width;
  all.dy = blocks.block(rows * width);
  all.x = blocks.block(rows * width);
  all.w = blocks.block(width);
  all.r = blocks.block(rows);
  float* const dx = blocks.block(rows * width);
  float* const dw = blocks.block(width);
  std::fill_n(dw, width, 0.f);
  if (rows * width == 0) return;
  const size_t piece = width >= elementsPerTask ? 1 : elementsPerTask / width, pieces = (rows + piece - 1) / piece;
  float* const partial = sharedScratch.floats(pieces * width);
  pool.run(int(pieces), [&](int task, int) {
    const size_t from = task * piece;
    Rows m = all;
    m.count = rows - from < piece ? rows - from : piece;
    m.x += from * width, m.dy += from * width, m.r += from;
    m.y = dx + from * width;
    kernels.normGradient(m);
    m.y = partial + task * width;
    kernels.normWeightGradient(m);
  });
  kernels.reduceColumns(Reduce::sum, partial, pieces, width, width, dw);
}

// a, b, y, n
void Trainer::gate(Command& c) {
  const double ids[3] = {c.real(), c.real(), c.real()};
  const size_t n = c.size();
  Command blocks(ids, 3, memory);
  const float *a = blocks.block(n), *b = blocks.block(n);
  float* y = blocks.block(n);
  share(n, 1, [&](size_t from, size_t count) { kernels.gate(a + from, b + from, y + from, count); });
}

// a, b, dy, da, db, n
void Trainer::gateGradient(Command& c) {
  double ids[5];
  for (double& id : ids) id = c.real();
  const size_t n = c.size();
  Command blocks(ids, 5, memory);
  const float *a = blocks.block(n), *b = blocks.block(n), *dy = blocks.block(n);
  float *da = blocks.block(n), *db = blocks.block(n);
  share(n, 1, [&](size_t i, size_t count) { kernels.gateGradient(a + i, b + i, dy + i, da + i, db + i, count); });
}

// x, cos, sin, y, batch, angles (1 or batch), positions, heads, width, factor, back:
// x [batch][positions][heads][width], cos [angles][positions][width].
void Trainer::rotate(Command& c) {
  const double ids[4] = {c.real(), c.real(), c.real(), c.real()};
  const size_t batch = c.size(), angles = c.size(), positions = c.size(), heads = c.size(), width = c.size();
  const bool back = c.flag();
  if (angles != 1 && angles != batch) throw Refusal{"angles", "1 or the batch", double(angles)};
  Command blocks(ids, 4, memory);
  const float* x = blocks.block(batch * positions * heads * width);
  const float *cos = blocks.block(angles * positions * width), *sin = blocks.block(angles * positions * width);
  float* y = blocks.block(batch * positions * heads * width);
  share(batch * positions, heads * width, [&](size_t from, size_t count) {
    for (size_t i = from; i < from + count; i++) {
      const size_t angle = (angles == 1 ? i % positions : i) * width;
      for (size_t h = 0; h < heads; h++) {
        const size_t at = (i * heads + h) * width;
        kernels.rotate(x + at, cos + angle, sin + angle, y + at, width, back);
      }
    }
  });
}

// logits, targets, y, logSum, rows, width: y [rows], the log-probability of each row's target.
void Trainer::crossEntropy(Command& c) {
  const double ids[4] = {c.real(), c.real(), c.real(), c.real()};
  const size_t rows = c.size(), width = c.size();
  Command blocks(ids, 4, memory);
  const float* x = blocks.block(rows * width);
  const int32_t* target = blocks.block<int32_t>(rows);
  float *y = blocks.block(rows), *logSum = blocks.block(rows);
  share(rows, width, [&](size_t from, size_t count) {
    for (size_t i = from; i < from + count; i++) {
      logSum[i] = kernels.logSumExp(x + i * width, width);
      const bool known = target[i] >= 0 && size_t(target[i]) < width;
      y[i] = known ? x[i * width + target[i]] - logSum[i] : 0;
    }
  });
}

// logits, targets, logSum, scale, y, rows, width: y = (softmax - onehot) scale, scale [rows].
void Trainer::crossEntropyGradient(Command& c) {
  double ids[5];
  for (double& id : ids) id = c.real();
  const size_t rows = c.size(), width = c.size();
  Command blocks(ids, 5, memory);
  const float* x = blocks.block(rows * width);
  const int32_t* target = blocks.block<int32_t>(rows);
  const float *logSum = blocks.block(rows), *scale = blocks.block(rows);
  float* y = blocks.block(rows * width);
  share(rows, width, [&](size_t from, size_t count) {
    for (size_t i = from; i < from + count; i++) {
      float* const at = y + i * width;
      kernels.scaledExp(x + i * width, at, width, logSum[i], scale[i]);
      if (target[i] >= 0 && size_t(target[i]) < width) at[target[i]] -= scale[i];
    }
  });
}

}  // namespace basin
