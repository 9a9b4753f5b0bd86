// The observed stream: tokens enter the cache layer by layer.
#include "model/network.h"

#include <algorithm>
#include <cmath>

namespace basin {

// Stores keys and values of one head of a run on its pages, or those of the step token in the model's own block.
void Network::storeKeysValues(const Run& run, int index, int head, bool asStepToken, Scratch& s) {
  float* qkv = activations[0].qkv;
  const int landscape = std::min(run.landscape, config.caches() - 1);
  for (int from = 0; from < run.positions;) {
    const int position = run.before + from, lane = position % pageSize;
    const int count = std::min(pageSize - lane, run.positions - from);
    char* block = asStepToken ? cache.stepToken(landscape, index, head)
                              : cache.page(landscape, index, head, cache.contexts[run.contextId].pages[position / pageSize]);
    Head k = headOf(qkv, run, from, count, 1, head, 1, s.narrow);
    if (asStepToken) k.cos = model.cos, k.sin = model.sin;
    kernels.rotate(k);
    kernels.rotate(headOf(qkv, run, from, count, 2, head, 1, s.narrowValues));
    for (int t = 0; t < count; t++)
      cache.store(block, lane + t, s.narrow + size_t(t) * cache.dp, s.narrowValues + size_t(t) * cache.dp);
    from += count;
  }
}

// The queries [from, from + 4) of a run attend to the context and to the run as far as themselves.
void Network::attendObserved(const Run& run, int index, int head, int from, bool asStepToken, Scratch& s) {
  Activations& l = activations[0];
  const int queries = std::min(attentionQueries, run.positions - from);
  const int landscape = std::min(run.landscape, config.caches() - 1);
  int blocks = 1;
  if (asStepToken) s.context[0] = cache.blockOf(cache.stepToken(landscape, index, head), 1);
  else blocks = cache.blocks(cache.contexts[run.contextId], landscape, index, head, run.before + from + queries, s.context);
  Head q = headOf(l.qkv, run, from, queries, 0, head, 1.f / std::sqrt(float(cache.d)), s.q);
  if (asStepToken) q.cos = model.cos, q.sin = model.sin;
  kernels.rotate(q);
  int limit[attentionQueries];
  for (int i = 0; i < queries; i++)
    limit[i] = asStepToken ? 1 : (cache.hasStepToken ? pageSize : 0) + run.before + from + i + 1;
  Attention a = attention(s, queries, blocks, 0, false);
  a.limit = limit;
  kernels.attention[int(cache.type)](a);
  for (int i = 0; i < queries; i++)
    memcpy(l.attended + size_t(run.first + from + i) * ld + head * cache.d, s.out + size_t(i) * cache.dp, sizeof(float) * cache.d);
}

void Network::observe(const std::vector<Run>& runs, bool asStepToken, FinalStates wanted) {
  int rows = positionsOf(runs);
  Activations& l = activations[0];
  for (int i = 0; i < config.layers; i++) {
    const Layer& w = model.layers[i];
    // Without a gradient to follow, all layers use the buffers of the first.
    const auto each = [&](const auto& work) {
      pool.run(int(runs.size()) * config.heads, [&](int task, int thread) {
        work(runs[task / config.heads], task % config.heads, scratch[thread]);
      });
    };
    modulations(runs, w.modulation, 6, 0, 1, 2);
    normalize(l.x, w.attentionNorm, rows, l.inverse1, normed, adaln);
    multiply(w.qkv, normed, ld, rows, l.qkv, ldQkv, nullptr);
    each([&](const Run& run, int head, Scratch& s) { storeKeysValues(run, i, head, asStepToken, s); });
    const bool atLast = i + 1 == config.layers;
    if (atLast && wanted == FinalStates::none) return;
    const bool onlyLast = atLast && wanted == FinalStates::last;
    each([&](const Run& run, int head, Scratch& s) {
      for (int from = onlyLast ? run.positions - 1 : 0; from < run.positions; from += attentionQueries) attendObserved(run, i, head, from, asStepToken, s);
    });
    if (onlyLast) {
      lastOfRuns.clear();
      for (const Run& run : runs) lastOfRuns.push_back(run.first + run.positions - 1);
      rows = moveToFront(l, lastOfRuns);
    }
    if (adaln) {
      multiply(w.out, l.attended, ld, rows, temporary, ld, nullptr);
      for (size_t p = 0; p < size_t(rows); p++)
        kernels.addProduct(l.x + p * ld, temporary + p * ld, gates[p], l.h + p * ld, ld);
    } else {
      multiply(w.out, l.attended, ld, rows, l.h, ld, l.x);
    }
    modulations(runs, w.modulation, 6, 3, 4, 5);
    feedForward(l, i, rows, atLast ? last : l.x);
  }
  normalize(last, model.norm, rows, finalInverse, final, false);
}

}  // namespace basin
