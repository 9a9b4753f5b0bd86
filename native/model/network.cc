// The candidate stream of a pass, forward and backward. Its attention is in candidate_attention.cc, the
// observed stream in observed_stream.cc.
#include "model/network.h"

#include <algorithm>
#include <cmath>

namespace basin {

namespace {

// Rows that one task of a product takes.
constexpr int rowBlock = 96;

}  // namespace

Network::Network(const Model& m, const Kernels& k, Pool& p, ContextCache& paged, PassCapacity wanted, Arena& arena)
    : capacity(wanted),
      model(m),
      config(m.config),
      kernels(k),
      pool(p),
      cache(paged),
      gradient(m.config.needsGradient()),
      adaln(m.config.conditioning == Conditioning::adaln),
      ld(config.ld()),
      ldQkv(Config::spaced(padded(3 * config.dimPadded(), tileWidth))),
      ldGates(Config::spaced(padded(2 * config.ffnPadded(), tileWidth))),
      ldFfn(Config::spaced(padded(config.ffn, tileWidth))) {
  const size_t most = std::max(capacity.answers, capacity.observed);
  const int copies = gradient ? config.layers : 1;
  for (int i = 0; i < copies; i++) {
    const size_t n = i == 0 ? most : size_t(capacity.answers);
    activations.push_back({arena.take<float>(n * ld), arena.take<float>(n * ldQkv), arena.take<float>(n * ld),
                     arena.take<float>(n * config.heads), arena.take<float>(n * ld), arena.take<float>(n * ldGates),
                     arena.take<float>(n), arena.take<float>(n)});
  }
  final = arena.take<float>(most * ld);
  last = arena.take<float>(most * ld);
  finalInverse = arena.take<float>(most);
  normed = arena.take<float>(most * ld);
  hidden = arena.take<float>(most * ldFfn);
  temporary = arena.take<float>(most * ld);
  prescaled = model.type == NumberType::int8 && gradient
                  ? arena.take<float>(most * std::max({ldQkv, ldGates, ldFfn, ld}))
                  : nullptr;
  const bool narrows = model.together > 1;
  narrowed = narrows ? arena.take<char>(most * std::max({ldQkv, ldGates, ldFfn, ld}) * numberBytes(model.type)) : nullptr;
  scaled = narrows ? arena.take<Scaled>(most) : nullptr;
  dx = dWide = dHidden = nullptr;
  if (gradient) {
    dx = arena.take<float>(most * ld);
    dWide = arena.take<float>(most * std::max(ldQkv, ldGates));
    dHidden = arena.take<float>(most * std::max(ldFfn, ld));
  }
  const size_t d = cache.d, dp = cache.dp;
  // Those of several answers of one position are computed together.
  const size_t own = std::max(padded(config.block, pageSize) / pageSize, attentionQueries);
  // A context never takes more pages than there are; one block more for the step token.
  const size_t context = std::min<size_t>(config.contextLength / pageSize + 1, cache.pages) + 1;
  const size_t q = attentionQueries;
  const size_t runs = std::max<size_t>(config.block, pageSize);
  for (int t = 0; t < pool.threads(); t++) {
    Scratch s{};
    s.ownKeys = arena.take<float>(own * d * pageSize);
    s.ownValues = arena.take<float>(own * pageSize * dp);
    if (gradient) {
      s.dOwnKeys = arena.take<float>(own * d * pageSize);
      s.dOwnValues = arena.take<float>(own * pageSize * dp);
    }
    s.q = arena.take<float>(q * dp);
    s.out = arena.take<float>(q * dp);
    s.dout = arena.take<float>(q * dp);
    s.dq = arena.take<float>(q * dp);
    s.lanesOfDq = arena.take<float>(q * dp * pageSize);
    s.scores = arena.take<float>(q * (context + own) * pageSize);
    s.narrow = arena.take<float>(runs * dp);
    s.narrowValues = arena.take<float>(pageSize * dp);
    s.logSum = arena.take<float>(q);
    s.context = arena.take<KeyBlock>(context);
    s.own = arena.take<KeyBlock>(own);
    scratch.push_back(s);
  }
  groups.reserve(most);
  shifts.resize(most);
  lastOfRuns.reserve(most);
  scales.resize(most);
  gates.resize(most);
}

int Network::positionsOf(const std::vector<Run>& runs) const {
  return runs.empty() ? 0 : runs.back().first + runs.back().positions;
}

Network::Input Network::inputOf(const Matrix& w, const float* x, int ldx, int rows) {
  const bool narrows = w.together > 1;
  const size_t rowBytes = ldx * (narrows ? numberBytes(w.type) : sizeof(float));
  if (!w.before && !narrows) return {reinterpret_cast<const char*>(x), rowBytes, nullptr};
  pool.runRows(rows, [&](int from, int count) {
    for (size_t row = from; row < size_t(from + count); row++) {
      const float* source = x + row * ldx;
      if (w.before) kernels.multiply(source, w.before, prescaled + row * ldx, w.k);
      if (w.before) source = prescaled + row * ldx;
      if (narrows) scaled[row] = kernels.narrow(source, narrowed + row * rowBytes, padded(w.k, lanes));
    }
  });
  if (narrows) return {narrowed, rowBytes, scaled};
  return {reinterpret_cast<const char*>(prescaled), rowBytes, nullptr};
}

void Network::multiply(const Matrix& w, const float* x, int ldx, int rows, float* y, int ldy, const float* add) {
  if (rows == 0) return;
  const Input input = inputOf(w, x, ldx, rows);
  const int blocks = rows <= rowBlock + rowBlock / 2 ? 1 : (rows + rowBlock - 1) / rowBlock;
  const int block = blocks == 1 ? rows : rowBlock;
  // Tasks take a few microseconds, so that no thread waits long at the end; where there is one block of
  // rows, every thread gets the same number. Few rows read weights faster several tiles at a time.
  constexpr int fewRows = 3, fewTiles = 8, leastWork = 1 << 18;
  const int least = rows <= fewRows ? fewTiles : std::max(1, leastWork / (block * w.k * tileWidth));
  int groups = (w.count + least - 1) / least;
  if (blocks == 1) groups = padded(groups, pool.threads());
  const int perGroup = (w.count + groups - 1) / groups;
  const int tasks = (w.count + perGroup - 1) / perGroup;
  pool.run(tasks * blocks, [&](int task, int) {
    const int tile = task % tasks * perGroup, row = task / tasks * block;
    const int column = tile * tileWidth;
    Matmul m{};
    input.enter(m, row);
    m.ldx = ldx;
    m.rows = std::min(block, rows - row);
    m.tiles = w.from(tile);
    m.k = w.k;
    m.count = std::min(perGroup, w.count - tile);
    const int next = tile + perGroup * pool.threads();
    m.ahead = next < w.count ? w.from(next) : nullptr;
    m.scale = w.after ? w.after + column : nullptr;
    m.add = add ? add + size_t(row) * ldy + column : nullptr;
    m.y = y + size_t(row) * ldy + column;
    m.ldy = ldy;
    kernels.matmul[int(w.type)](m);
  });
}

// Points every position at its landscape's parts of a modulation table [T][parts][ld]; a gate of -1 is none.
void Network::modulations(const std::vector<Run>& runs, const float* table, int parts, int shift, int scale, int gate) {
  if (!adaln) return;
  for (const Run& run : runs) {
    const float* own = table + size_t(run.landscape) * parts * ld;
    for (int i = run.first; i < run.first + run.positions; i++) {
      shifts[i] = own + size_t(shift) * ld;
      scales[i] = own + size_t(scale) * ld;
      if (gate >= 0) gates[i] = own + size_t(gate) * ld;
    }
  }
}

// The norm of `count` rows of x from `from` on, and its inverse root mean squares [rows], but for where it goes.
Norm Network::normOf(const float* x, const float* weight, float* inverse, int from, int count, bool adaptive) const {
  Norm n{};
  n.x = x + size_t(from) * ld;
  n.ld = ld;
  n.rows = count;
  n.width = config.dim;
  n.weight = weight;
  n.eps = config.eps;
  n.shift = adaptive ? shifts.data() + from : nullptr;
  n.scale = adaptive ? scales.data() + from : nullptr;
  n.inverse = inverse + from;
  return n;
}

void Network::normalize(const float* x, const float* weight, int rows, float* inverse, float* y, bool adaptive) {
  pool.runRows(rows, [&](int from, int count) {
    Norm n = normOf(x, weight, inverse, from, count, adaptive);
    n.y = y + size_t(from) * ld;
    kernels.norm(n);
  });
}

// dx += gradient of the norm, whose output has the gradient `normed`.
void Network::normalizeBack(const float* x, const float* weight, int rows, float* inverse, bool adaptive) {
  pool.runRows(rows, [&](int from, int count) {
    Norm n = normOf(x, weight, inverse, from, count, adaptive);
    n.y = dx + size_t(from) * ld;
    n.dy = normed + size_t(from) * ld;
    kernels.normGradient(n);
  });
}

// x [rows][ld] times each position's gate, in `temporary`; x itself without adaLN.
const float* Network::gated(const float* x, int rows) {
  if (!adaln) return x;
  pool.runRows(rows, [&](int from, int count) {
    for (int i = from; i < from + count; i++) kernels.multiply(x + size_t(i) * ld, gates[i], temporary + size_t(i) * ld, ld);
  });
  return temporary;
}

// The gate of `count` rows from `from` on, but for where it goes.
Gate Network::gateOf(const Activations& l, int from, int count) const {
  Gate g{};
  g.a = l.gates + size_t(from) * ldGates;
  g.lda = ldGates;
  g.rows = count;
  g.width = config.ffnPadded();
  g.ldy = ldFfn;
  return g;
}

// The feed-forward half of a layer: from its h to `next`, the next layer's x [rows][ld].
void Network::feedForward(Activations& l, int index, int rows, float* next) {
  const Layer& w = model.layers[index];
  normalize(l.h, w.ffnNorm, rows, l.inverse2, normed, adaln);
  multiply(w.gates, normed, ld, rows, l.gates, ldGates, nullptr);
  pool.runRows(rows, [&](int from, int count) {
    Gate g = gateOf(l, from, count);
    g.y = hidden + size_t(from) * ldFfn;
    kernels.gate(g);
  });
  if (!adaln) return multiply(w.down, hidden, ldFfn, rows, next, ld, l.h);
  multiply(w.down, hidden, ldFfn, rows, temporary, ld, nullptr);
  pool.runRows(rows, [&](int from, int count) {
    for (size_t i = from; i < size_t(from) + count; i++)
      kernels.addProduct(l.h + i * ld, temporary + i * ld, gates[i], next + i * ld, ld);
  });
}

// Moves the wanted rows of x and of `attended` to the front; returns their number.
int Network::moveToFront(Activations& l, const std::vector<int>& wanted) {
  for (size_t i = 0; i < wanted.size(); i++) {
    if (size_t(wanted[i]) == i) continue;
    memcpy(l.x + i * ld, l.x + wanted[i] * size_t(ld), sizeof(float) * ld);
    memcpy(l.attended + i * ld, l.attended + wanted[i] * size_t(ld), sizeof(float) * ld);
  }
  return int(wanted.size());
}

// q, k and v of the first `rows` rows of x.
void Network::project(Activations& l, const Layer& w, int rows) {
  normalize(l.x, w.attentionNorm, rows, l.inverse1, normed, adaln);
  multiply(w.qkv, normed, ld, rows, l.qkv, ldQkv, nullptr);
}

// The same of the first layer, where those of clamped positions may be stored already.
void Network::projectFirst(const Selection& only) {
  Activations& l = layer(0);
  const Layer& w = model.layers[0];
  const int rows = int(only.computed.size());
  pool.runRows(rows, [&](int from, int count) {
    for (int i = from; i < from + count; i++) {
      const size_t at = only.computed[i];
      Norm n = normOf(l.x, w.attentionNorm, l.inverse1, int(at), 1, false);
      n.y = normed + size_t(i) * ld;
      kernels.norm(n);
    }
  });
  multiply(w.qkv, normed, ld, rows, l.qkv, ldQkv, nullptr);
  const size_t bytes = sizeof(float) * ldQkv;
  // Going from the last to the first, none is overwritten before it has moved.
  for (int i = rows - 1; i >= 0; i--)
    if (only.computed[i] != i) memcpy(l.qkv + size_t(only.computed[i]) * ldQkv, l.qkv + size_t(i) * ldQkv, bytes);
  for (const auto& [position, qkv] : only.toStore) memcpy(qkv, l.qkv + size_t(position) * ldQkv, bytes);
  for (const auto& [position, qkv] : only.stored) memcpy(l.qkv + size_t(position) * ldQkv, qkv, bytes);
}

void Network::forward(const std::vector<Run>& runs, const Selection* only) {
  int rows = positionsOf(runs);
  groupRuns(runs);
  for (int i = 0; i < config.layers; i++) {
    Activations& l = layer(i);
    const Layer& w = model.layers[i];
    const bool atLast = i + 1 == config.layers;
    modulations(runs, w.modulation, 6, 0, 1, 2);
    if (only && i == 0) projectFirst(*only);
    else project(l, w, rows);
    attend(runs, i, atLast ? only : nullptr);
    if (only && atLast) rows = moveToFront(l, only->moving);
    if (adaln) {
      multiply(w.out, l.attended, ld, rows, temporary, ld, nullptr);
      pool.runRows(rows, [&](int from, int count) {
        for (size_t p = from; p < size_t(from) + count; p++)
          kernels.addProduct(l.x + p * ld, temporary + p * ld, gates[p], l.h + p * ld, ld);
      });
    } else {
      multiply(w.out, l.attended, ld, rows, l.h, ld, l.x);
    }
    modulations(runs, w.modulation, 6, 3, 4, 5);
    feedForward(l, i, rows, atLast ? last : layer(i + 1).x);
  }
  modulations(runs, model.finalModulation, 2, 0, 1, -1);
  normalize(last, model.norm, rows, finalInverse, final, adaln);
}

void Network::backward(const std::vector<Run>& runs) {
  const int rows = positionsOf(runs);
  const size_t floats = size_t(rows) * ld;
  memcpy(normed, dx, sizeof(float) * floats);
  memset(dx, 0, sizeof(float) * floats);
  modulations(runs, model.finalModulation, 2, 0, 1, -1);
  normalizeBack(last, model.norm, rows, finalInverse, adaln);
  for (int i = config.layers - 1; i >= 0; i--) {
    Activations& l = layer(i);
    const Layer& w = model.layers[i];
    modulations(runs, w.modulation, 6, 3, 4, 5);
    multiply(w.downBack, gated(dx, rows), ld, rows, dHidden, ldFfn, nullptr);
    pool.runRows(rows, [&](int from, int count) {
      Gate g = gateOf(l, from, count);
      g.dy = dHidden + size_t(from) * ldFfn;
      g.da = dWide + size_t(from) * ldGates;
      kernels.gateGradient(g);
    });
    multiply(w.gatesBack, dWide, ldGates, rows, normed, ld, nullptr);
    normalizeBack(l.h, w.ffnNorm, rows, l.inverse2, adaln);
    modulations(runs, w.modulation, 6, 0, 1, 2);
    multiply(w.outBack, gated(dx, rows), ld, rows, normed, ld, nullptr);
    if (config.dim != config.dimPadded())
      for (int row = 0; row < rows; row++) memset(dWide + size_t(row) * ldQkv, 0, sizeof(float) * ldQkv);
    attendGradient(runs, i);
    multiply(w.qkvBack, dWide, ldQkv, rows, normed, ld, nullptr);
    normalizeBack(l.x, w.attentionNorm, rows, l.inverse1, adaln);
  }
}

}  // namespace basin
