// The state of one answer between steps, and the results of one step of it.
#pragma once
#include <cstdint>

namespace basin {

// Which embedding of its state a slot of vocabulary space holds in `e`.
enum class Embedded { no, normalized, raw };

// Memory of the pointers is taken once, when the engine opens; width is ld, or V padded in vocabulary space.
struct Slot {
  bool begun = false;
  // Whether the state may be returned as an answer: a starting point may be only where it is a draft.
  bool stateIsAnswer = false;
  int contextId = 0;
  uint64_t seed = 0;
  uint32_t candidate = 0;
  double bestEnergy = 0;
  Embedded embedded = Embedded::no;
  int* clamped;    // [K] tokens; -1 where the position moves
  float* state;    // [K][width]
  float* best;     // [K][width], the answer of `bestEnergy`
  float* last;     // latent space: what is read out after the latest step, [K][ld]
  float* spare;    // vocabulary space: a third buffer, so that keeping the best is an exchange of pointers
  float* e;        // vocabulary space: embedding of the state, [K][ld]
  float* logSum;   // vocabulary space: log of the sum of exp(state), [K]
  // Descents without a gradient: q, k and v of the clamped positions in the first layer, [K][ldQkv]. No step
  // changes them. They hold for one landscape; -1 while there are none.
  float* clampedQkv;
  int clampedQkvLandscape = -1;
};

struct RowResult {
  double energy, gradientNorm, best, disagreement, doubt;
};

// What a request adds to the energy, as gradients by the read-out of an answer, weights included. Null where there
// is none. The memory is the caller's.
struct Push {
  const float* logits;  // by its logits, [K][V]
  const float* points;  // by its points, [K][D]

  bool any() const { return logits || points; }
};

// One answer in a pass.
struct PassRow {
  Slot* slot;            // null for given answer tokens
  const int* tokens;     // given answer tokens, [positions of the row]
  float* z;              // vocabulary space: the state the energy is taken at, noise included, [K][V padded]
  bool normalized;       // vocabulary space: whether that state passes through softmax
  float alpha;
  double noise;
  int step;
  bool acceptLower;
  Push push;

  bool moves(int position) const { return !slot || slot->clamped[position] < 0; }
};

}  // namespace basin
