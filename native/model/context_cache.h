// The paged cache of the observed stream: keys (rotated) and values of every layer and head.
// A page holds sixteen positions as one KeyBlock for each (cache, layer, head): keys [d][16], values
// [16][dp]. Blocks of one head lie side by side, so that consecutive pages of a context are read in a run.
// The scheduler decides which page belongs to which context; contexts that begin alike may share pages,
// and a context may leave its pages and be observed again on others.
//
// The step token of `time_embed` attends to itself only: its keys and values are the model's, computed
// once, and stand as a block of one position before every context.
#pragma once
#include <vector>
#include "model/config.h"
#include "runtime/arena.h"

namespace basin {

struct Context {
  bool open = false;
  int length = 0;           // observed tokens, the step token not counted
  std::vector<int> pages;   // reserved at open for the longest context
  float* anchor = nullptr;  // where opinions correct a draft: A y_0 of the last token, [ld]
};

class ContextCache {
 public:
  ContextCache(const Config& config, const Capacity& capacity, Arena& arena)
      : d(config.headWidth()),
        dp(config.headPadded()),
        pages(capacity.pages),
        hasStepToken(config.conditioning == Conditioning::timeEmbed),
        contexts(capacity.contexts),
        filled(capacity.pages),
        layers(config.layers),
        heads(config.heads) {
    const size_t perPage = size_t(config.caches()) * layers * heads;
    pagePool = arena.take<float>(perPage * pages * blockFloats());
    if (hasStepToken) stepTokenPool = arena.take<float>(perPage * blockFloats());
    for (Context& context : contexts) context.pages.reserve(size_t(config.contextLength) / pageSize + 1);
  }

  size_t blockFloats() const { return size_t(d) * pageSize + size_t(pageSize) * dp; }
  // [d][16]; the values of the block follow it.
  float* keys(int cache, int layer, int head, int page) const {
    return pagePool + (((size_t(cache) * layers + layer) * heads + head) * pages + page) * blockFloats();
  }
  // [d][16]
  float* stepTokenKeys(int cache, int layer, int head) const {
    return stepTokenPool + ((size_t(cache) * layers + layer) * heads + head) * blockFloats();
  }
  // [16][dp]
  float* valuesOf(float* keys) const { return keys + size_t(d) * pageSize; }

  // Fills `out` with the blocks of the first `length` tokens of a context, in order; returns their number.
  int blocks(const Context& context, int cache, int layer, int head, int length, KeyBlock* out) const {
    int count = 0;
    if (hasStepToken) {
      float* k = stepTokenKeys(cache, layer, head);
      out[count++] = {k, valuesOf(k), 1};
    }
    for (int from = 0; from < length; from += pageSize) {
      float* k = keys(cache, layer, head, context.pages[from / pageSize]);
      out[count++] = {k, valuesOf(k), length - from < pageSize ? length - from : pageSize};
    }
    return count;
  }

  const int d, dp, pages;  // head width, and padded to whole vectors; pages there are
  const bool hasStepToken;
  std::vector<Context> contexts;
  // [pages] positions that each page holds: a row of `observe` may rely on no others.
  std::vector<uint8_t> filled;

 private:
  const int layers, heads;
  float* pagePool = nullptr;       // [caches][layers][heads][pages] blocks
  float* stepTokenPool = nullptr;  // [caches][layers][heads] blocks
};

}  // namespace basin
