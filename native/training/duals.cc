// The ops of dual.h: values with a directional derivative, and their gradients. In these calls sizes come first,
// then blocks.
#include "training/trainer.h"

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
  // Each piece of rows has a sum of its own for w; pieces are added in order.
  const size_t piece = width >= elementsPerTask ? 1 : elementsPerTask / width, pieces = (rows + piece - 1) / piece;
  float* const partial = sharedScratch.floats(pieces * width);
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

// Scores [batch][heads][positions][context] and [..][own]; a mask [batch or 1][positions or 1][context].
struct Scores {
  size_t batch, heads, positions, context, own, maskBatch, maskPositions;

  explicit Scores(Command& c) {
    batch = c.size(), heads = c.size(), positions = c.size(), context = c.size(), own = c.size();
    maskBatch = c.size(), maskPositions = c.size();
    if (maskBatch != 1 && maskBatch != batch) throw Refusal{"mask", "for each row or for all", double(maskBatch)};
    if (maskPositions != 1 && maskPositions != positions) throw Refusal{"mask", "for each position or for all", double(maskPositions)};
  }
  size_t rows() const { return batch * heads * positions; }
  size_t maskAt(size_t row) const {
    const size_t b = maskBatch == 1 ? 0 : row / (heads * positions);
    const size_t n = maskPositions == 1 ? 0 : row % positions;
    return (b * maskPositions + n) * context;
  }
};

}  // namespace

// The sizes of the scores, context, mask or -1, own, then the tangents of context and own or -1 each, then the
// results: context, own, and their tangents or -1 each.
void Trainer::jointSoftmax(Command& c) {
  const Scores s(c);
  const size_t context = s.rows() * s.context, own = s.rows() * s.own;
  Joint all{};
  all.context = s.context, all.own = s.own;
  all.contextX = c.block(context), all.mask = c.optional(s.maskBatch * s.maskPositions * s.context), all.ownX = c.block(own);
  all.contextT = c.optional(context), all.ownT = c.optional(own);
  all.contextP = c.block(context), all.ownP = c.block(own), all.contextTp = c.optional(context), all.ownTp = c.optional(own);
  const bool dual = all.contextT;
  if (dual != (all.ownT != nullptr) || dual != (all.contextTp != nullptr) || dual != (all.ownTp != nullptr))
    throw Refusal{"tangents", "all there or all absent", double(dual)};
  share(s.rows(), s.context + s.own, [&](size_t from, size_t count) {
    for (size_t row = from; row < from + count; row++) {
      Joint m = all;
      const size_t f = row * s.context, o = row * s.own;
      m.contextX += f, m.ownX += o, m.contextP += f, m.ownP += o;
      if (m.mask) m.mask += s.maskAt(row);
      if (dual) m.contextT += f, m.ownT += o, m.contextTp += f, m.ownTp += o;
      kernels.jointSoftmax(m);
    }
  });
}

// The sizes of the scores, the results context and own, tangents of the scores or -1, gradients of the results,
// gradients of their tangents or -1, then what is written: gradients of context and own, and of their
// tangents or -1 each.
void Trainer::jointSoftmaxGradient(Command& c) {
  const Scores s(c);
  const size_t context = s.rows() * s.context, own = s.rows() * s.own;
  JointGradient all{};
  all.context = s.context, all.own = s.own;
  all.contextP = c.block(context), all.ownP = c.block(own), all.contextT = c.optional(context), all.ownT = c.optional(own);
  all.contextG = c.block(context), all.ownG = c.block(own), all.contextH = c.optional(context), all.ownH = c.optional(own);
  all.contextDx = c.block(context), all.ownDx = c.block(own), all.contextDt = c.optional(context), all.ownDt = c.optional(own);
  const bool dual = all.contextT;
  for (const float* p : {all.ownT, all.contextH, all.ownH, static_cast<const float*>(all.contextDt), static_cast<const float*>(all.ownDt)})
    if (dual != (p != nullptr)) throw Refusal{"tangents", "all there or all absent", double(dual)};
  share(s.rows(), s.context + s.own, [&](size_t from, size_t count) {
    for (size_t row = from; row < from + count; row++) {
      JointGradient m = all;
      const size_t f = row * s.context, o = row * s.own;
      m.contextP += f, m.ownP += o, m.contextG += f, m.ownG += o, m.contextDx += f, m.ownDx += o;
      if (dual) m.contextT += f, m.ownT += o, m.contextH += f, m.ownH += o, m.contextDt += f, m.ownDt += o;
      kernels.jointSoftmaxGradient(m);
    }
  });
}

}  // namespace basin
