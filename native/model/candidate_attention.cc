// Attention of answers over their context and themselves, forward and backward. One task is one head of one
// answer.
#include "model/network.h"

#include <algorithm>
#include <cmath>

namespace basin {

namespace {

// A query of an answer attends to every block: limits past any position.
constexpr int unlimited = 1 << 30;
const int limits[attentionQueries] = {unlimited, unlimited, unlimited, unlimited};

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

Attention Network::attention(Scratch& s, int blocks, int context, int queries) const {
  Attention a{};
  a.q = s.q;
  a.queries = queries;
  a.d = cache.d;
  a.dp = cache.dp;
  a.blocks = s.blocks;
  a.blockCount = blocks;
  a.contextBlocks = context;
  a.scores = s.scores;
  a.out = s.out;
  a.logSum = gradient ? s.logSum : nullptr;
  a.dout = s.dout;
  a.dq = s.dq;
  a.lanesOfDq = s.lanesOfDq;
  return a;
}

// Fills `s.blocks` with the blocks of the context, then with those of the answer itself, whose keys and values
// it computes; returns the number of blocks in all.
int Network::gatherBlocks(const Run& run, int index, int head, Scratch& s) {
  float* qkv = layer(index).qkv;
  kernels.rotate(headOf(qkv, run, 0, run.positions, 1, head, 1, s.narrow));
  for (int t = 0; t < run.positions; t++)
    for (int j = 0; j < cache.d; j++)
      s.ownKeys[(size_t(t / pageSize) * cache.d + j) * pageSize + t % pageSize] = s.narrow[size_t(t) * cache.dp + j];
  kernels.rotate(headOf(qkv, run, 0, run.positions, 2, head, 1, s.ownValues));
  const Context& context = cache.contexts[run.contextId];
  int count = cache.blocks(context, std::min(run.landscape, config.caches() - 1), index, head, run.before, s.blocks);
  for (int from = 0; from < run.positions; from += pageSize) {
    const size_t block = from / pageSize;
    s.blocks[count++] = {s.ownKeys + block * cache.d * pageSize, s.ownValues + block * pageSize * cache.dp,
                         std::min(pageSize, run.positions - from)};
  }
  return count;
}

void Network::attendHead(const Run& run, int index, int head, const Selection* only, Scratch& s) {
  Activations& l = layer(index);
  const int blocks = gatherBlocks(run, index, head, s);
  const int own = padded(run.positions, pageSize) / pageSize;
  const float factor = 1.f / std::sqrt(float(cache.d));
  int query[attentionQueries];
  for (int t = 0; t < run.positions;) {
    int queries = 0;
    for (; t < run.positions && queries < attentionQueries; t++)
      if (!only || only->moves[run.first + t]) query[queries++] = t;
    if (queries == 0) return;
    for (int i = 0; i < queries; i++)
      kernels.rotate(headOf(l.qkv, run, query[i], 1, 0, head, factor, s.q + size_t(i) * cache.dp));
    Attention a = attention(s, blocks, blocks - own, queries);
    a.limit = limits;
    kernels.attention(a);
    for (int i = 0; i < queries; i++) {
      const size_t at = run.first + query[i];
      memcpy(l.attended + at * ld + head * cache.d, s.out + size_t(i) * cache.dp, sizeof(float) * cache.d);
      if (gradient) l.logSum[at * config.heads + head] = s.logSum[i];
    }
  }
}

void Network::attend(const std::vector<Run>& runs, int index, const Selection* only) {
  pool.run(int(runs.size()) * config.heads, [&](int task, int thread) {
    attendHead(runs[task / config.heads], index, task % config.heads, only, scratch[thread]);
  });
}

// Gradients of q, k and v of one head into `dWide` [positions][ldQkv], from that of `attended` in `normed`.
void Network::attendHeadGradient(const Run& run, int index, int head, Scratch& s) {
  Activations& l = layer(index);
  const int blocks = gatherBlocks(run, index, head, s);
  const int own = padded(run.positions, pageSize) / pageSize;
  const float factor = 1.f / std::sqrt(float(cache.d));
  memset(s.dOwnKeys, 0, sizeof(float) * own * cache.d * pageSize);
  memset(s.dOwnValues, 0, sizeof(float) * own * pageSize * cache.dp);
  for (int from = 0; from < run.positions; from += attentionQueries) {
    const int queries = std::min(attentionQueries, run.positions - from);
    kernels.rotate(headOf(l.qkv, run, from, queries, 0, head, factor, s.q));
    for (int i = 0; i < queries; i++) {
      const size_t at = run.first + from + i;
      memcpy(s.out + size_t(i) * cache.dp, l.attended + at * ld + head * cache.d, sizeof(float) * cache.d);
      memcpy(s.dout + size_t(i) * cache.dp, normed + at * ld + head * cache.d, sizeof(float) * cache.d);
      for (int j = cache.d; j < cache.dp; j++) s.out[size_t(i) * cache.dp + j] = s.dout[size_t(i) * cache.dp + j] = 0;
      s.logSum[i] = l.logSum[at * config.heads + head];
    }
    Attention a = attention(s, blocks, blocks - own, queries);
    a.limit = limits;
    a.ownFrom = blocks - own;
    a.dkeys = s.dOwnKeys;
    a.dvalues = s.dOwnValues;
    kernels.attentionGradient(a);
    kernels.rotateBack(headOf(dWide, run, from, queries, 0, head, factor, s.dq));
  }
  for (int t = 0; t < run.positions; t++)
    for (int j = 0; j < cache.d; j++)
      s.narrow[size_t(t) * cache.dp + j] = s.dOwnKeys[(size_t(t / pageSize) * cache.d + j) * pageSize + t % pageSize];
  kernels.rotateBack(headOf(dWide, run, 0, run.positions, 1, head, 1, s.narrow));
  kernels.rotateBack(headOf(dWide, run, 0, run.positions, 2, head, 1, s.dOwnValues));
}

void Network::attendGradient(const std::vector<Run>& runs, int index) {
  pool.run(int(runs.size()) * config.heads, [&](int task, int thread) {
    attendHeadGradient(runs[task / config.heads], index, task % config.heads, scratch[thread]);
  });
}

}  // namespace basin
