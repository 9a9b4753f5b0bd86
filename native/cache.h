// The paged cache of the observed stream: keys (rotated) and values of every layer and head.
// A page holds sixteen positions as one KeyBlock for each (cache, layer, head): keys [d][16], values
// [16][dp]. Blocks of one head lie together, so consecutive pages of a sequence are read in a run.
// Which page belongs to whom is the scheduler's business; sequences whose contexts begin alike may
// share pages, and a sequence may leave its pages and come back on others.
//
// The step token of `time_embed` sees itself alone: its keys and values are the model's, computed
// once, and stand as a block of one position before every sequence.
#pragma once
#include <vector>
#include "arena.h"
#include "config.h"

namespace basin {

struct Sequence {
  bool open = false;
  int length = 0;          // observed tokens, the step token not counted
  std::vector<int> pages;  // reserved at open for the longest context
  float* anchor = nullptr;  // where opinions correct a draft: A y_0 of the last token, [ld]
};

class Cache {
 public:
  Cache(const Config& config, const Capacity& capacity, Arena& arena)
      : d(config.headWidth()),
        dp(config.headPadded()),
        pages(capacity.pages),
        sinks(config.conditioning == Conditioning::timeEmbed),
        sequences(capacity.sequences),
        filled(capacity.pages),
        layers(config.layers),
        heads(config.heads) {
    const size_t perPage = size_t(config.caches()) * layers * heads;
    pool = arena.take<float>(perPage * pages * blockFloats());
    if (sinks) sinkPool = arena.take<float>(perPage * blockFloats());
    for (Sequence& s : sequences) s.pages.reserve(size_t(config.contextLength) / pageSize + 1);
  }

  size_t blockFloats() const { return size_t(d) * pageSize + size_t(pageSize) * dp; }
  float* keys(int cache, int layer, int head, int page) const {
    return pool + (((size_t(cache) * layers + layer) * heads + head) * pages + page) * blockFloats();
  }
  float* sinkKeys(int cache, int layer, int head) const {
    return sinkPool + ((size_t(cache) * layers + layer) * heads + head) * blockFloats();
  }
  float* valuesOf(float* keys) const { return keys + size_t(d) * pageSize; }

  // Blocks of a context of `length` tokens, in order; returns their number.
  int blocks(const Sequence& s, int cache, int layer, int head, int length, KeyBlock* out) const {
    int count = 0;
    if (sinks) {
      float* k = sinkKeys(cache, layer, head);
      out[count++] = {k, valuesOf(k), 1};
    }
    for (int from = 0; from < length; from += pageSize) {
      float* k = keys(cache, layer, head, s.pages[from / pageSize]);
      out[count++] = {k, valuesOf(k), length - from < pageSize ? length - from : pageSize};
    }
    return count;
  }

  const int d, dp, pages;
  const bool sinks;
  std::vector<Sequence> sequences;
  // Positions that each page holds: what a context may be said to have without observing it.
  std::vector<uint8_t> filled;

 private:
  const int layers, heads;
  float* pool = nullptr;
  float* sinkPool = nullptr;
};

}  // namespace basin
