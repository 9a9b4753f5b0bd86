// The paged cache of the observed stream: keys (rotated) and values of every layer and head.
// A page holds sixteen positions as one KeyBlock for each (cache, layer, head): keys [d][16], values
// [16][dp], and with int8 a scale for each of them. Blocks of one head lie side by side, so that consecutive pages of
// a context are read in a run.
// The scheduler decides which page belongs to which context; contexts that begin alike may share pages,
// and a context may leave its pages and be observed again on others.
//
// The step token of `time_embed` attends to itself only: its keys and values are the model's, computed
// once, and stand as a block of one position before every context.
#pragma once
#include <algorithm>
#include <vector>
#include "model/config.h"
#include "model/numbers.h"
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
  ContextCache(const Config& config, const Capacity& capacity, NumberType numbers, Arena& arena)
      : type(numbers),
        d(config.headWidth()),
        dp(config.headPadded()),
        pages(capacity.pages),
        hasStepToken(config.conditioning == Conditioning::timeEmbed),
        contexts(capacity.contexts),
        filled(capacity.pages),
        layers(config.layers),
        heads(config.heads) {
    const size_t perPage = size_t(config.caches()) * layers * heads;
    pagePool = arena.take<char>(perPage * pages * blockBytes());
    if (hasStepToken) stepTokenPool = arena.take<char>(perPage * blockBytes());
    for (Context& context : contexts) context.pages.reserve(size_t(config.contextLength) / pageSize + 1);
  }

  // Where the numbers of a block lie.
  char* page(int cache, int layer, int head, int page) const {
    return pagePool + (((size_t(cache) * layers + layer) * heads + head) * pages + page) * blockBytes();
  }
  char* stepToken(int cache, int layer, int head) const {
    return stepTokenPool + ((size_t(cache) * layers + layer) * heads + head) * blockBytes();
  }

  // The first `count` positions of a block.
  KeyBlock blockOf(char* at, int count) const { return {at, at + keyBytes(), scalesOf(at), count}; }

  // Stores key [d] and value [dp] of position `lane` of a block. The first position clears the block, so that nothing
  // of its last use is read, not even where its weight is 0.
  void store(char* at, int lane, const float* key, const float* value) const {
    if (lane == 0) memset(at, 0, blockBytes());
    put(at, lane, pageSize, key, d, scalesOf(at) + lane);
    put(at + keyBytes(), lane * dp, 1, value, dp, scalesOf(at) + pageSize + lane);
  }

  // Fills `out` with the blocks of the first `length` tokens of a context, in order; returns their number.
  int blocks(const Context& context, int cache, int layer, int head, int length, KeyBlock* out) const {
    int count = 0;
    if (hasStepToken) out[count++] = blockOf(stepToken(cache, layer, head), 1);
    for (int from = 0; from < length; from += pageSize) {
      const int held = length - from < pageSize ? length - from : pageSize;
      out[count++] = blockOf(page(cache, layer, head, context.pages[from / pageSize]), held);
    }
    return count;
  }

  const NumberType type;
  const int d, dp, pages;  // head width, and padded to whole vectors; pages there are
  const bool hasStepToken;
  std::vector<Context> contexts;
  // [pages] positions that each page holds: a row of `observe` may rely on no others.
  std::vector<uint8_t> filled;

 private:
  static constexpr int lineBytes = 64;

  size_t keyBytes() const { return numberBytes(type) * pageSize * d; }
  size_t scaleBytes() const { return type == NumberType::int8 ? 2 * pageSize * sizeof(float) : 0; }
  size_t blockBytes() const { return padded(int(numberBytes(type)) * pageSize * (d + dp), lineBytes) + scaleBytes(); }
  float* scalesOf(char* at) const { return reinterpret_cast<float*>(at + blockBytes() - scaleBytes()); }

  // Stores x [n] in the numbers from `first` on, `stride` apart; with int8, its scale too, which is not finite where x
  // is not.
  void put(char* at, int first, int stride, const float* x, int n, float* scale) const {
    if (type == NumberType::f32) {
      for (int i = 0; i < n; i++) reinterpret_cast<float*>(at)[first + i * stride] = x[i];
    } else if (type == NumberType::bf16) {
      for (int i = 0; i < n; i++) reinterpret_cast<uint16_t*>(at)[first + i * stride] = toBf16(x[i]);
    } else {
      const bool finite = std::all_of(x, x + n, [](float each) { return std::isfinite(each); });
      *scale = finite ? int8Scale(x, n, 1) : NAN;
      for (int i = 0; i < n && finite; i++) reinterpret_cast<int8_t*>(at)[first + i * stride] = toInt8(x[i], *scale);
    }
  }

  const int layers, heads;
  char* pagePool = nullptr;       // [caches][layers][heads][pages] blocks
  char* stepTokenPool = nullptr;  // [caches][layers][heads] blocks
};

}  // namespace basin
