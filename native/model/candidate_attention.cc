// Attention of answers over their context and themselves, forward and backward. One task is one head of one answer,
// or of several answers of one position whose context is the same: they read it together.
#include "model/network.h"

#include <algorithm>
#include <cmath>

namespace basin {

namespace {

// Answers of one task: enough to read a context seldom, few enough to leave tasks for all threads.
constexpr int mostTogether = 8;

}  // namespace

Head Network::headOf(float* qkv, const Run& run, int from, int count, int part, int head, float factor, float* narrow) const {
  const size_t position = size_t(run.before) + config.contextOffset() + from;
  Head h{};
  h.wide = qkv + size_t(run.first + from) * ldQkv + part * config.dimPadded() + head * cache.d;
  h.ld = ldQkv;
  h.count = count;
  h.d = cache.d;
  h.dp = cache.dp;
  h.cos = part < 2 ? model.cos + position * cache.dp : nullptr;
  h.sin = part < 2 ? model.sin + position * cache.dp : nullptr;
  h.factor = factor;
  h.narrow = narrow;
  return h;
}

Attention Network::attention(Scratch& s, int queries, int context, int own, bool ofSeveral) const {
  Attention a{};
  a.q = s.q;
  a.queries = queries;
  a.d = cache.d;
  a.dp = cache.dp;
  a.context = s.context;
  a.contextCount = context;
  a.own = s.own;
  a.ownCount = own;
  a.ownStride = ofSeveral ? own : 0;
  a.scores = s.scores;
  a.out = s.out;
  a.logSum = gradient ? s.logSum : nullptr;
  a.dout = s.dout;
  a.dq = s.dq;
  a.lanesOfDq = s.lanesOfDq;
  return a;
}

// Answers of one position stand side by side in groups; longer ones alone.
void Network::groupRuns(const std::vector<Run>& runs) {
  groups.clear();
  for (int i = 0; i < int(runs.size()); i++) {
    const Run& run = runs[i];
    if (!groups.empty() && groups.back().count < mostTogether) {
      const Run& first = runs[groups.back().from];
      if (run.positions == 1 && first.positions == 1 && run.contextId == first.contextId && run.landscape == first.landscape) {
        groups.back().count++;
        continue;
      }
    }
    groups.push_back({i, 1});
  }
}

// Fills `s.context` with the blocks of the context; returns their number.
int Network::gatherContext(const Run& run, int index, int head, Scratch& s) {
  const int landscape = std::min(run.landscape, config.caches() - 1);
  return cache.blocks(cache.contexts[run.contextId], landscape, index, head, run.before, s.context);
}

// Computes keys and values of an answer's own positions, and describes them in `s.own`, from block `slot` on; returns
// the number of their blocks.
int Network::gatherOwn(const Run& run, int index, int head, int slot, Scratch& s) {
  float* qkv = layer(index).qkv;
  float* keys = s.ownKeys + size_t(slot) * cache.d * pageSize;
  float* values = s.ownValues + size_t(slot) * pageSize * cache.dp;
  kernels.rotate(headOf(qkv, run, 0, run.positions, 1, head, 1, s.narrow));
  for (int t = 0; t < run.positions; t++)
    for (int j = 0; j < cache.d; j++)
      keys[(size_t(t / pageSize) * cache.d + j) * pageSize + t % pageSize] = s.narrow[size_t(t) * cache.dp + j];
  kernels.rotate(headOf(qkv, run, 0, run.positions, 2, head, 1, values));
  int count = 0;
  for (int from = 0; from < run.positions; from += pageSize, count++)
    s.own[slot + count] = {keys + size_t(count) * cache.d * pageSize, values + size_t(count) * pageSize * cache.dp, nullptr,
                           std::min(pageSize, run.positions - from)};
  return count;
}

// Calls gather(run, slot), which returns a number of blocks, before the first query that needs the keys and values of a
// run, and attend(queries, number of them, blocks of each, whether they are of several runs) for up to four queries.
template <class Gather, class Attend>
void Network::eachFour(const Run* runs, int count, const Selection* only, const Gather& gather, const Attend& attend) {
  const bool several = runs[0].positions == 1;
  Query queries[attentionQueries];
  int found = 0, own = 0;
  const auto flush = [&] {
    if (found > 0) attend(queries, found, own, several);
    found = 0;
  };
  for (int r = 0; r < count; r++)
    for (int t = 0; t < runs[r].positions; t++) {
      if (several || t == 0) own = gather(runs[r], found);
      if (!only || only->moves[runs[r].first + t]) queries[found++] = {runs + r, t};
      if (found == attentionQueries) flush();
    }
  flush();
}

void Network::attendHead(const Run* runs, int count, int index, int head, const Selection* only, Scratch& s) {
  Activations& l = layer(index);
  const int context = gatherContext(runs[0], index, head, s);
  const float factor = 1.f / std::sqrt(float(cache.d));
  const auto gather = [&](const Run& run, int slot) { return gatherOwn(run, index, head, slot, s); };
  eachFour(runs, count, only, gather, [&](const Query* queries, int found, int own, bool several) {
    for (int i = 0; i < found; i++)
      kernels.rotate(headOf(l.qkv, *queries[i].run, queries[i].position, 1, 0, head, factor, s.q + size_t(i) * cache.dp));
    Attention a = attention(s, found, context, own, several);
    kernels.attention[int(cache.type)](a);
    for (int i = 0; i < found; i++) {
      const size_t at = queries[i].run->first + queries[i].position;
      memcpy(l.attended + at * ld + head * cache.d, s.out + size_t(i) * cache.dp, sizeof(float) * cache.d);
      if (gradient) l.logSum[at * config.heads + head] = s.logSum[i];
    }
  });
}

void Network::attend(const std::vector<Run>& runs, int index, const Selection* only) {
  pool.run(int(groups.size()) * config.heads, [&](int task, int thread) {
    const Group& group = groups[task / config.heads];
    attendHead(runs.data() + group.from, group.count, index, task % config.heads, only, scratch[thread]);
  });
}

// Gradients of k and v of one head of a run into `dWide`, from those of its own blocks from `slot` on.
void Network::scatterOwn(const Run& run, int head, int slot, Scratch& s) {
  const float* keys = s.dOwnKeys + size_t(slot) * cache.d * pageSize;
  for (int t = 0; t < run.positions; t++)
    for (int j = 0; j < cache.d; j++)
      s.narrow[size_t(t) * cache.dp + j] = keys[(size_t(t / pageSize) * cache.d + j) * pageSize + t % pageSize];
  kernels.rotateBack(headOf(dWide, run, 0, run.positions, 1, head, 1, s.narrow));
  kernels.rotateBack(headOf(dWide, run, 0, run.positions, 2, head, 1, s.dOwnValues + size_t(slot) * pageSize * cache.dp));
}

// Gradients of q, k and v of one head into `dWide` [positions][ldQkv], from that of `attended` in `normed`.
void Network::attendHeadGradient(const Run* runs, int count, int index, int head, Scratch& s) {
  Activations& l = layer(index);
  const int context = gatherContext(runs[0], index, head, s);
  const float factor = 1.f / std::sqrt(float(cache.d));
  const auto gather = [&](const Run& run, int slot) {
    const int own = gatherOwn(run, index, head, slot, s);
    memset(s.dOwnKeys + size_t(slot) * cache.d * pageSize, 0, sizeof(float) * own * cache.d * pageSize);
    memset(s.dOwnValues + size_t(slot) * pageSize * cache.dp, 0, sizeof(float) * own * pageSize * cache.dp);
    return own;
  };
  eachFour(runs, count, nullptr, gather, [&](const Query* queries, int found, int own, bool several) {
    for (int i = 0; i < found; i++) {
      const size_t at = queries[i].run->first + queries[i].position, narrow = size_t(i) * cache.dp;
      kernels.rotate(headOf(l.qkv, *queries[i].run, queries[i].position, 1, 0, head, factor, s.q + narrow));
      memcpy(s.out + narrow, l.attended + at * ld + head * cache.d, sizeof(float) * cache.d);
      memcpy(s.dout + narrow, normed + at * ld + head * cache.d, sizeof(float) * cache.d);
      for (int j = cache.d; j < cache.dp; j++) s.out[narrow + j] = s.dout[narrow + j] = 0;
      s.logSum[i] = l.logSum[at * config.heads + head];
    }
    Attention a = attention(s, found, context, own, several);
    a.dkeys = s.dOwnKeys;
    a.dvalues = s.dOwnValues;
    kernels.attentionGradient[int(cache.type)](a);
    for (int i = 0; i < found; i++) {
      const Query& query = queries[i];
      kernels.rotateBack(headOf(dWide, *query.run, query.position, 1, 0, head, factor, s.dq + size_t(i) * cache.dp));
      // The last query of a longer answer has added its part to the answer's own blocks.
      if (query.position + 1 == query.run->positions) scatterOwn(*query.run, head, several ? i : 0, s);
    }
  });
}

void Network::attendGradient(const std::vector<Run>& runs, int index) {
  pool.run(int(groups.size()) * config.heads, [&](int task, int thread) {
    const Group& group = groups[task / config.heads];
    attendHeadGradient(runs.data() + group.from, group.count, index, task % config.heads, scratch[thread]);
  });
}

}  // namespace basin
