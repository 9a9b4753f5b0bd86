// Passes over the vocabulary matrix for many answer positions at once, chunk by chunk over the
// threads; chunks are merged in their order, so the result is the same for any number of threads.
#pragma once
#include <vector>
#include "model/model.h"
#include "runtime/pool.h"

namespace basin {

// One position in vocabulary space.
struct VocabPosition {
  const float* in;   // z, [V padded]
  float* out;        // update: z after the step, [V padded]; may be `in`
  float logSum;      // log of the sum of exp(in), where p = softmax(in)
  float alpha;
  const float* g;    // update: dE/de, [ld]
  float* e;          // result: embedding of the state after the pass, [ld]
  float* newLogSum;  // result: log of the sum of its exp, one number, where normalizedOut
  double* squares;   // update: |dE/dp|^2 is added to this one number; or null
};

class Vocabulary {
 public:
  Vocabulary(const Model& model, const Kernels& kernels, Pool& pool, int positions, Arena& arena);

  // The embeddings e of the states as they are.
  void embed(const std::vector<VocabPosition>& positions, bool normalized) { pass(positions, false, false, normalized); }
  // z <- base - alpha <g, W>, and the embedding e of the result, in one pass over the matrix.
  void update(const std::vector<VocabPosition>& positions, bool normalizedIn, bool normalizedOut) {
    pass(positions, true, normalizedIn, normalizedOut);
  }

 private:
  void pass(const std::vector<VocabPosition>& positions, bool update, bool normalizedIn, bool normalizedOut);
  void chunk(int index, int thread, int rows, bool update, bool normalizedIn, bool normalizedOut);
  void merge(const VocabPosition& position, int row, int part, bool update, bool normalizedOut);

  const Model& model;
  const Kernels& kernels;
  Pool& pool;
  const int ld, chunks;
  const bool narrows;            // whether products take other inputs than float32
  const size_t inputBytes;       // of one of them
  int most;                      // positions of one run over the matrix
  char* g;                       // [most][ldTable], float32 or as Kernels narrows it
  Scaled* gScaled;               // [most]; null where they are not narrowed
  float* e;                      // [chunks][most][ld]
  float *top, *total, *squares;  // [chunks][most] each
  // What kernels need for one thread, as in Vocab.
  struct Scratch {
    float *weights, *lanesOfSquares;
    char* narrowWeights;
    Scaled* scaledWeights;
  };
  std::vector<Scratch> scratch;  // by thread
  // As in VocabPosition, [most] each.
  std::vector<const float*> in;
  std::vector<float*> out;
  std::vector<float> logSum, alpha;
};

}  // namespace basin
