// The observed stream: tokens into the cache, a layer at a time.
#include "network.h"

#include <algorithm>
#include <cmath>

namespace basin {

// Writes keys and values of a run to its pages (or the step token's to the model's own block).
void Network::remember(const Run& run, int index, int head, bool asSink, Scratch& s) {
  float* qkv = saved[0].qkv;
  const int landscape = std::min(run.landscape, config.caches() - 1);
  for (int from = 0; from < run.positions;) {
    const int position = run.context + from, lane = position % pageSize;
    const int count = std::min(pageSize - lane, run.positions - from);
    float* keys = asSink ? cache.sinkKeys(landscape, index, head)
                         : cache.keys(landscape, index, head, cache.sequences[run.sequence].pages[position / pageSize]);
    Head k = slice(qkv, run, from, count, 1, head, 1, s.narrow);
    if (asSink) k.cos = model.cos, k.sin = model.sin;
    kernels.rotate(k);
    for (int t = 0; t < count; t++)
      for (int j = 0; j < cache.d; j++) keys[size_t(j) * pageSize + lane + t] = s.narrow[size_t(t) * cache.dp + j];
    kernels.rotate(slice(qkv, run, from, count, 2, head, 1, cache.valuesOf(keys) + size_t(lane) * cache.dp));
    from += count;
  }
}

// Queries [from, from + 4) of a run see the context and the run up to themselves.
void Network::mixObserved(const Run& run, int index, int head, int from, bool asSink, Scratch& s) {
  Saved& l = saved[0];
  const int queries = std::min(attentionQueries, run.positions - from);
  const int landscape = std::min(run.landscape, config.caches() - 1);
  int blocks = 1;
  if (asSink) {
    float* k = cache.sinkKeys(landscape, index, head);
    s.blocks[0] = {k, cache.valuesOf(k), 1};
  } else {
    blocks = cache.blocks(cache.sequences[run.sequence], landscape, index, head, run.context + from + queries, s.blocks);
  }
  Head q = slice(l.qkv, run, from, queries, 0, head, 1.f / std::sqrt(float(cache.d)), s.q);
  if (asSink) q.cos = model.cos, q.sin = model.sin;
  kernels.rotate(q);
  int limit[attentionQueries];
  for (int i = 0; i < queries; i++)
    limit[i] = asSink ? 1 : (cache.sinks ? pageSize : 0) + run.context + from + i + 1;
  Attention a = attention(s, blocks, blocks, queries);
  a.limit = limit;
  kernels.attention(a);
  for (int i = 0; i < queries; i++)
    memcpy(l.mixed + size_t(run.first + from + i) * ld + head * cache.d, s.out + size_t(i) * cache.dp, sizeof(float) * cache.d);
}

void Network::observe(const std::vector<Run>& runs, bool asSink, Ends ends) {
  int rows = positionsOf(runs);
  Saved& l = saved[0];
  for (int i = 0; i < config.layers; i++) {
    const Layer& w = model.layers[i];
    // All layers pass through the first one's buffers: nothing is kept.
    const auto each = [&](const auto& work) {
      pool.run(int(runs.size()) * config.heads, [&](int task, int thread) {
        work(runs[task / config.heads], task % config.heads, scratch[thread]);
      });
    };
    modulations(runs, w.modulation, 6, 0, 1, 2);
    normalize(l.x, w.attentionNorm, rows, l.inverse1, normed, adaln);
    multiply(w.qkv, normed, ld, rows, l.qkv, ldQkv, nullptr);
    each([&](const Run& run, int head, Scratch& s) { remember(run, i, head, asSink, s); });
    const bool atLast = i + 1 == config.layers;
    if (atLast && ends == Ends::none) return;
    const bool onlyLast = atLast && ends == Ends::last;
    each([&](const Run& run, int head, Scratch& s) {
      for (int from = onlyLast ? run.positions - 1 : 0; from < run.positions; from += attentionQueries) mixObserved(run, i, head, from, asSink, s);
    });
    if (onlyLast) {
      lastOfRuns.clear();
      for (const Run& run : runs) lastOfRuns.push_back(run.first + run.positions - 1);
      rows = onlyWanted(l, lastOfRuns);
    }
    if (adaln) {
      multiply(w.out, l.mixed, ld, rows, temporary, ld, nullptr);
      for (size_t p = 0; p < size_t(rows); p++)
        kernels.addTimes(l.x + p * ld, temporary + p * ld, gates[p], l.h + p * ld, ld);
    } else {
      multiply(w.out, l.mixed, ld, rows, l.h, ld, l.x);
    }
    modulations(runs, w.modulation, 6, 3, 4, 5);
    feedForward(l, i, rows, atLast ? last : l.x);
  }
  normalize(last, model.norm, rows, finalInverse, final, false);
}

}  // namespace basin
