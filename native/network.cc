// The passes of the candidate stream, forward and back. Its attention is in mixing.cc, the observed
// stream in observed.cc.
#include "network.h"

#include <algorithm>
#include <cmath>

namespace basin {

namespace {

constexpr int rowBlock = 96;
}  // namespace

Network::Network(const Model& m, const Kernels& k, Pool& p, Cache& paged, Room wanted, Arena& arena)
    : room(wanted),
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
  const size_t most = std::max(room.answers, room.observed);
  const int copies = gradient ? config.layers : 1;
  for (int i = 0; i < copies; i++) {
    const size_t n = i == 0 ? most : size_t(room.answers);
    saved.push_back({arena.take<float>(n * ld), arena.take<float>(n * ldQkv), arena.take<float>(n * ld),
                     arena.take<float>(n * config.heads), arena.take<float>(n * ld), arena.take<float>(n * ldGates),
                     arena.take<float>(n), arena.take<float>(n)});
  }
  final = arena.take<float>(most * ld);
  last = arena.take<float>(most * ld);
  finalInverse = arena.take<float>(most);
  normed = arena.take<float>(most * ld);
  hidden = arena.take<float>(most * ldFfn);
  temporary = arena.take<float>(most * ld);
  prescaled = model.type == WeightType::int8 && gradient
                  ? arena.take<float>(most * std::max({ldQkv, ldGates, ldFfn, ld}))
                  : nullptr;
  dx = dWide = dHidden = nullptr;
  if (gradient) {
    dx = arena.take<float>(most * ld);
    dWide = arena.take<float>(most * std::max(ldQkv, ldGates));
    dHidden = arena.take<float>(most * std::max(ldFfn, ld));
  }
  const size_t d = cache.d, dp = cache.dp;
  const size_t own = padded(config.block, pageSize) / pageSize;
  // A context never takes more pages than there are.
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
    s.lanesOfDq = arena.take<float>(q * d * pageSize);
    s.scores = arena.take<float>(q * (context + own) * pageSize);
    s.narrow = arena.take<float>(runs * dp);
    s.logSum = arena.take<float>(q);
    s.blocks = arena.take<KeyBlock>(context + own);
    scratch.push_back(s);
  }
  shifts.resize(most);
  lastOfRuns.reserve(most);
  scales.resize(most);
  gates.resize(most);
}

int Network::positionsOf(const std::vector<Run>& runs) const {
  return runs.empty() ? 0 : runs.back().first + runs.back().positions;
}

void Network::multiply(const Matrix& w, const float* x, int ldx, int rows, float* y, int ldy, const float* add) {
  if (rows == 0) return;
  if (w.before) {
    pool.runRows(rows, [&](int from, int count) {
      for (int row = from; row < from + count; row++)
        kernels.times(x + size_t(row) * ldx, w.before, prescaled + size_t(row) * ldx, w.k);
    });
    x = prescaled;
  }
  const size_t element = w.type == WeightType::f32 ? 4 : w.type == WeightType::bf16 ? 2 : 1;
  const int blocks = rows <= rowBlock + rowBlock / 2 ? 1 : (rows + rowBlock - 1) / rowBlock;
  const int block = blocks == 1 ? rows : rowBlock;
  // Tasks of a few microseconds, so that nobody waits long at the end; one block's are as many for each
  // thread. Weights are read faster by several tiles together, which few rows take.
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
    m.x = x + size_t(row) * ldx;
    m.ldx = ldx;
    m.rows = std::min(block, rows - row);
    m.tiles = static_cast<const char*>(w.tiles) + element * size_t(tile) * w.k * tileWidth;
    m.k = w.k;
    m.count = std::min(perGroup, w.count - tile);
    m.scale = w.after ? w.after + column : nullptr;
    m.add = add ? add + size_t(row) * ldy + column : nullptr;
    m.y = y + size_t(row) * ldy + column;
    m.ldy = ldy;
    kernels.matmul[int(w.type)](m);
  });
}

// Points every position at its landscape's parts of a modulation table [T][parts][ld]; -1: none.
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

void Network::normalize(const float* x, const float* weight, int rows, float* inverse, float* y, bool adaptive) {
  pool.runRows(rows, [&](int from, int count) {
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
    n.y = y + size_t(from) * ld;
    kernels.norm(n);
  });
}

// dx += gradient of the norm, given d/d its output in `normed`.
void Network::normalizeBack(const float* x, const float* weight, int rows, const float* inverse, bool adaptive) {
  pool.runRows(rows, [&](int from, int count) {
    Norm n{};
    n.x = x + size_t(from) * ld;
    n.ld = ld;
    n.rows = count;
    n.width = config.dim;
    n.weight = weight;
    n.scale = adaptive ? scales.data() + from : nullptr;
    n.inverse = const_cast<float*>(inverse) + from;
    n.y = dx + size_t(from) * ld;
    n.dy = normed + size_t(from) * ld;
    kernels.normGradient(n);
  });
}

// x times each position's gate, in `temporary`; x itself without adaLN.
const float* Network::gated(const float* x, int rows) {
  if (!adaln) return x;
  pool.runRows(rows, [&](int from, int count) {
    for (int i = from; i < from + count; i++) kernels.times(x + size_t(i) * ld, gates[i], temporary + size_t(i) * ld, ld);
  });
  return temporary;
}

