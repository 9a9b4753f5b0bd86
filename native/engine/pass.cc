// The memory of a pass and the rows added to it. Its step is in descent.cc, its energies in energies.cc.
#include "engine/pass.h"

namespace basin {

Pass::Pass(const Model& m, const Kernels& k, Pool& p, ContextCache& c, PassCapacity capacity, Arena& arena)
    : model(m), config(m.config), kernels(k), pool(p), cache(c), network(m, k, p, c, capacity, arena) {
  const size_t most = capacity.answers;
  if (vocabSpace()) vocabulary = std::make_unique<Vocabulary>(model, kernels, pool, int(most), arena);
  bases = arena.take<float>(most * ld());
  opinions = arena.take<float>(most * ld());
  directions = arena.take<float>(most * ld());
  baseCopies = arena.take<float>(most * ld());
  movingOpinions = arena.take<float>(most * ld());
  const size_t chunks = (config.vocabPadded() + doubtColumns - 1) / doubtColumns;
  entropyParts = residual() ? arena.take<float>(most * chunks * 3) : nullptr;
  if (residual())
    for (int t = 0; t < pool.threads(); t++)
      logitScratch.push_back(arena.take<float>(size_t(doubtRows) * (doubtColumns + lanes)));
  rows.reserve(most);
  runs.reserve(most);
  vocabPositions.reserve(most);
  selection.reserve(most);
  positionSums.resize(most);
  positionLogSums.resize(most);
  results.resize(most);
  resultsAfter.resize(most);
}

bool Pass::fits(int more) const {
  return positions() + more <= network.capacity.answers && rows.size() < results.size();
}

void Pass::start() {
  rows.clear();
  runs.clear();
}

void Pass::add(const PassRow& row, int contextId, int landscape, int count) {
  const int first = positions();
  rows.push_back(row);
  runs.push_back({contextId, landscape, first, count, cache.contexts[contextId].length});
}

// Tells the network which positions are clamped, so that it need not compute them everywhere.
void Pass::selectPositions() {
  selection.clear();
  for (size_t r = 0; r < rows.size(); r++) {
    const Run& run = runs[r];
    Slot* slot = rows[r].slot;
    const bool stores = slot && slot->clampedQkv, isStored = stores && slot->clampedQkvLandscape == run.landscape;
    for (int i = 0; i < run.positions; i++) {
      const int at = run.first + i;
      const bool moves = rows[r].moves(i);
      float* qkv = moves || !stores ? nullptr : slot->clampedQkv + size_t(i) * network.ldQkv;
      selection.add(at, moves, qkv, isStored);
    }
    if (stores) slot->clampedQkvLandscape = run.landscape;
  }
}

// Without a gradient, only what other positions need of a clamped one is computed.
void Pass::forward() {
  if (!onlyMoving()) return network.forward(runs);
  selectPositions();
  network.forward(runs, &selection);
}

void Pass::draft(Slot& slot, int contextId) {
  start();
  PassRow row{};
  row.slot = &slot;
  add(row, contextId, 0, block());
  memset(bases, 0, sizeof(float) * block() * ld());
  computeInputs();
  network.forward(runs);
  const Matrix& w = residual() ? model.opinion : model.draft;
  network.multiply(w, network.output(), int(ld()), block(), slot.state, int(ld()), nullptr);
}

}  // namespace basin
