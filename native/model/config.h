// The numbers of a model's configuration, and the padded widths that follow from them.
#pragma once
#include "kernels/kernels.h"
#include "runtime/refusal.h"

namespace basin {

enum class Space { vocab, latent };
enum class Conditioning { none, timeEmbed, adaln, candidate };
// `context`: the draft is what the observed stream expects next, and needs no pass of its own.
enum class Start { noise, zeros, draft, context };
enum class Normalize { everyStep, firstStep, never };
enum class EmbedWith { vocabToEmbed, embeddings };
enum class EnergyKind { head, potential, residual };
enum class Direction { exact, amortized };

inline int padded(int n, int unit) { return (n + unit - 1) / unit * unit; }

struct Config {
  int vocab, dim, layers, heads, ffn, contextLength, landscapes, block;
  float eps;
  double theta, startScale, doubt;
  Conditioning conditioning;
  Space space;
  Start start;
  Normalize normalize;
  EmbedWith embed;
  EnergyKind kind;
  Direction direction;
  bool anchor;  // opinions correct the context's draft

  int headWidth() const { return dim / heads; }
  int headPadded() const { return padded(headWidth(), lanes); }
  // Row lengths of activations. Rows a multiple of 4 KiB apart would fall into the same sets of the first cache.
  int ld() const { return spaced(padded(dim, tileWidth)); }
  // Widths of the parts of one row that holds several: q, k, v; or both halves of a gate.
  int dimPadded() const { return padded(dim, lanes); }
  int ffnPadded() const { return padded(ffn, lanes); }
  int vocabPadded() const { return padded(vocab, tileWidth); }
  int caches() const {
    return conditioning == Conditioning::timeEmbed || conditioning == Conditioning::adaln ? landscapes : 1;
  }
  int contextOffset() const { return conditioning == Conditioning::timeEmbed ? 1 : 0; }
  // Whether descent needs the gradient of the network, or its output alone.
  bool needsGradient() const { return kind != EnergyKind::residual || direction == Direction::exact; }
  // Whether the state passes through softmax, at the first step or at another.
  bool normalizes(bool first) const {
    return space == Space::vocab && (normalize == Normalize::everyStep || (normalize == Normalize::firstStep && first));
  }
  // Row length of a state.
  size_t stateLd() const { return space == Space::vocab ? vocabPadded() : ld(); }
  size_t stateWidth() const { return space == Space::vocab ? vocab : dim; }

  static int spaced(int width) { return width % 1024 == 0 ? width + lanes : width; }

  void check() const {
    const auto within = [](const char* param, double value, double most) {
      if (!(value >= 1 && value <= most)) throw Refusal{param, "from 1 to " + std::to_string((long long)most), value};
    };
    within("vocab_size", vocab, 1000000);
    within("dim", dim, 16384);
    within("layers", layers, 256);
    within("heads", heads, 256);
    within("ffn_dim", ffn, 131072);
    within("context_length", contextLength, 1048576);
    within("landscapes", landscapes, 1024);
    within("answer.block", block, 4096);
    within("rope_theta", theta, 1e9);
    if (dim % heads != 0 || headWidth() % 2 != 0) throw Refusal{"heads", "a divisor of dim into even widths", double(heads)};
    if (block > contextLength) throw Refusal{"answer.block", "at most context_length", double(block)};
    if (space == Space::vocab && (kind != EnergyKind::head || start == Start::draft))
      throw Refusal{"answer.space", "latent for this energy or start", 0};
    if (start == Start::context && (kind != EnergyKind::residual || needsGradient() || block != 1 || caches() != 1))
      throw Refusal{"answer.draft", "one of the queries for this energy, block or conditioning", 0};
    if (anchor && start != Start::context)
      throw Refusal{"answer.anchor", "a draft of the context", 1};
    if (conditioning == Conditioning::none && landscapes != 1)
      throw Refusal{"landscapes", "1 without a conditioning", double(landscapes)};
  }
};

struct Capacity {
  int slots, contexts, pages, threads;
};

}  // namespace basin
