// The energies of a pass: head, potential, and residual with the entropy of its read-out.
#include "engine/pass.h"

#include <algorithm>
#include <cmath>

namespace basin {

void Pass::computeEnergies() {
  const size_t width = ld();
  if (residual()) computeOpinions();
  for (size_t r = 0; r < rows.size(); r++) {
    RowResult& result = results[r] = {};
    double heads = 0, square = 0;
    for (int i = 0; i < runs[r].positions; i++) {
      const size_t at = runs[r].first + i;
      const float* y = bases + at * width;
      if (!residual()) heads += kernels.dot(network.output() + at * width, model.head, width);
      if (!rows[r].moves(i)) continue;
      if (config.kind == EnergyKind::potential) square += kernels.dot(y, y, width);
      if (!residual()) continue;
      float* threadPasses = directions + at * width;
      kernels.fma(y, -1, opinions + at * width, threadPasses, width);
      square += kernels.dot(threadPasses, threadPasses, width);
      result.doubt += positionSums[at];
    }
    result.disagreement = residual() ? square * 0.5 / config.dim : 0;
    if (config.kind == EnergyKind::head) result.energy = heads;
    if (config.kind == EnergyKind::potential) result.energy = 0.5 * square - double(model.potentialScale) * heads;
    if (residual()) result.energy = result.disagreement + config.doubt * result.doubt;
  }
}

// F of every position of the network's output, and the entropy of its read-out.
void Pass::computeOpinions() {
  const int width = int(ld());
  if (!onlyMoving()) {
    network.multiply(model.opinion, network.output(), width, positions(), opinions, width, nullptr);
    return computeDoubt(opinions, positions());
  }
  const std::vector<int>& moving = selection.moving;
  const int count = int(moving.size());
  if (count == 0) return;
  network.multiply(model.opinion, network.output(), width, count, movingOpinions, width, nullptr);
  for (int i = 0; i < count && config.anchor; i++) {
    const Run& run = runs[moving[i]];  // an anchored model has K = 1: the run is this position
    float* f = movingOpinions + i * ld();
    if (run.before > 0) kernels.fma(f, 1, cache.contexts[run.contextId].anchor, f, width);
  }
  computeDoubt(movingOpinions, count);
  for (int i = count - 1; i >= 0; i--) {
    memcpy(opinions + moving[i] * ld(), movingOpinions + i * ld(), sizeof(float) * width);
    positionSums[moving[i]] = positionSums[i];
  }
}

// The entropies of softmax(U F) into `positionSums`, for `f` [given][ld]. Logits are computed and reduced in
// chunks of columns, whose softmax statistics are merged in order.
void Pass::computeDoubt(const float* f, int given) {
  const Matrix& u = model.readout;
  const int blocks = (given + doubtRows - 1) / doubtRows;
  const int chunks = (u.columns() + doubtColumns - 1) / doubtColumns, tiles = doubtColumns / tileWidth;
  const Network::Input input = network.inputOf(u, f, int(ld()), given);
  pool.run(blocks * chunks, [&](int task, int thread) {
    const int chunk = task % chunks, row = task / chunks * doubtRows;
    const int tile = chunk * tiles, column = chunk * doubtColumns;
    const int count = std::min(doubtRows, given - row);
    float* logits = logitScratch[thread];
    Matmul m{};
    input.enter(m, row);
    m.ldx = int(ld());
    m.rows = count;
    m.tiles = u.from(tile);
    m.k = u.k;
    m.count = std::min(tiles, u.count - tile);
    m.scale = u.after ? u.after + column : nullptr;
    m.y = logits;
    m.ldy = doubtColumns + lanes;
    kernels.matmul[int(u.type)](m);
    float top[doubtRows], total[doubtRows], moment[doubtRows];
    kernels.entropy({logits, m.ldy, count, std::min(doubtColumns, config.vocab - column), top, total, moment});
    for (int i = 0; i < count; i++) {
      float* out = entropyParts + ((row + i) * size_t(chunks) + chunk) * 3;
      out[0] = top[i], out[1] = total[i], out[2] = moment[i];
    }
  });
  for (int at = 0; at < given; at++) {
    const float* part = entropyParts + size_t(at) * chunks * 3;
    double m = part[0];
    for (int chunk = 1; chunk < chunks; chunk++) m = std::max(m, double(part[chunk * 3]));
    double total = 0, moment = 0;
    for (int chunk = 0; chunk < chunks; chunk++) {
      const float* s = part + chunk * 3;
      const double away = s[0] - m, factor = std::exp(away);
      total += factor * s[1];
      moment += factor * (s[2] + away * s[1]);
    }
    positionSums[at] = std::log(total) - moment / total;
  }
}

}  // namespace basin
