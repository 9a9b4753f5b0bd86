// The ops of dual.h: values with a directional derivative, and their reverse. Sizes come first in these
// calls, then the blocks.
#include "trainer.h"

namespace basin {

// n, a, b, ta, tb, y, ty
void Trainer::gateDual(Command& c) {
  const size_t n = c.size();
  GateDual m{};
  m.a = c.block(n), m.b = c.block(n), m.ta = c.block(n), m.tb = c.block(n);
  m.y = c.block(n), m.ty = c.block(n);
  share(n, 1, [&](size_t from, size_t count) { kernels.gateDual(m, from, count); });
}

// n, a, b, ta, tb, g, h, da, db, dta, dtb
void Trainer::gateDualGradient(Command& c) {
  const size_t n = c.size();
  GateDual m{};
  m.a = c.block(n), m.b = c.block(n), m.ta = c.block(n), m.tb = c.block(n);
  m.g = c.block(n), m.h = c.block(n);
  m.da = c.block(n), m.db = c.block(n), m.dta = c.block(n), m.dtb = c.block(n);
  share(n, 1, [&](size_t from, size_t count) { kernels.gateDualGradient(m, from, count); });
}

// rows, width, eps, x, t, w, y, ty, r
void Trainer::normDual(Command& c) {
  const size_t rows = c.size(), width = c.size(), n = rows * width;
  NormDual all{};
  all.width = width, all.eps = float(c.real());
  all.x = c.block(n), all.t = c.block(n), all.w = c.block(width);
  all.y = c.block(n), all.ty = c.block(n), all.r = c.block(rows);
  share(rows, width, [&](size_t row, size_t count) {
    NormDual m = all;
    const size_t from = row * width;
    m.count = count, m.x += from, m.t += from, m.y += from, m.ty += from, m.r += row;
    kernels.normDual(m);
  });
}

// rows, width, x, t, w, r, g, h, dx, dt, dw
void Trainer::normDualGradient(Command& c) {
  const size_t rows = c.size(), width = c.size(), n = rows * width;
  NormDual all{};
  all.width = width;
  all.x = c.block(n), all.t = c.block(n), all.w = c.block(width), all.r = c.block(rows);
  all.g = c.block(n), all.h = c.block(n);
  all.dx = c.block(n), all.dt = c.block(n);
  float* const dw = c.block(width);
  std::fill_n(dw, width, 0.f);
  if (n == 0) return;
  // Each piece of rows has its own sum for w; pieces add up in order.
  const size_t piece = width >= grain ? 1 : grain / width, pieces = (rows + piece - 1) / piece;
  float* const partial = shared.floats(pieces * width);
  pool.run(int(pieces), [&](int task, int) {
    const size_t row = task * piece, from = row * width;
    NormDual m = all;
    m.count = rows - row < piece ? rows - row : piece;
    m.x += from, m.t += from, m.g += from, m.h += from, m.dx += from, m.dt += from, m.r += row;
    m.dw = partial + task * width;
    kernels.normDualGradient(m);
  });
  kernels.reduceColumns(Reduce::sum, partial, pieces, width, width, dw);
}

namespace {

// Scores [batch][heads][positions][far] and [..][own]; a mask [batch or 1][positions or 1][far].
struct Scores {
  size_t batch, heads, positions, far, own, maskBatch, maskPositions;

  explicit Scores(Command& c) {
    batch = c.size(), heads = c.size(), positions = c.size(), far = c.size(), own = c.size();
    maskBatch = c.size(), maskPositions = c.size();
    if (maskBatch != 1 && maskBatch != batch) throw Refusal{"mask", "for each row or for all", double(maskBatch)};
    if (maskPositions != 1 && maskPositions != positions) throw Refusal{"mask", "for each position or for all", double(maskPositions)};
  }
  size_t rows() const { return batch * heads * positions; }
  size_t maskAt(size_t row) const {
    const size_t b = maskBatch == 1 ? 0 : row / (heads * positions);
    const size_t n = maskPositions == 1 ? 0 : row % positions;
    return (b * maskPositions + n) * far;
  }
};

}  // namespace

// the scores' sizes, far, mask or -1, own, then the tangents of far and own or -1 each, then the
// results: far, own, and their tangents or -1 each.
void Trainer::jointSoftmax(Command& c) {
  const Scores s(c);
  const size_t far = s.rows() * s.far, own = s.rows() * s.own;
  Joint all{};
  all.far = s.far, all.own = s.own;
  all.farX = c.block(far), all.mask = c.optional(s.maskBatch * s.maskPositions * s.far), all.ownX = c.block(own);
  all.farT = c.optional(far), all.ownT = c.optional(own);
  all.farP = c.block(far), all.ownP = c.block(own), all.farTp = c.optional(far), all.ownTp = c.optional(own);
  const bool dual = all.farT;
  if (dual != (all.ownT != nullptr) || dual != (all.farTp != nullptr) || dual != (all.ownTp != nullptr))
    throw Refusal{"tangents", "all there or all absent", double(dual)};
  share(s.rows(), s.far + s.own, [&](size_t from, size_t count) {
    for (size_t row = from; row < from + count; row++) {
      Joint m = all;
      const size_t f = row * s.far, o = row * s.own;
      m.farX += f, m.ownX += o, m.farP += f, m.ownP += o;
      if (m.mask) m.mask += s.maskAt(row);
      if (dual) m.farT += f, m.ownT += o, m.farTp += f, m.ownTp += o;
      kernels.jointSoftmax(m);
    }
  });
}

// the scores' sizes, the results far and own, tangents of the scores or -1, gradients of the results,
// gradients of their tangents or -1, then what is written: gradients of far and own, and of their
// tangents or -1 each.
void Trainer::jointSoftmaxGradient(Command& c) {
  const Scores s(c);
  const size_t far = s.rows() * s.far, own = s.rows() * s.own;
  JointGradient all{};
  all.far = s.far, all.own = s.own;
  all.farP = c.block(far), all.ownP = c.block(own), all.farT = c.optional(far), all.ownT = c.optional(own);
  all.farG = c.block(far), all.ownG = c.block(own), all.farH = c.optional(far), all.ownH = c.optional(own);
  all.farDx = c.block(far), all.ownDx = c.block(own), all.farDt = c.optional(far), all.ownDt = c.optional(own);
  const bool dual = all.farT;
  for (const float* p : {all.ownT, all.farH, all.ownH, static_cast<const float*>(all.farDt), static_cast<const float*>(all.ownDt)})
    if (dual != (p != nullptr)) throw Refusal{"tangents", "all there or all absent", double(dual)};
  share(s.rows(), s.far + s.own, [&](size_t from, size_t count) {
    for (size_t row = from; row < from + count; row++) {
      JointGradient m = all;
      const size_t f = row * s.far, o = row * s.own;
      m.farP += f, m.ownP += o, m.farG += f, m.ownG += o, m.farDx += f, m.ownDx += o;
      if (dual) m.farT += f, m.ownT += o, m.farH += f, m.ownH += o, m.farDt += f, m.ownDt += o;
      kernels.jointSoftmaxGradient(m);
    }
  });
}

}  // namespace basin
