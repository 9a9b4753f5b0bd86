// The weights of a checkpoint, packed for the kernels. They are built once and never change.
#pragma once
#include <functional>
#include <string>
#include <vector>
#include "runtime/arena.h"
#include "model/config.h"
#include "runtime/pool.h"
#include "model/weights.h"

namespace basin {

// A tensor of the checkpoint. `Tensors` finds one by name and refuses a name that is missing.
struct Tensor {
  const float* data;  // [count]
  size_t count;
};
using Tensors = std::function<Tensor(const std::string& name)>;

struct Layer {
  const float *attentionNorm, *ffnNorm;  // [ld]
  Matrix qkv, out, gates, down;          // wq over wk over wv; wo; w1 over w3; w2
  Matrix qkvBack, outBack, gatesBack, downBack;  // transposed, for the gradient
  const float* modulation;  // adaLN: [T][6][ld]: shift, scale, gate of attention, then of FFN
};

// The matrix of the vocabulary space: row v is what probability on token v adds to the embedding.
struct VocabTable {
  NumberType type;
  const void* rows;       // [V padded][ld]; int8, padding included, with int8Offset added
  int ld;                 // Vocab::ldTable
  const float* rowScale;  // int8: [V padded]
  size_t bytes;
};

class Model {
 public:
  // `together`: inputs of products that are multiplied at once (weights.h). `positions`: the number of rotary positions
  // that may occur.
  Model(const Config& config, NumberType type, int together, const Tensors& tensors, size_t positions);

  const Config config;
  const NumberType type;
  const int together;
  std::vector<Layer> layers;
  const float* norm;             // [ld]
  const float* finalModulation;  // adaLN: [T][2][ld]: shift, scale
  const float* head;             // [ld]
  float potentialScale = 1;
  const float* embeddings;       // [V][ld], float32: inputs of observed and clamped tokens
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
  // The embedding of one token in vocabulary space, into `e` [ld].
  void vocabRow(int token, float* e) const;
  // What the points of an answer consist of, into `e` [ld]: in latent space the row of the read-out matrix, in
  // vocabulary space the embedding.
  void tokenVector(int token, float* e) const;

 private:
  const float* rows(const Tensors& tensors, const std::string& name, int count, int width);
  Source source(const Tensors& tensors, const std::string& name, int rows, int columns) const;
  void makeLayer(const Tensors& tensors, int index);
  void makeVocab(const Tensors& tensors);
  float stored(const void* weights, size_t at) const;
  void makeRotary(size_t positions);
  const float* makeModulation(const Tensors& tensors, const std::string& at, int parts);

  Arena arena;
};

}  // namespace basin
