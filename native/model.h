// The weights of a checkpoint, packed for the kernels; built once, never changed.
#pragma once
#include <functional>
#include <string>
#include <vector>
#include "arena.h"
#include "config.h"
#include "pool.h"
#include "weights.h"

namespace basin {

// A named tensor of the checkpoint as float32 numbers; refuses names that are missing.
struct Tensor {
  const float* data;
  size_t count;
};
using Tensors = std::function<Tensor(const std::string& name)>;

struct Layer {
  const float *attentionNorm, *ffnNorm;  // [ld]
  Matrix qkv, out, gates, down;          // forward
  Matrix qkvBack, outBack, gatesBack, downBack;
  const float* modulation;  // adaLN: [T][6][ld]: shift, scale, gate of attention, then of FFN
};

// The matrix of the vocabulary space: row v is what probability on token v adds to the embedding.
struct VocabTable {
  WeightType type;
  const void* rows;       // [V padded][ld]
  const float* rowScale;  // int8: [V padded]
  size_t bytes;
};

class Model {
 public:
  // `positions`: rotary positions that may occur.
  Model(const Config& config, WeightType type, const Tensors& tensors, size_t positions);

  const Config config;
  const WeightType type;
  float alpha;
  std::vector<Layer> layers;
  const float* norm;             // [ld]
  const float* finalModulation;  // adaLN: [T][2][ld]: shift, scale
  const float* head;             // [ld]
  float potentialScale = 1;
  const float* embeddings;       // [V][ld], float32: what observed and clamped tokens enter as
  const float* timeEmbeddings;   // [T][ld]
  const float* query;            // [K][ld]
  const float* blank;            // [ld]
  Matrix readout, opinion, opinionBack, draft, anchor;
  VocabTable vocab;
  // Rotary tables by position: [positions][head width padded].
  const float *cos, *sin;

  size_t bytes() const { return arena.bytes(); }
  // Bytes of weights that one step must read: layers once forward and, with a gradient, once back.
  double stepBytes() const;
  // Embedding of one token in vocabulary space, [ld].
  void vocabRow(int token, float* e) const;

 private:
  const float* rows(const Tensors& tensors, const std::string& name, int count, int width);
  Source source(const Tensors& tensors, const std::string& name, int rows, int columns) const;
  void makeLayer(const Tensors& tensors, int index);
  void makeVocab(const Tensors& tensors);
  void makeRotary(size_t positions);
  const float* makeModulation(const Tensors& tensors, const std::string& at, int parts);

  Arena arena;
};

}  // namespace basin