// From h of the layer, through the second half, to the next layer's x.
void Network::feedForward(Saved& l, int index, int rows, float* next) {
  const Layer& w = model.layers[index];
  normalize(l.h, w.ffnNorm, rows, l.inverse2, normed, adaln);
  multiply(w.gates, normed, ld, rows, l.gates, ldGates, nullptr);
  pool.runRows(rows, [&](int from, int count) {
    Gate g{};
    g.a = l.gates + size_t(from) * ldGates;
    g.lda = ldGates;
    g.rows = count;
    g.width = config.ffnPadded();
    g.y = hidden + size_t(from) * ldFfn;
    g.ldy = ldFfn;
    kernels.gate(g);
  });
  if (!adaln) return multiply(w.down, hidden, ldFfn, rows, next, ld, l.h);
  multiply(w.down, hidden, ldFfn, rows, temporary, ld, nullptr);
  pool.runRows(rows, [&](int from, int count) {
    for (size_t i = from; i < size_t(from) + count; i++)
      kernels.addTimes(l.h + i * ld, temporary + i * ld, gates[i], next + i * ld, ld);
  });
}

// Moves the wanted rows of x and of what attention mixed to the front; returns their number.
int Network::onlyWanted(Saved& l, const std::vector<int>& wanted) {
  for (size_t i = 0; i < wanted.size(); i++) {
    if (size_t(wanted[i]) == i) continue;
    memcpy(l.x + i * ld, l.x + wanted[i] * size_t(ld), sizeof(float) * ld);
    memcpy(l.mixed + i * ld, l.mixed + wanted[i] * size_t(ld), sizeof(float) * ld);
  }
  return int(wanted.size());
}

// q, k and v of rows of x.
void Network::project(Saved& l, const Layer& w, int rows) {
  normalize(l.x, w.attentionNorm, rows, l.inverse1, normed, adaln);
  multiply(w.qkv, normed, ld, rows, l.qkv, ldQkv, nullptr);
}

// The same of the first layer, where some are known already.
void Network::projectFirst(const Selection& only) {
  Saved& l = layer(0);
  const Layer& w = model.layers[0];
  const int rows = int(only.entering.size());
  pool.runRows(rows, [&](int from, int count) {
    for (int i = from; i < from + count; i++) {
      const size_t at = only.entering[i];
      Norm n{};
      n.x = l.x + at * ld;
      n.ld = ld;
      n.rows = 1;
      n.width = config.dim;
      n.weight = w.attentionNorm;
      n.eps = config.eps;
      n.inverse = l.inverse1 + at;
      n.y = normed + size_t(i) * ld;
      kernels.norm(n);
    }
  });
  multiply(w.qkv, normed, ld, rows, l.qkv, ldQkv, nullptr);
  const size_t bytes = sizeof(float) * ldQkv;
  // From the last on, none is overwritten before it has moved.
  for (int i = rows - 1; i >= 0; i--)
    if (only.entering[i] != i) memcpy(l.qkv + size_t(only.entering[i]) * ldQkv, l.qkv + size_t(i) * ldQkv, bytes);
  for (const auto& [position, qkv] : only.toKeep) memcpy(qkv, l.qkv + size_t(position) * ldQkv, bytes);
  for (const auto& [position, qkv] : only.known) memcpy(l.qkv + size_t(position) * ldQkv, qkv, bytes);
}

void Network::forward(const std::vector<Run>& runs, const Selection* only) {
  int rows = positionsOf(runs);
  for (int i = 0; i < config.layers; i++) {
    Saved& l = layer(i);
    const Layer& w = model.layers[i];
    const bool atLast = i + 1 == config.layers;
    modulations(runs, w.modulation, 6, 0, 1, 2);
    if (only && i == 0) projectFirst(*only);
    else project(l, w, rows);
    mix(runs, i, atLast ? only : nullptr);
    if (only && atLast) rows = onlyWanted(l, only->moving);
    if (adaln) {
      multiply(w.out, l.mixed, ld, rows, temporary, ld, nullptr);
      pool.runRows(rows, [&](int from, int count) {
        for (size_t p = from; p < size_t(from) + count; p++)
          kernels.addTimes(l.x + p * ld, temporary + p * ld, gates[p], l.h + p * ld, ld);
      });
    } else {
      multiply(w.out, l.mixed, ld, rows, l.h, ld, l.x);
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
    Saved& l = layer(i);
    const Layer& w = model.layers[i];
    modulations(runs, w.modulation, 6, 3, 4, 5);
    multiply(w.downBack, gated(dx, rows), ld, rows, dHidden, ldFfn, nullptr);
    pool.runRows(rows, [&](int from, int count) {
      Gate g{};
      g.a = l.gates + size_t(from) * ldGates;
      g.lda = ldGates;
      g.rows = count;
      g.width = config.ffnPadded();
      g.ldy = ldFfn;
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
    mixBack(runs, i);
    multiply(w.qkvBack, dWide, ldQkv, rows, normed, ld, nullptr);
    normalizeBack(l.x, w.attentionNorm, rows, l.inverse1, adaln);
  }
}

}  // namespace basin
