// What a sequence has observed: checked, cut into passes, appended to its pages in every cache.
#include "engine.h"

#include <algorithm>

namespace basin {

// Checks a row of a sequence that has `length` tokens by then, and enters into `filled` what its pages
// will hold, keeping in `before` what they held. Returns the length after it.
int Engine::checkRow(const ObserveRow& row, int length, std::vector<std::pair<int, uint8_t>>& before) {
  const int count = int(row.tokens.size()), from = row.from < 0 ? length : row.from;
  for (const int token : row.tokens) indexBelow("token", token, model.config.vocab);
  if (row.from >= 0 && count == 0) throw Refusal{"from", "followed by a token", double(row.from)};
  const int room = model.config.contextLength - from;
  if (count > room) throw Refusal{"tokens", "at most " + std::to_string(room), double(count)};
  if (row.pages.size() > size_t(capacity.pages))
    throw Refusal{"pages", "at most " + std::to_string(capacity.pages), double(row.pages.size())};
  if (row.pages.size() * pageSize < size_t(from) + count)
    throw Refusal{"pages", "enough for " + std::to_string(from + count) + " positions", double(row.pages.size())};
  for (const int page : row.pages) indexBelow("pages", page, capacity.pages);
  for (int at = 0; at < from; at += pageSize)
    if (cache.filled[row.pages[at / pageSize]] < std::min(pageSize, from - at))
      throw Refusal{"pages", "pages that hold the positions before the first token", double(row.pages[at / pageSize])};
  for (int at = from; at < from + count; at = (at / pageSize + 1) * pageSize) {
    const int page = row.pages[at / pageSize], start = at / pageSize * pageSize;
    before.push_back({page, cache.filled[page]});
    cache.filled[page] = uint8_t(std::min(pageSize, from + count - start));
  }
  return from + count;
}

void Engine::checkObserve(const std::vector<ObserveRow>& given) {
  std::vector<int> lengths(capacity.sequences, -1);
  std::vector<std::pair<int, uint8_t>> before;
  try {
    for (const ObserveRow& row : given) {
      int& length = lengths[indexBelow("sequence", row.sequence, capacity.sequences)];
      length = checkRow(row, length < 0 ? cache.sequences[row.sequence].length : length, before);
    }
  } catch (const Refusal&) {
    for (size_t i = before.size(); i-- > 0;) cache.filled[before[i].first] = before[i].second;
    throw;
  }
}

void Engine::observe(const std::vector<ObserveRow>& given, float* sums) {
  checkObserve(given);
  std::vector<const int*> tokens;
  std::vector<float*> into;  // per run, where its states are added; empty if nobody asks
  if (sums) memset(sums, 0, sizeof(float) * given.size() * model.config.dim);
  observed.clear();
  const int prefill = together.network.room.observed;
  int used = 0;
  const auto flush = [&] {
    if (!observed.empty()) observePass(tokens, into);
    observed.clear();
    tokens.clear();
    into.clear();
    used = 0;
  };
  for (size_t index = 0; index < given.size(); index++) {
    const ObserveRow& row = given[index];
    Sequence& sequence = cache.sequences[row.sequence];
    // Rows of one sequence follow each other: each pass sees a sequence once.
    for (const Run& run : observed)
      if (run.sequence == row.sequence) {
        flush();
        break;
      }
    sequence.open = true;
    if (row.from >= 0) sequence.length = row.from;
    sequence.pages.assign(row.pages.begin(), row.pages.end());
    for (size_t done = 0; done < row.tokens.size();) {
      if (used == prefill) flush();
      const int count = int(std::min<size_t>(prefill - used, row.tokens.size() - done));
      observed.push_back({row.sequence, 0, used, count, sequence.length});
      tokens.push_back(row.tokens.data() + done);
      if (sums) into.push_back(sums + index * model.config.dim);
      used += count;
      done += count;
      if (done < row.tokens.size()) flush();
    }
  }
  flush();
}

// The runs of one pass into every cache of their sequences.
void Engine::observePass(const std::vector<const int*>& tokens, const std::vector<float*>& sums) {
  const bool all = !sums.empty();
  Network& network = together.network;
  for (int t = 0; t < model.config.caches(); t++) {
    for (size_t i = 0; i < observed.size(); i++) {
      observed[i].landscape = t;
      for (int p = 0; p < observed[i].positions; p++)
        memcpy(network.input() + (observed[i].first + p) * ld(), model.embeddings + tokens[i][p] * ld(), sizeof(float) * ld());
    }
    const bool lastCache = t + 1 == model.config.caches();
    network.observe(observed, false, all && lastCache ? Ends::all : contextDrafts ? Ends::last : Ends::none);
  }
  if (contextDrafts) {
    const int count = int(observed.size());
    const Matrix& w = model.config.anchor ? model.draft : model.opinion;
    if (!all) network.multiply(w, network.output(), int(ld()), count, ends, int(ld()), nullptr);
    for (int i = 0; i < count && all; i++) {
      const float* end = network.output() + size_t(observed[i].first + observed[i].positions - 1) * ld();
      network.multiply(w, end, int(ld()), 1, ends + i * ld(), int(ld()), nullptr);
    }
    if (anchors) network.multiply(model.anchor, ends, int(ld()), count, anchors, int(ld()), nullptr);
    for (int i = 0; i < count; i++) {
      const int sequence = observed[i].sequence;
      memcpy(contextDrafts + sequence * ld(), ends + i * ld(), sizeof(float) * ld());
      if (anchors) memcpy(cache.sequences[sequence].anchor, anchors + i * ld(), sizeof(float) * ld());
    }
  }
  for (size_t i = 0; i < sums.size(); i++)
    for (int p = observed[i].first; p < observed[i].first + observed[i].positions; p++)
      for (int j = 0; j < model.config.dim; j++) sums[i][j] += network.output()[p * ld() + j];
  for (const Run& run : observed) cache.sequences[run.sequence].length += run.positions;
}

void Engine::observeStepTokens() {
  for (int t = 0; t < model.config.landscapes; t++) {
    observed.assign(1, {0, t, 0, 1, 0});
    memcpy(together.network.input(), model.timeEmbeddings + t * ld(), sizeof(float) * ld());
    together.network.observe(observed, true);
  }
}

}  // namespace basin
