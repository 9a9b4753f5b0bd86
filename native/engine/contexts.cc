// Observing: rows are checked, cut into passes, and appended to the pages of their contexts in every cache.
#include "engine/engine.h"

#include <algorithm>

namespace basin {

// Checks a row of a context that has `length` tokens by then, and enters into `filled` how much its pages will
// hold, keeping in `before` how much they held. Returns the length after the row.
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
  std::vector<int> lengths(capacity.contexts, -1);
  std::vector<std::pair<int, uint8_t>> before;
  try {
    for (const ObserveRow& row : given) {
      int& length = lengths[indexBelow("contextId", row.contextId, capacity.contexts)];
      length = checkRow(row, length < 0 ? cache.contexts[row.contextId].length : length, before);
    }
  } catch (const Refusal&) {
    for (size_t i = before.size(); i-- > 0;) cache.filled[before[i].first] = before[i].second;
    throw;
  }
}

void Engine::observe(const std::vector<ObserveRow>& given, float* sums) {
  checkObserve(given);
  std::vector<const int*> tokens;
  std::vector<float*> into;  // by run, [D]: where its states are added; empty unless `sums` is given
  if (sums) memset(sums, 0, sizeof(float) * given.size() * model.config.dim);
  observed.clear();
  const int prefill = sharedPass.network.capacity.observed;
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
    Context& context = cache.contexts[row.contextId];
    // Rows of one context follow each other, so a pass takes only one of them.
    for (const Run& run : observed)
      if (run.contextId == row.contextId) {
        flush();
        break;
      }
    context.open = true;
    if (row.from >= 0) context.length = row.from;
    context.pages.assign(row.pages.begin(), row.pages.end());
    for (size_t done = 0; done < row.tokens.size();) {
      if (used == prefill) flush();
      const int count = int(std::min<size_t>(prefill - used, row.tokens.size() - done));
      observed.push_back({row.contextId, 0, used, count, context.length});
      tokens.push_back(row.tokens.data() + done);
      if (sums) into.push_back(sums + index * model.config.dim);
      used += count;
      done += count;
      if (done < row.tokens.size()) flush();
    }
  }
  flush();
}

// Observes the runs of one pass in every cache. `tokens` by run, [positions of the run]; `sums` by run, [D], or
// empty.
void Engine::observePass(const std::vector<const int*>& tokens, const std::vector<float*>& sums) {
  const bool all = !sums.empty();
  Network& network = sharedPass.network;
  for (int t = 0; t < model.config.caches(); t++) {
    for (size_t i = 0; i < observed.size(); i++) {
      observed[i].landscape = t;
      for (int p = 0; p < observed[i].positions; p++)
        memcpy(network.input() + (observed[i].first + p) * ld(), model.embeddings + tokens[i][p] * ld(), sizeof(float) * ld());
    }
    const bool lastCache = t + 1 == model.config.caches();
    network.observe(observed, false, all && lastCache ? FinalStates::all : contextDrafts ? FinalStates::last : FinalStates::none);
  }
  if (contextDrafts) keepContextDrafts(all);
  for (size_t i = 0; i < sums.size(); i++)
    for (int p = observed[i].first; p < observed[i].first + observed[i].positions; p++)
      for (int j = 0; j < model.config.dim; j++) sums[i][j] += network.output()[p * ld() + j];
  for (const Run& run : observed) cache.contexts[run.contextId].length += run.positions;
}

// Computes y_0 after each run of the pass, and keeps it for its context. `allStates`: whether the network's
// output is of all positions, or of the last one of each run.
void Engine::keepContextDrafts(bool allStates) {
  Network& network = sharedPass.network;
  const int count = int(observed.size()), width = int(ld());
  const Matrix& w = model.config.anchor ? model.draft : model.opinion;
  if (!allStates) network.multiply(w, network.output(), width, count, runDrafts, width, nullptr);
  for (int i = 0; i < count && allStates; i++) {
    const float* last = network.output() + size_t(observed[i].first + observed[i].positions - 1) * ld();
    network.multiply(w, last, width, 1, runDrafts + i * ld(), width, nullptr);
  }
  if (runAnchors) network.multiply(model.anchor, runDrafts, width, count, runAnchors, width, nullptr);
  for (int i = 0; i < count; i++) {
    const int contextId = observed[i].contextId;
    memcpy(contextDrafts + contextId * ld(), runDrafts + i * ld(), sizeof(float) * ld());
    if (runAnchors) memcpy(cache.contexts[contextId].anchor, runAnchors + i * ld(), sizeof(float) * ld());
  }
}

void Engine::observeStepTokens() {
  for (int t = 0; t < model.config.landscapes; t++) {
    observed.assign(1, {0, t, 0, 1, 0});
    memcpy(sharedPass.network.input(), model.timeEmbeddings + t * ld(), sizeof(float) * ld());
    sharedPass.network.observe(observed, true);
  }
}

}  // namespace basin
