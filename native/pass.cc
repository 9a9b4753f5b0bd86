// A pass: its memory, and the rows that come in. Its step is in descent.cc, its energies in judging.cc.
#include "pass.h"

namespace basin {

Pass::Pass(const Model& m, const Kernels& k, Pool& p, Cache& c, Room room, Arena& arena)
    : model(m), config(m.config), kernels(k), pool(p), cache(c), network(m, k, p, c, room, arena) {
  const size_t most = room.answers;
  if (vocabSpace()) vocabulary = std::make_unique<Vocabulary>(model, kernels, pool, int(most), arena);
  bases = arena.take<float>(most * ld());
  opinions = arena.take<float>(most * ld());
  directions = arena.take<float>(most * ld());
  kept = arena.take<float>(most * ld());
  compact = arena.take<float>(most * ld());
  const size_t chunks = (config.vocabPadded() + doubtColumns - 1) / doubtColumns;
  doubts = residual() ? arena.take<float>(most * chunks * 3) : nullptr;
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
  after.resize(most);
}

bool Pass::fits(int more) const {
  return positions() + more <= network.room.answers && rows.size() < results.size();
}

void Pass::start() {
  rows.clear();
  runs.clear();
}

void Pass::add(const Row& row, int sequence, int landscape, int count) {
  const int first = positions();
  rows.push_back(row);
  runs.push_back({sequence, landscape, first, count, cache.sequences[sequence].length});
}

// Which positions the network need not compute everywhere: those that are clamped.
void Pass::select() {
  selection.clear();
  for (size_t r = 0; r < rows.size(); r++) {
    const Run& run = runs[r];
    Slot* slot = rows[r].slot;
    const bool keeps = slot && slot->known, fresh = keeps && slot->knownLandscape == run.landscape;
    for (int i = 0; i < run.positions; i++) {
      const int at = run.first + i;
      const bool moves = rows[r].moves(i);
      float* known = moves || !keeps ? nullptr : slot->known + size_t(i) * network.ldQkv;
      selection.add(at, moves, known, fresh);
    }
    if (keeps) slot->knownLandscape = run.landscape;
  }
}

// Where no gradient follows, what of a clamped position nobody needs is not computed.
void Pass::forward() {
  if (!onlyMoving()) return network.forward(runs);
  select();
  network.forward(runs, &selection);
}

void Pass::draft(Slot& slot, int sequence) {
  start();
  Row row{};
  row.slot = &slot;
  add(row, sequence, 0, block());
  memset(bases, 0, sizeof(float) * block() * ld());
  enter();
  network.forward(runs);
  const Matrix& w = residual() ? model.opinion : model.draft;
  network.multiply(w, network.output(), int(ld()), block(), slot.state, int(ld()), nullptr);
}

}  // namespace basin
